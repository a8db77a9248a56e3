"""The models whose memory is predicted and measured: small enough to run on two cores, random weights, nothing downloaded."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

Built = tuple[Any, tuple[Any, ...], dict[str, Any]]
"""A module in evaluation mode, and its positional and named inputs."""


def _torch() -> Any:
    return importlib.import_module("torch")


def _vision(name: str, size: int = 224, batch: int = 1, **settings: Any) -> Callable[[], Built]:
    def build() -> Built:
        model = importlib.import_module("torchvision").models.get_model(name, weights=None, **settings)
        return model.eval(), (_torch().randn(batch, 3, size, size),), {}

    return build


def _timm(name: str, batch: int = 1) -> Callable[[], Built]:
    def build() -> Built:
        model = importlib.import_module("timm").create_model(name).eval()
        return model, (_torch().randn(batch, *model.default_cfg["input_size"]),), {}

    return build


def _text(name: str, head: str = "AutoModel", **settings: Any) -> Callable[[], Built]:
    def build() -> Built:
        library = importlib.import_module("transformers")
        model = getattr(library, head).from_config(getattr(library, f"{name}Config")(use_cache=False, **settings))
        return model.eval(), (), {"input_ids": _torch().randint(0, 1000, (2, 128))}

    return build


def _recurrent(kind: str) -> Callable[[], Built]:
    def build() -> Built:
        torch = _torch()
        return getattr(torch.nn, kind)(64, 128, 2, batch_first=True).eval(), (torch.randn(8, 20, 64),), {}

    return build


_LLAMA: dict[str, Any] = {
    "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 4,
    "vocab_size": 2000,
}  # fmt: skip
SAMPLE: dict[str, Callable[[], Built]] = {
    "resnet18": _vision("resnet18"),
    "mobilenet_v2, batch of 2": _vision("mobilenet_v2", 160, 2),
    "convnext_tiny": _vision("convnext_tiny", 128),
    "swin_v2_t": _vision("swin_v2_t", 256),
    "llama": _text("Llama", "AutoModelForCausalLM", **_LLAMA),
    "bert": _text("Bert", num_hidden_layers=2, vocab_size=2000),
    "GRU": _recurrent("GRU"),
}
ALL: dict[str, Callable[[], Built]] = SAMPLE | {
    **{name: _vision(name) for name in (
        "alexnet", "vgg11", "vgg16_bn", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121", "squeezenet1_0",
        "shufflenet_v2_x1_0", "mnasnet1_0", "mobilenet_v3_large", "efficientnet_b0", "efficientnet_v2_s", "regnet_y_400mf", "vit_b_16",
        "swin_t", "maxvit_t",
    )},
    "googlenet": _vision("googlenet", init_weights=False),
    "inception_v3": _vision("inception_v3", 299, init_weights=False),
    **{
        name: _vision(name, weights_backbone=None)
        for name in ("fcn_resnet50", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")
    },
    **{name: _timm(name) for name in (
        "mixer_s16_224", "poolformer_s12", "pvt_v2_b0", "cait_xxs24_224", "convnextv2_atto", "hrnet_w18_small", "coatnet_0_rw_224",
        "twins_svt_small", "focalnet_tiny_srf", "resnest14d", "halonet26t", "tiny_vit_5m_224", "coat_tiny",
    )},
    "gpt2": _text("GPT2", "AutoModelForCausalLM", n_layer=2),
    "distilbert": _text("DistilBert", n_layers=2),
    "mixtral": _text("Mixtral", "AutoModelForCausalLM", **_LLAMA),
    "LSTM": _recurrent("LSTM"),
}  # fmt: skip
