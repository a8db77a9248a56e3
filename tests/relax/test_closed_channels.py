"""Symbols that stand for channels: against arithmetic, and against networks that are built with other widths."""

from __future__ import annotations

import pytest
import sympy
import torch
import torchvision
from torch import nn

import flopscope
from flopscope.cost import METRICS
from flopscope.errors import InputError
from tests.relax.surgery import resized


def test_a_chain_of_layers_is_the_polynomial_that_one_writes_down() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 1), nn.Flatten(), nn.Linear(12 * 25, 10))
    form = flopscope.closed_form(model, "2x3x5x5", symbols={"N": 0, "C": "0", "D": "2"})
    n, c, d = (form.symbols[name] for name in "NCD")
    assert sympy.expand(form("macs") - n * (25 * (27 * c + c * d) + 25 * d * 10)) == 0
    assert sympy.expand(form("params") - ((27 * c + c) + (c * d + d) + (25 * d * 10 + 10))) == 0
    assert "C is the number of channels that 0 makes, which 2 layers share" in str(form)


@pytest.mark.parametrize(
    ("name", "layer"), [("resnet18", "layer2.0.conv1"), ("mobilenet_v2", "features.3.conv.0.0"), ("resnext50_32x4d", "layer1.0.conv1")]
)
def test_the_form_is_the_cost_of_the_network_that_is_built_so(name: str, layer: str) -> None:
    with flopscope.building():
        model = getattr(torchvision.models, name)(weights=None).eval()
    w = flopscope.relax.widths(model, "1x3x64x64")
    form = flopscope.closed_form(model, "1x3x64x64", symbols={"B": 0, "R": (2, 3), "C": layer})
    position = next(index for index, group in enumerate(w.groups) if group.name == layer)
    step = w.groups[position].granularity
    if step > 1:
        assert f"C is a multiple of {step}" in form.conditions
    for batch, size, times in ((1, 64, 3), (5, 97, 2), (2, 160, 7)):
        sizes = w.sizes
        sizes[position] = step * times
        variant = resized(model, w.shapes(sizes))
        total = flopscope.analyze(variant, torch.empty(batch, 3, size, size)).total
        found = {metric: form.evaluate(metric, B=batch, R=size, C=step * times) for metric in METRICS}
        assert found == {metric: getattr(total, metric) for metric in METRICS}


def test_channels_that_cannot_be_symbols() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1))
    for symbols, message in (
        ({"C": "7"}, "no layer '7' has weights; there are '0'"),
        ({"C": "1"}, "the outputs of '1' cannot change: the model returns it"),
        ({"C": "0", "D": "0"}, "two of the symbols C, D stand for one channel group"),
    ):
        with pytest.raises(InputError, match=message):
            flopscope.closed_form(model, "1x3x5x5", symbols=symbols)


def test_a_size_at_which_a_copy_may_be_a_view_is_left_out() -> None:
    class Shuffle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.a(x)
            n, c, h, w = x.shape
            return self.b(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))

    form = flopscope.closed_form(Shuffle(), "2x3x5x5", symbols={"B": 0, "C": "a"})
    assert "C >= 4" in form.conditions
    variant = Shuffle()
    variant.a, variant.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
    assert form.evaluate("access", B=3, C=4) == flopscope.analyze(variant, "3x3x5x5").total.access
