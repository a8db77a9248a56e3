"""Conventions of tools for PyTorch on an ONNX file: as they count the same functions of PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import flopscope
from tests.frontends.onnx.models import model, node, value, weight


class _Functions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.k, self.w = nn.Parameter(torch.ones(4, 3, 3, 3)), nn.Parameter(torch.ones(16, 24))
        self.b, self.v = nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(24, 5))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        images = functional.relu(functional.conv2d(x, self.k, padding=1))
        images = functional.interpolate(images, scale_factor=2.0, mode="nearest")
        images = functional.interpolate(images, scale_factor=2.0, mode="bilinear")
        return images, torch.addmm(self.b, torch.matmul(y, self.w).softmax(-1), self.v)


def _file() -> flopscope.Report:
    nodes = [
        node("Conv", ["x", "k"], ["c"], pads=[1] * 4),
        node("Relu", ["c"], ["r"]),
        node("Upsample", ["r"], ["n"], scales=[1.0, 1.0, 2.0, 2.0], mode="nearest"),
        node("Upsample", ["n"], ["images"], scales=[1.0, 1.0, 2.0, 2.0], mode="linear"),
        node("MatMul", ["y", "w"], ["h"]),
        node("Softmax", ["h"], ["p"], axis=1),
        node("Gemm", ["p", "v", "b"], ["z"]),
    ]
    inputs, outputs = [value("x", [1, 3, 8, 8]), value("y", [7, 16])], [value("images", None), value("z", None)]
    weights = [weight("k", [4, 3, 3, 3]), weight("w", [16, 24]), weight("v", [24, 5]), weight("b", [5])]
    return flopscope.analyze(model(nodes, inputs, outputs, weights, opset=8))


@pytest.mark.parametrize("name", ["contraction", "full", "fvcore", "fvcore-fused", "ptflops-aten", "torch"])
def test_a_file_counts_as_the_module_under_a_convention(name: str) -> None:
    module = flopscope.analyze(_Functions(), torch.zeros(1, 3, 8, 8), torch.zeros(7, 16))
    assert _file().under(name) == module.under(name) > 0
    assert _file().explain(name).to_dict()["count"] == module.under(name)


def test_a_file_has_the_activations_of_the_module() -> None:
    module = flopscope.analyze(_Functions(), torch.zeros(1, 3, 8, 8), torch.zeros(7, 16))
    assert _file().activations() == module.activations() == 4 * 64 + 7 * 24 + 7 * 5


def test_the_letters_of_a_sum_and_product_are_those_of_the_factors() -> None:
    found = flopscope.analyze(
        model([node("Gemm", ["x", "w", "b"], ["y"])], [value("x", [4, 6])], [], [weight("w", [6, 5]), weight("b", [5])])
    )
    assert found.why("#0").to_dict()["ops"][0]["letters"] == {"n": 4, "m": 6, "p": 5}
