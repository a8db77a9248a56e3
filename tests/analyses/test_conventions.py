"""Conventions on small models: every number is arithmetic written out."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

import flopscope
from flopscope.analyses.conventions import CONVENTIONS, convention
from flopscope.errors import OptionError

CONV = 4 * 8 * 8 * 3 * 3 * 3  # 3x3, 3 -> 4 channels, padded, on 8x8
OUT = 4 * 8 * 8
LINEAR = OUT * 10


@pytest.fixture(scope="module")
def report() -> flopscope.Report:
    layers = (
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.BatchNorm2d(4),
        nn.AvgPool2d(1),
        nn.Flatten(),
        nn.Linear(OUT, 10),
    )
    return flopscope.analyze(nn.Sequential(*layers).eval(), "1x3x8x8")


EXPECTED = {
    "contraction": CONV + LINEAR,
    "paper": CONV + LINEAR + OUT,  # the first batch norm is folded, the second has no convolution before it
    "full": 2 * (CONV + LINEAR) + OUT + 10 + 2 * (4 * OUT + 2 * 4) + OUT + OUT,  # biases, norms, ReLU, pooling of a 1x1 window (a division)
    "darts": CONV + LINEAR + 2 * 2 * OUT + OUT,
    "fvcore": CONV + LINEAR + 2 * 2 * OUT,
    "fvcore-fused": CONV + LINEAR + 2 * 2 * OUT,
    "thop": CONV + LINEAR + 2 * 4 * OUT + OUT,  # average pooling 1 per output
    "ptflops": CONV + OUT + LINEAR + 10 + 2 * 2 * OUT + 2 * OUT + 2 * OUT,  # ReLU and pooling twice: the layer and its function
    "ptflops-aten": CONV + OUT + LINEAR + 10,
    "torch": 2 * (CONV + LINEAR),
    "torchinfo": (4 * 27 + 4) * 64 + 2 * (4 + 4) + (OUT * 10 + 10),
    "deepspeed": CONV + LINEAR,
    "calflops": CONV + LINEAR,
    "pytorchcv": 2 * (CONV + LINEAR) + 2 * 4 * OUT + OUT + OUT,
}


def test_every_convention_is_here() -> None:
    assert list(EXPECTED) == list(CONVENTIONS)


@pytest.mark.parametrize("name", list(EXPECTED))
def test_counts(name: str, report: flopscope.Report) -> None:
    assert report.under(name) == EXPECTED[name]


@pytest.mark.parametrize("name", list(CONVENTIONS))
def test_unit_and_text(name: str) -> None:
    about = convention(name)
    assert about.unit == ("FLOPs" if name in ("full", "torch", "pytorchcv") else "MACs")
    assert about.version >= 1
    assert about.text
    assert (about.tool == "") == (name in ("contraction", "paper", "full", "darts"))


def test_full_is_our_flops(report: flopscope.Report) -> None:
    assert report.under("full") == report.total.flops


def test_unknown_name(report: flopscope.Report) -> None:
    with pytest.raises(OptionError, match="no convention 'fvcor'; choose one of contraction"):
        report.under("fvcor")


@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2_x0_5", "mobilenet_v2", "squeezenet1_0", "efficientnet_b0"])
def test_pytorchcv_as_the_published_tables_are_checked(name: str) -> None:
    from tests.conformance.counting import count

    loaded = flopscope.load(f"torchvision:{name}")
    report = flopscope.analyze(loaded.model, *loaded.args)
    assert report.under("pytorchcv") == 2 * count(report, "pytorchcv")


class Functional(nn.Module):
    """A linear layer whose weight is used by a function, attention, and a product with a broadcast factor."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.linear(x, self.hidden.weight)
        z = nn.functional.scaled_dot_product_attention(y, y, y)
        return torch.matmul(x[0], z.transpose(-1, -2))


def test_what_a_tool_does_not_see() -> None:
    report = flopscope.analyze(Functional().eval(), "2x3x4")
    linear, attention, product = 2 * 3 * 4 * 4, 2 * 3 * 3 * (4 + 4), 2 * 3 * 4 * 3
    assert report.total.macs == linear + attention + product
    assert report.under("thop") == report.under("torchinfo") == 0
    assert report.under("ptflops") == product // 2  # torch.matmul alone, by the elements of its first factor, which is broadcast
    assert report.under("calflops") == linear + product // 2
    assert report.under("deepspeed") == linear + attention + product // 2
    assert report.under("fvcore-fused") == linear + product // 2
    assert report.under("fvcore") == linear + attention + product // 2
    assert report.under("torch") == 2 * (linear + attention + product)


def test_a_layer_in_two_places() -> None:
    layer = nn.Linear(4, 4)
    report = flopscope.analyze(nn.Sequential(nn.Sequential(layer), nn.Sequential(layer, layer)).eval(), "1x4")
    once = 4 * 4
    assert report.total.macs == 3 * once
    assert report.under("thop") == 4 * 3 * once  # hooked twice, and summed in both places
    assert report.under("calflops") == 2 * 3 * once  # summed in both places
    assert report.under("ptflops") == 2 * 3 * (once + 4)  # with bias
    assert report.under("deepspeed") == 3 * once


def test_a_derived_class_is_no_layer() -> None:
    class Derived(nn.Linear):
        pass

    report = flopscope.analyze(nn.Sequential(Derived(4, 4)).eval(), "1x4")
    assert (report.under("thop"), report.under("ptflops")) == (0, 0)
    assert report.under("torchinfo") == 4 * 4 + 4


def test_fused_layers_count_as_their_parts() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    report = flopscope.analyze(layer, torch.rand(1, 5, 8), execute="always")
    assert [row.kind for row in report.ops] == ["transformer_encoder_layer"]
    projections, products, hidden = 4 * 5 * 8 * 8, 2 * 5 * 5 * 8, 2 * 5 * 8 * 16
    assert report.total.macs == projections + products + hidden
    assert report.under("torch") == 2 * report.total.macs
    assert report.under("thop") == hidden + 2 * 4 * 5 * 8
    assert report.under("fvcore-fused") == projections + hidden + 2 * 5 * 5 * 8


@pytest.mark.parametrize(("by", "expected"), [("kind", [CONV, LINEAR]), ("module", [CONV + LINEAR + 9 * OUT, CONV])])
def test_column(report: flopscope.Report, by: str, expected: list[int]) -> None:
    lines = report.to_csv(by, convention="thop").splitlines()  # type: ignore[arg-type]
    assert lines[0].endswith(",thop")
    assert [int(line.rpartition(",")[2]) for line in lines[1:3]] == expected


# -- published papers -------------------------------------------------------------------------------------------------------------------------

PUBLISHED = {"PDARTS": 557, "PC_DARTS_cifar": 586, "PC_DARTS_image": 597}


@pytest.mark.skipif(not os.environ.get("FLOPSCOPE_DATA"), reason="FLOPSCOPE_DATA does not name the folder of published numbers")
@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_cells(name: str) -> None:
    from nas.models.spec import build
    from nas.spaces.darts.network import IMAGENET

    model = build(f"published:{name}", (3, 224, 224), 1000, IMAGENET).eval()
    report = flopscope.analyze(model, "1x3x224x224")
    assert (report.under("darts") + 500_000) // 10**6 == PUBLISHED[name]
    assert report.under("contraction") // 10**6 < PUBLISHED[name] - 10
