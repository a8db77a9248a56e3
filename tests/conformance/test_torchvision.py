"""Every model of torchvision against the counts that torchvision publishes with its weights."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import list_models

import flopscope
from tests.conformance.checks import ALL, FOUND, analysed, check_torchvision, torchvision_names

_RUN_FOR_REAL = frozenset(
    {
        "fasterrcnn_mobilenet_v3_large_fpn",
        "fasterrcnn_resnet50_fpn",
        "fasterrcnn_resnet50_fpn_v2",
        "fcos_resnet50_fpn",
        "keypointrcnn_resnet50_fpn",
        "maskrcnn_resnet50_fpn",
        "maskrcnn_resnet50_fpn_v2",
        "retinanet_resnet50_fpn",
        "retinanet_resnet50_fpn_v2",
        "ssd300_vgg16",
    }
)
"""Detectors that take seconds each; `make conformance` has them all, and two small ones are always tested."""


@pytest.mark.parametrize("name", [name for name in torchvision_names() if ALL or name not in _RUN_FOR_REAL])
def test_macs_and_parameters_are_the_published_ones(name: str) -> None:
    check = check_torchvision(name)
    assert check.status == ("listed" if name in FOUND else "equal"), check


def test_all_kinds_of_model_are_there() -> None:
    names = set(torchvision_names())
    assert {"resnet50", "r3d_18", "fcn_resnet50", "raft_large", "ssd300_vgg16", "quantized_resnet50", "maskrcnn_resnet50_fpn"} <= names
    assert set(FOUND) | _RUN_FOR_REAL <= names
    assert set(list_models()) - names == set(), "these models are not analysed by any test"


def test_an_r_cnn_is_counted_on_all_that_it_keeps() -> None:
    """Each proposal takes 7 x 7 x 256 -> 1024 -> 1024 -> 91 classes and boxes; the rest is a fixed amount, which torchvision published."""
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    loaded = flopscope.load(f"torchvision:{name}")
    report = loaded.noted(flopscope.analyze(loaded.model, *loaded.args, strict=True))
    per_proposal = 7 * 7 * 256 * 1024 + 1024 * 1024 + 1024 * (91 + 4 * 91)
    without = analysed(f"torchvision:{name}", {"rpn_score_thresh": 2.0})
    assert report.total.macs == without.total.macs + 150 * per_proposal
    assert any("150 proposals and 100 detections" in note for note in report.notes)


@pytest.mark.skipif(torch.backends.quantized.engine == "none", reason="this build of torch runs no quantized models")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")  # of torch.ao.quantization
@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "resnet18", "mobilenet_v2"])
def test_a_quantized_model_has_the_products_of_the_float_one(name: str) -> None:
    """Quantizing folds each batch normalisation, two parameters per channel, into one bias per channel; the products stay."""
    floating = flopscope.load(f"torchvision:{name}").model
    channels = sum(module.num_features for module in floating.modules() if isinstance(module, torch.nn.BatchNorm2d))
    total = analysed(f"torchvision:quantized_{name}", {"quantize": True}).total
    expected = flopscope.analyze(floating, "1x3x224x224").total
    assert (total.macs, total.params) == (expected.macs, expected.params - channels)
