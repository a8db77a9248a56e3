"""Where models come from: every SPEC, and the arithmetic of language models that people do by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import flopscope
from flopscope.errors import MissingPackageError, SpecError, TraceError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def analyze(spec: str, settings: dict[str, object] | None = None, *inputs: str) -> flopscope.Report:
    loaded = flopscope.load(spec, settings, inputs)
    return loaded.noted(flopscope.analyze(loaded.model, *loaded.args, **loaded.kwargs))


def test_torchvision_has_the_input_of_its_weights() -> None:
    report = analyze("torchvision:efficientnet_b7")
    assert [value.shape for value in report.graph.inputs] == [(1, 3, 600, 600)]
    assert report.name == "torchvision:efficientnet_b7"


def test_torchvision_detection_runs_for_real_and_says_so() -> None:
    report = analyze("torchvision:ssdlite320_mobilenet_v3_large")
    assert round(report.total.macs / 1e9, 3) == 0.583  # as published
    assert any("cost depends on data" in note for note in report.notes)
    report.graph.verify()


def test_timm() -> None:
    pytest.importorskip("timm")
    report = analyze("timm:efficientnet_b1")
    assert [value.shape for value in report.graph.inputs] == [(1, 3, 240, 240)]
    assert report.total.params == 7_794_184
    with pytest.raises(SpecError, match=r"timm has no model 'efficientnet_b99'. Did you mean"):
        flopscope.load("timm:efficientnet_b99")


LLAMA = {
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def test_llama_is_the_sum_that_people_do_by_hand() -> None:
    pytest.importorskip("transformers")
    report = analyze("hf:llama", LLAMA, "input_ids=2x32:int64")
    tokens, width, kv_width, hidden = 2 * 32, 64, 32, 96
    layer = tokens * (2 * width * width + 2 * width * kv_width + 3 * width * hidden) + 2 * (2 * 32 * 32 * width)
    assert report.total.macs == 3 * layer + tokens * width * 1000
    assert report.total.params == 2 * 1000 * 64 + 3 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96 + 2 * 64) + 64
    assert report.uncounted == []
    assert report.notes[0] == "built as LlamaForCausalLM"
    assert "masked attention (3 ops) is counted dense" in report.notes[1]
    assert analyze("hf:llama", LLAMA).notes[1] == "inputs: input_ids 1x128 (change with --input NAME=SHAPE)"
    assert analyze("hf:llama", LLAMA, "input_ids=2x32").total == report.total  # the input's own dtype, where none is given


def test_experts_are_counted_as_many_as_a_token_visits() -> None:
    pytest.importorskip("transformers")
    settings = LLAMA | {"num_local_experts": 8, "num_experts_per_tok": 2}
    report = analyze("hf:mixtral", settings, "input_ids=1x32:int64")
    tokens, width, kv_width, hidden = 32, 64, 32, 96
    layer = tokens * (2 * width * width + 2 * width * kv_width + width * 8 + 2 * 3 * width * hidden) + 2 * 32 * 32 * width
    assert report.total.macs == 3 * layer + tokens * width * 1000
    assert report.uncounted == []


def test_gpt2() -> None:
    pytest.importorskip("transformers")
    report = analyze("hf:gpt2", {"n_layer": 2}, "1x16:int64")
    width = 768
    layer = 16 * (3 * width * width + width * width + 8 * width * width) + 2 * 16 * 16 * width
    assert report.total.macs == 2 * layer + 16 * width * 50257
    assert report.total.params == 50257 * width + 1024 * width + 2 * (12 * width * width + 13 * width) + 2 * width


def test_a_model_of_671_billion_parameters_is_built_and_analysed_without_memory() -> None:
    pytest.importorskip("transformers")
    report = analyze("hf:deepseek_v3")
    router_biases = 58 * 256  # buffers in transformers, part of the published count
    assert report.total.params + router_biases == 671_026_419_200
    assert report.uncounted == []


def test_configs_in_files(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "bert", "num_hidden_layers": 1, "architectures": ["BertModel"]}))
    for spec in (f"hf:{tmp_path}", f"hf:{config}"):
        assert "built as BertModel" in analyze(spec).notes[0]
    for text, message in [
        ("{", "is no readable JSON"),
        ("{}", "has no field 'model_type'"),
        ('{"model_type": "berd"}', "hf has no model 'berd'. Did you mean"),
    ]:
        config.write_text(text)
        with pytest.raises(SpecError, match=message):
            flopscope.load(f"hf:{config}")
    with pytest.raises(SpecError, match="there is no file"):
        flopscope.load(f"hf:{tmp_path}/other.json")
    with pytest.raises(SpecError, match=r"the config of hf:bert has no field 'num_layer'. It has: "):
        flopscope.load("hf:bert", {"num_layer": 3})


@pytest.mark.parametrize(("spec", "package"), [("timm:resnet50", "timm"), ("hf:bert", "transformers")])
def test_a_missing_package_is_named_with_its_extra(spec: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"need the package {package}, which is not installed: pip install 'flopscope\["):
        flopscope.load(spec)


def test_a_module_is_counted_in_the_mode_in_which_the_factory_left_it(tmp_path: Path) -> None:
    file = tmp_path / "modes.py"
    file.write_text("from torch import nn\ndef trains(): return nn.Dropout()\ndef infers(): return nn.Dropout().eval()\n")
    assert analyze(f"{file}:trains", None, "2x3").total.flops == 3 * 6
    assert analyze(f"{file}:infers", None, "2x3").total.flops == 0


def test_a_sequence_that_the_model_cannot_take_is_refused() -> None:
    pytest.importorskip("transformers")
    with pytest.raises(TraceError, match="index 1999 is looked up in a table of 1024 rows"):
        analyze("hf:gpt2", {"n_layer": 1}, "1x2000:int64")


def test_detection_takes_a_list_of_images() -> None:
    report = analyze("torchvision:ssdlite320_mobilenet_v3_large", None, "3x200x300", "3x320x320")
    assert [value.shape for value in report.graph.inputs] == [(3, 200, 300), (3, 320, 320)]


@pytest.mark.skipif("qnnpack" not in torch.backends.quantized.supported_engines, reason="this build of torch lacks the engine")
@pytest.mark.filterwarnings("ignore")
def test_loading_a_quantised_model_leaves_the_engine_as_it_was() -> None:
    before = torch.backends.quantized.engine
    assert before != "qnnpack"  # which the builder of this model chooses
    assert flopscope.load("torchvision:quantized_mobilenet_v2", {"quantize": True}).name
    assert torch.backends.quantized.engine == before
