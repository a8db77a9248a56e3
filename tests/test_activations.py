"""Activations: elements that layers write, in named conventions. The numbers are arithmetic on shapes, or published."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

import flopscope
from flopscope.errors import OptionError


class _Products(nn.Module):
    """One op of each kind that fvcore counts, and some that it does not."""

    def forward(self, x: Tensor) -> Tensor:
        y = x @ x.transpose(1, 2)  # [2, 3, 4] x [2, 4, 3]: 18 elements
        y = torch.bmm(y, x)  # 24
        z = torch.einsum("bij,bkj->bik", x, y)  # 18
        z = torch.addmm(z[0], z[0], z[1])  # 9
        z = torch.mm(z, z) + torch.mv(z, z[0])  # no handles
        return torch.baddbmm(y, z.expand(2, 3, 3), y)  # no handle


def test_products() -> None:
    report = flopscope.analyze(_Products(), "2x3x4")
    assert report.activations("fvcore") == 2 * 3 * 3 + 2 * 3 * 4 + 2 * 3 * 3 + 3 * 3
    assert report.activations("conv") == 0


def test_layers() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),  # [1, 4, 8, 8]
        nn.BatchNorm2d(4),
        nn.ConvTranspose2d(4, 2, 2, stride=2),  # [1, 2, 16, 16]
        nn.Conv2d(2, 2, 3, padding="same"),  # [1, 2, 16, 16], which fvcore misses
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * 16 * 16, 5),
    )
    report = flopscope.analyze(model.eval(), "1x3x8x8")
    assert report.activations() == 4 * 8 * 8 + 2 * 16 * 16 + 5
    assert report.activations("conv") == 4 * 8 * 8 + 2 * 16 * 16 + 2 * 16 * 16


def test_attention_is_two_products() -> None:
    """Scores for each head, query and key; then the weighted values."""
    q, k = "2x6x10x8", "2x6x12x8"
    report = flopscope.analyze(nn.functional.scaled_dot_product_attention, q, k, k)
    assert report.activations() == 2 * 6 * 10 * 12 + 2 * 6 * 10 * 8


def test_an_unknown_convention_is_an_error() -> None:
    with pytest.raises(OptionError, match="no convention 'thop' for activations; choose one of conv, fvcore"):
        flopscope.analyze(nn.Linear(2, 3), "1x2").activations("thop")


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "squeezenet1_1", "googlenet", "shufflenet_v2_x0_5", "swin_t"])
def test_fvcore_itself_counts_the_same(name: str) -> None:
    """It runs the model for real, so the image is small."""
    fvcore, models = pytest.importorskip("fvcore.nn"), pytest.importorskip("torchvision.models")
    model = models.get_model(name, weights=None, **({"init_weights": False} if name == "googlenet" else {})).eval()
    analysis = fvcore.ActivationCountAnalysis(model, torch.zeros(1, 3, 64, 64))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert flopscope.analyze(model, "1x3x64x64").activations("fvcore") == analysis.total()
