"""Widths of what is multiplied: PyTorch models whose rows, bit operations and bytes are written out as arithmetic."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import flopscope
from flopscope.analyses.bits import Bits, Row, parse_widths
from flopscope.cli.main import main
from flopscope.errors import OptionError


def _bits(model: nn.Module, *inputs: Any, assume: str | None = None) -> Bits:
    return flopscope.analyze(model.eval(), *inputs).bits(assume)


def test_a_float_model_is_one_row_and_its_bytes_are_four_per_parameter() -> None:
    found = _bits(nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)), torch.zeros(1, 3, 6, 6))
    macs = 8 * 4 * 4 * 3 * 9
    assert found.rows == (Row("float32", 32, "float32", 32, macs),)
    assert found.bops == macs * 32 * 32
    assert found.model_bytes == 4 * (8 * 3 * 9 + 2 * 8)
    assert found.buffer_bytes == 4 * 2 * 8 + 8  # two statistics, and an int64 counter


@pytest.mark.parametrize(("dtype", "name"), [(torch.float16, "float16"), (torch.bfloat16, "bfloat16")])
def test_half_precision_has_half_the_width(dtype: torch.dtype, name: str) -> None:
    found = _bits(nn.Linear(16, 4).to(dtype), torch.zeros(3, 16, dtype=dtype))
    assert found.rows == (Row(name, 16, name, 16, 3 * 16 * 4),)
    assert found.model_bytes == 2 * (16 * 4 + 4)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(16, 48)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.view(2, 5, 4, 4).transpose(1, 2) for part in self.project(x).chunk(3, -1))
        return nn.functional.scaled_dot_product_attention(q, k, v)


def test_products_of_two_activations_take_the_width_of_activations() -> None:
    found = _bits(Attention(), torch.zeros(2, 5, 16))
    projection, products = 2 * 5 * 16 * 48, 2 * (2 * 4 * 5 * 5 * 4)
    assert found.rows == (Row("float32", 32, "float32", 32, projection), Row(None, 32, "float32", 32, products))
    assumed = _bits(Attention(), torch.zeros(2, 5, 16), assume="w4a8")
    assert assumed.rows == (Row("int4", 4, "int8", 8, projection), Row(None, 8, "int8", 8, products))
    assert assumed.bops == projection * 4 * 8 + products * 8 * 8
    assert assumed.model_bytes == 16 * 48 // 2 + 48 * 4  # the weight in nibbles, the bias as it was


def test_an_assumed_width_packs_weights_and_leaves_norms_and_tables_alone() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.norm, self.layer = nn.Embedding(10, 7), nn.LayerNorm(7), nn.Linear(7, 3, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.norm(self.table(x)))

    found = _bits(Model(), torch.zeros(2, dtype=torch.int64))
    assert found.model_bytes == 4 * (70 + 14 + 21)
    assert found.assume("w3a16").model_bytes == 4 * (70 + 14) + 8  # 21 weights of 3 bits are 63 bits
    assert found.assume("w8a8").assume("w3a16").bops == found.assume("w3a16").bops


def test_what_is_fake_quantised_counts_as_the_integers_it_stands_for() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255)
            weight = torch.fake_quantize_per_tensor_affine(self.weight, 0.1, 0, -8, 7)
            return nn.functional.linear(x.reshape(3, 16), weight)

    found = _bits(Model(), torch.zeros(3, 4, 4))
    assert found.rows == (Row("int4", 4, "uint8", 8, 3 * 16 * 4),)


def test_a_weight_of_integers_that_is_cast_and_scaled_counts_as_integers() -> None:
    class Model(nn.Module):
        weight: torch.Tensor
        scale: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.zeros(4, 16, dtype=torch.int8))
            self.register_buffer("scale", torch.ones(4, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ (self.weight.to(x.dtype) * self.scale).t()

    found = _bits(Model(), torch.zeros(3, 16))
    assert found.rows == (Row("int8", 8, "float32", 32, 3 * 16 * 4),)


def test_an_activation_that_is_cast_to_floating_point_is_no_integer() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.float() / 255)

    assert _bits(Model(), torch.zeros(3, 16, dtype=torch.uint8)).rows == (Row("float32", 32, "float32", 32, 3 * 16 * 4),)


def test_packed_layers_of_pytorch() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao.quantization import quantize_dynamic

        dynamic = quantize_dynamic(nn.Sequential(nn.Linear(8, 16)), {nn.Linear}, dtype=torch.qint8)
        half = quantize_dynamic(nn.Sequential(nn.Linear(8, 16)), {nn.Linear}, dtype=torch.float16)
    found = _bits(dynamic, torch.zeros(3, 8))
    assert found.rows == (Row("qint8", 8, "quint8", 8, 3 * 8 * 16),)
    assert found.model_bytes == 8 * 16 + 4 * 16
    (row,) = _bits(half, torch.zeros(3, 8)).rows
    assert (row.activation, row.macs) == ("float32", 3 * 8 * 16)


def test_packed_recurrent_layers_are_answered_again_and_again_and_say_that_their_weights_are_hidden() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao.quantization import quantize_dynamic

        layer = quantize_dynamic(nn.Sequential(nn.LSTM(16, 4)), {nn.LSTM}, dtype=torch.qint8)
        cell = quantize_dynamic(nn.Sequential(nn.GRUCell(16, 4)), {nn.GRUCell}, dtype=torch.qint8)
        half = quantize_dynamic(nn.Sequential(nn.LSTM(16, 4)), {nn.LSTM}, dtype=torch.float16)
    for _ in range(2):
        found = _bits(layer, torch.zeros(3, 2, 16))
        assert found.rows == (Row("qint8", 8, "quint8", 8, 3 * 2 * 16 * (16 + 4)),)
        assert found.hidden
    assert _bits(cell, torch.zeros(2, 16)).rows == (Row("qint8", 8, "quint8", 8, 2 * 12 * (16 + 4)),)
    assert _bits(half, torch.zeros(3, 2, 16)).rows == (Row("float16", 16, "float32", 32, 3 * 2 * 16 * (16 + 4)),)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_quantised_models_of_torchvision_multiply_as_often_as_their_float_versions(name: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    image = torch.zeros(1, 3, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = getattr(torchvision.models.quantization, name)(weights=None, quantize=True)
    whole = flopscope.analyze(getattr(torchvision.models, name)(weights=None).eval(), image)
    found = _bits(small, image)
    assert found.rows == (Row("qint8", 8, "quint8", 8, whole.total.macs),)
    assert found.bops * 16 == whole.bits().bops
    assert found.rows[0].macs == flopscope.analyze(small.eval(), image).total.macs


def test_rows_add_up_to_the_total_of_every_kind_of_layer() -> None:
    layers = [
        (nn.LSTM(8, 4, 2, bidirectional=True), torch.zeros(3, 2, 8)), (nn.GRU(8, 4), torch.zeros(3, 2, 8)),
        (nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), torch.zeros(2, 5, 16)),
        (nn.ConvTranspose2d(4, 6, 3), torch.zeros(1, 4, 5, 5)),
    ]  # fmt: skip
    for layer, x in layers:
        report = flopscope.analyze(layer.eval(), x)
        assert report.bits().macs == report.total.macs > 0
        assert not report.bits().partial
        assert sum(elements for elements, _ in report.bits().weights) == sum(p.numel() for p in layer.parameters() if p.dim() > 1)


def test_bilinear_layers_and_sums_of_three_factors_add_up_too() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Bilinear(3, 4, 5)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return torch.einsum("no,ni,nj->oij", self.layer(a, b), a, b)

    report = flopscope.analyze(Model(), torch.zeros(2, 3), torch.zeros(2, 4))
    assert report.bits().macs == report.total.macs > 0


@pytest.mark.parametrize("text", ["w8", "8", "a8w8", "w8a", "w0a8", "w8a65", "w-1a8", "int8", ""])
def test_widths_that_are_none_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(OptionError, match="w8a8"):
        parse_widths(text)


def test_the_command_prints_the_breakdown_and_says_what_was_assumed() -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["analyze", "torchvision:squeezenet1_1", *arguments])

    plain = run("--bits")
    assert plain.exit_code == 0
    assert "float32 (32 bits)" in plain.output
    assert "BOPs    " in plain.output
    data = json.loads(run("--format", "json", "--assume", "w8a8").output)
    model = pytest.importorskip("torchvision").models.squeezenet1_1(weights=None).eval()
    report = flopscope.analyze(model, torch.zeros(1, 3, 224, 224))
    assert data["bits"]["assumed"] == "w8a8"
    assert data["bits"]["bops"] == 64 * data["total"]["macs"] == 64 * report.total.macs
    refused = run("--assume", "8bit")
    assert refused.exit_code == 2
    assert "w8a8" in refused.output
