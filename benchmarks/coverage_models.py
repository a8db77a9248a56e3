"""What `benchmarks.coverage` runs on: all of torchvision, a small model each of 60 families of timm, 20 small transformers from configs."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, field
from typing import Any

TIMM = [
    "tinynet_e",
    "lcnet_035",
    "test_vit",
    "test_convnext3",
    "repghostnet_050",
    "starnet_s050",
    "test_resnet",
    "efficientvit_b0",
    "ghostnet_100",
    "regnetx_002",
    "hardcorenas_b",
    "edgenext_xx_small",
    "efficientvit_m3",
    "levit_128s",
    "rexnet_100",
    "vit_tiny_r_s16_p8_224",
    "inception_next_atto",
    "dla60x_c",
    "swiftformer_xs",
    "efficientformerv2_s1",
    "cs3darknet_focus_s",
    "gernet_s",
    "nf_regnet_b2",
    "mobilevitv2_075",
    "xcit_tiny_12_p16_224",
    "deit_tiny_patch16_224",
    "convit_tiny",
    "tiny_vit_5m_224",
    "efficientformer_l1",
    "repvit_m1_1",
    "csatv2",
    "pit_xs_distilled_224",
    "fastvit_t12",
    "coat_lite_tiny",
    "hgnetv2_b3",
    "legacy_seresnet18",
    "maxvit_pico_rw_256",
    "pvt_v2_b1",
    "dpn68",
    "eca_botnext26ts_256",
    "resnest14d",
    "densenet121",
    "twins_svt_small",
    "selecsls42b",
    "resmlp_12_224",
    "resnetv2_34",
    "cait_xxs36_224",
    "convformer_s18",
    "res2net50_48w_2s",
    "hrnet_w18",
    "skresnet50d",
    "mambaout_tiny",
    "davit_tiny",
    "fasternet_s",
    "vit_srelpos_small_patch16_224",
    "sequencer2d_s",
    "tnt_s_legacy_patch16_224",
    "convmixer_1024_20_ks9_p14",
    "crossvit_small_240",
    "nextvit_small",
]
"""The smallest model of each family (a module of timm.models), the 60 smallest of these."""

_TINY = {"num_hidden_layers": 2, "hidden_size": 512, "intermediate_size": 1376, "num_attention_heads": 8}
TRANSFORMERS: dict[str, dict[str, Any]] = {
    "bert": {"num_hidden_layers": 2},
    "distilbert": {"n_layers": 2},
    "electra": {"num_hidden_layers": 2},
    "mobilebert": {"num_hidden_layers": 2},
    "gpt2": {"n_layer": 2},
    "gpt_neox": _TINY,
    "opt": {"num_hidden_layers": 2},
    "llama": {**_TINY, "num_key_value_heads": 8},
    "mistral": {**_TINY, "num_key_value_heads": 2},
    "mixtral": {**_TINY, "num_key_value_heads": 2},
    "gemma": {**_TINY, "num_key_value_heads": 1, "head_dim": 64, "vocab_size": 32000},
    "t5": {"num_layers": 2},
    "bart": {"encoder_layers": 2, "decoder_layers": 2},
    "whisper": {"encoder_layers": 2, "decoder_layers": 2},
    "vit": {"num_hidden_layers": 2},
    "swin": {},
    "segformer": {},
    "roberta": {"num_hidden_layers": 2},
    "wav2vec2": {"num_hidden_layers": 2},
    "mamba": {"num_hidden_layers": 2},
}
"""Types with settings that keep them small, since most counters run the model for real."""

_FOUND: dict[str, dict[str, Any]] = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": {"rpn_score_thresh": 2.0},
    "fasterrcnn_mobilenet_v3_large_fpn": {"rpn_score_thresh": 2.0},
    "keypointrcnn_resnet50_fpn": {"box_detections_per_img": 1},
    "maskrcnn_resnet50_fpn": {"box_score_thresh": 2.0},
}
"""Settings with which a detector finds as much as it did when torchvision counted it."""


def specs() -> list[str]:
    """All models, as flopscope spells them; the sources take turns, so that a part of the list is a fair part."""
    from torchvision.models import list_models

    lists = [
        [f"torchvision:{name}" for name in list_models()],
        [f"timm:{name}" for name in TIMM],
        [f"hf:{name}" for name in TRANSFORMERS],
    ]
    ranked = [((index + 0.5) / len(names), name) for names in lists for index, name in enumerate(names)]
    return [name for _, name in sorted(ranked)]


def settings_of(spec: str) -> dict[str, Any]:
    """The keyword arguments of a model's builder."""
    source, _, name = spec.partition(":")
    return (TRANSFORMERS if source == "hf" else _FOUND).get(name, {})


def published_gmacs(spec: str) -> float | None:
    """The count that torchvision publishes, in GMACs."""
    source, _, name = spec.partition(":")
    if source != "torchvision":
        return None
    models = importlib.import_module("torchvision.models")
    return float(models.get_model_weights(name).DEFAULT.meta["_ops"])


@dataclass
class Subject:
    """A model with weights, and its inputs in order."""

    model: Any
    inputs: tuple[Any, ...]
    names: list[str] = field(default_factory=list)


def build(spec: str, device: str) -> Subject:
    """The model of a SPEC in evaluation mode with weights on `device`: real ones are made up, the same each time.

    A transformers model is wrapped so that it takes its inputs in order and returns a tuple, without a cache: what all counters can handle.
    """
    torch: Any = importlib.import_module("torch")
    flopscope = importlib.import_module("flopscope")
    loaded = flopscope.load(spec, settings_of(spec))
    model = loaded.model.to("meta") if device == "meta" else _with_weights(loaded.model)
    inputs = [*loaded.args, *loaded.kwargs.values()]
    if spec.startswith("hf:"):
        forward = inspect.signature(model.forward).parameters
        names = [*list(forward)[: len(loaded.args)], *loaded.kwargs]
        model = _in_order(model, names)
    tree = importlib.import_module("torch.utils._pytree")
    generator = torch.Generator().manual_seed(0)

    def placed(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        if not leaf.is_floating_point():
            return (leaf if leaf.device.type != "meta" else torch.zeros(leaf.shape, dtype=leaf.dtype)).to(device)
        return torch.rand(leaf.shape, generator=generator).to(device, leaf.dtype)

    names = list(inspect.signature(model.forward).parameters)
    return Subject(model.eval(), tuple(tree.tree_map(placed, inputs)), names)


def _with_weights(model: Any) -> Any:
    """Give every weight that has no data some: ones for vectors, and for the rest noise that keeps activations of one size."""
    torch: Any = importlib.import_module("torch")
    generator = torch.Generator().manual_seed(0)

    def made(tensor: Any) -> Any:
        if not tensor.is_floating_point() or tensor.dim() < 2:
            return torch.ones(tensor.shape, dtype=tensor.dtype) if tensor.is_floating_point() else torch.zeros_like(tensor, device="cpu")
        return torch.randn(tensor.shape, generator=generator).mul_(max(1, tensor[0].numel()) ** -0.5).to(tensor.dtype)

    shared: dict[int, Any] = {}
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if weight.device.type == "meta":
                if id(weight) not in shared:
                    shared[id(weight)] = torch.nn.Parameter(made(weight), weight.requires_grad and weight.is_floating_point())
                setattr(module, name, shared[id(weight)])
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.device.type == "meta":
                module._buffers[name] = made(buffer)
    return model


def _in_order(model: Any, names: list[str]) -> Any:
    torch: Any = importlib.import_module("torch")
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False

    class InOrder(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            outputs = self.model(**dict(zip(names, inputs, strict=True)), return_dict=False)
            return tuple(leaf for leaf in outputs if isinstance(leaf, torch.Tensor))

    return InOrder()
