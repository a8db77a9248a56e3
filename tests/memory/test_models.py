"""The predicted peak of activations on eager CPU against the allocator's, for whole models that are run for real."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import flopscope
from flopscope.analyses.memory.kernels import growths
from flopscope.analyses.memory.storages import storages
from flopscope.analyses.memory.timeline import timeline
from tests.memory.measuring import growth

Built = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]
TOO_HIGH, TOO_LOW = 1.02, 0.995
"""What a prediction may be of the measured peak."""
FULL = os.environ.get("FLOPSCOPE_ALL") == "1"


def _vision(name: str, size: int = 224, batch: int = 1) -> Callable[[], Built]:
    def build() -> Built:
        models = pytest.importorskip("torchvision").models
        settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        return models.get_model(name, weights=None, **settings).eval(), (torch.randn(batch, 3, size, size),), {}

    return build


def _segmentation(name: str) -> Callable[[], Built]:
    def build() -> Built:
        models = pytest.importorskip("torchvision").models
        return models.get_model(name, weights=None, weights_backbone=None).eval(), (torch.randn(1, 3, 224, 224),), {}

    return build


def _timm(name: str) -> Callable[[], Built]:
    def build() -> Built:
        model = pytest.importorskip("timm").create_model(name).eval()
        return model, (torch.randn(1, *model.default_cfg["input_size"]),), {}

    return build


def _text(name: str, head: str = "AutoModel", **settings: Any) -> Callable[[], Built]:
    def build() -> Built:
        library = pytest.importorskip("transformers")
        model = getattr(library, head).from_config(getattr(library, f"{name}Config")(**settings))
        return model.eval(), (), {"input_ids": torch.randint(0, 1000, (2, 128))}

    return build


def _recurrent(kind: type[nn.Module]) -> Callable[[], Built]:
    return lambda: (kind(64, 128, 2, batch_first=True).eval(), (torch.randn(8, 20, 64),), {})


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
    "GRU": _recurrent(nn.GRU),
}
ALL: dict[str, Callable[[], Built]] = {
    **{name: _vision(name) for name in (
        "alexnet", "vgg11", "vgg16_bn", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121", "googlenet", "squeezenet1_0",
        "shufflenet_v2_x1_0", "mnasnet1_0", "mobilenet_v3_large", "efficientnet_b0", "efficientnet_v2_s", "regnet_y_400mf", "vit_b_16",
        "swin_t", "maxvit_t",
    )},
    "inception_v3": _vision("inception_v3", 299),
    **{name: _segmentation(name) for name in ("fcn_resnet50", "deeplabv3_resnet50", "lraspp_mobilenet_v3_large")},
    **{name: _timm(name) for name in (
        "mixer_s16_224", "poolformer_s12", "pvt_v2_b0", "cait_xxs24_224", "convnextv2_atto", "hrnet_w18_small", "coatnet_0_rw_224",
        "twins_svt_small", "focalnet_tiny_srf", "resnest14d", "halonet26t", "tiny_vit_5m_224", "coat_tiny",
    )},
    "gpt2": _text("GPT2", "AutoModelForCausalLM", n_layer=2),
    "distilbert": _text("DistilBert", n_layers=2),
    "mixtral": _text("Mixtral", "AutoModelForCausalLM", **_LLAMA),
}  # fmt: skip
MODELS = {**SAMPLE, **(ALL if FULL else {})}


@pytest.mark.parametrize("name", MODELS)
def test_predicted_peak_is_what_a_real_run_takes(name: str) -> None:
    model, args, kwargs = MODELS[name]()
    graph = flopscope.analyze(model, *args, **kwargs)._graph
    line = timeline(storages(graph), len(graph.ops), growths(graph))
    with torch.inference_mode():
        measured = growth(lambda: model(*args, **kwargs), warm=False)
    predicted = line.peak_bytes - line.before_bytes
    assert TOO_LOW * measured <= predicted <= TOO_HIGH * measured
