"""What each tool returns over the true multiply-accumulates, measured here, beside what our convention of its name says.

    python -m benchmarks.conventions            # some minutes on two cores; --models, --json

The models are those on which tools are known to differ most. A tool that is missing or raises is listed with the reason. "equal" counts
the models on which the convention is what the tool returns, to the last unit.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.peers import PEERS, describe

# Counter as `benchmarks.peers` knows it, the convention that says the same, and how many of its units one MAC is there.
TOOLS = {
    "fvcore": ("fvcore-fused", 1),
    "thop": ("thop", 1),
    "ptflops pytorch": ("ptflops", 1),
    "ptflops aten": ("ptflops-aten", 1),
    "torchinfo": ("torchinfo", 1),
    "calflops": ("calflops", 1),
    "DeepSpeed": ("deepspeed", 1),
    "FlopCounterMode": ("torch", 2),
}
NO_GRAD = "FlopCounterMode no_grad"


def _timm(name: str) -> tuple[Any, Any]:
    model = import_module("timm").create_model(name).eval()
    return model, (import_module("torch").rand(1, *model.pretrained_cfg["input_size"]),)


def _torchvision(name: str) -> tuple[Any, Any]:
    models = import_module("torchvision.models")
    return models.get_model(name, weights=None).eval(), (import_module("torch").rand(1, 3, 224, 224),)


def _hf(model: str, config: str, **settings: Any) -> tuple[Any, Any]:
    transformers, torch = import_module("transformers"), import_module("torch")
    made = getattr(transformers, model)(getattr(transformers, config)(**settings)).eval()
    return made, (torch.zeros(1, 128, dtype=torch.long),)


def _whisper() -> tuple[Any, Any]:
    """The encoder, which is where the attention is: 1500 positions."""
    transformers, torch = import_module("transformers"), import_module("torch")
    model = transformers.WhisperModel(transformers.WhisperConfig()).get_encoder().eval()
    return model, (torch.rand(1, 80, 3000),)


def _mixtral() -> tuple[Any, Any]:
    small = {"hidden_size": 512, "intermediate_size": 1792, "num_attention_heads": 8, "num_key_value_heads": 2, "num_hidden_layers": 4}
    return _hf("MixtralForCausalLM", "MixtralConfig", **small, vocab_size=4000, use_cache=False)


MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "torchvision resnet50": lambda: _torchvision("resnet50"),
    "torchvision vit_b_16": lambda: _torchvision("vit_b_16"),
    "torchvision swin_t": lambda: _torchvision("swin_t"),
    "timm ViT-S/14 at 518": lambda: _timm("vit_small_patch14_dinov2"),
    "timm ViT-Ti/16": lambda: _timm("vit_tiny_patch16_224"),
    "timm Mixer-S/32": lambda: _timm("mixer_s32_224"),
    "timm ConvNeXt-A": lambda: _timm("convnext_atto"),
    "timm NFNet-F0": lambda: _timm("nfnet_f0"),
    "timm CoaT-Lite-Ti": lambda: _timm("coat_lite_tiny"),
    "transformers GPT-2": lambda: _hf("GPT2LMHeadModel", "GPT2Config", use_cache=False),
    "transformers BERT": lambda: _hf("BertModel", "BertConfig"),
    "transformers Mixtral, small": _mixtral,
    "transformers Whisper encoder": _whisper,
}


@dataclass
class Result:
    """What a counter returned on a model, in its own unit, and what the convention says."""

    macs: int
    measured: int | None
    convention: int
    per_mac: int
    failure: str = ""

    @property
    def cell(self) -> str:
        """The ratio to the true multiply-accumulates; a star where the convention says otherwise."""
        if self.measured is None:
            return "-"
        ratio = f"{self.measured / self.per_mac / self.macs:.4g}"
        return ratio if self.measured == self.convention else f"{ratio} *"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def measure(name: str) -> dict[str, Result]:
    """Run every counter on a model, with gradients as their manuals show, and FlopCounterMode without gradients too."""
    flopscope, torch = import_module("flopscope"), import_module("torch")
    torch.manual_seed(0)
    model, inputs = MODELS[name]()
    report = flopscope.analyze(model, *inputs)
    results = {}
    for tool, (convention, per_mac) in (*TOOLS.items(), (NO_GRAD, TOOLS["FlopCounterMode"])):
        measured, failure = None, ""
        try:
            with _quiet(), torch.set_grad_enabled(tool != NO_GRAD):
                measured = int(PEERS[tool.removesuffix(" no_grad")].count(copy.deepcopy(model), inputs)) * per_mac
        except Exception as error:  # noqa: BLE001 - whatever a counter raises is the result
            failure = describe(error, tool)
        results[tool] = Result(report.total.macs, measured, report.under(convention), per_mac, failure)
    return results


def table(results: dict[str, dict[str, Result]]) -> str:
    """A row per counter: the ratio on each model, and on how many the convention is exact."""
    rows = []
    for tool in (*TOOLS, NO_GRAD):
        cells = [found[tool] for found in results.values()]
        ran = [cell for cell in cells if cell.measured is not None]
        equal = sum(cell.measured == cell.convention for cell in ran)
        rows.append([tool, *(cell.cell for cell in cells), f"{equal} of {len(ran)}"])
    return tabulate(rows, ["counter", *results, "equal"], tablefmt="github", disable_numparse=True)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", default="", help="parts of names, with commas between them; default: all")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/conventions.json"))
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.disable(logging.CRITICAL)
    wanted = [part.strip() for part in options.models.split(",") if part.strip()]
    names = [name for name in MODELS if not wanted or any(part in name for part in wanted)]
    results = {}
    for name in names:
        results[name] = measure(name)
        for tool, found in results[name].items():
            if found.failure:
                print(f"{tool} on {name}: {found.failure}")
    print(table(results))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: {tool: vars(found) for tool, found in row.items()} for name, row in results.items()}
    options.json.write_text(json.dumps(plain, indent=1) + "\n")


if __name__ == "__main__":
    main()
