"""Layers that counters get wrong. Each expected number of multiply-accumulates is written out."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import flopscope

A = flopscope.analyze
aten = torch.ops.aten


def macs(model: Any, *inputs: Any, **options: Any) -> int:
    report = A(model, *inputs, **options)
    report.graph.verify()
    assert report.uncounted == []
    return report.total.macs


# -- convolutions and linear layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stride", "groups", "extra"), [(1, 1, 0), (2, 2, 1), (3, 4, 2), (2, 4, 0)])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_transposed_convolutions(dims: int, stride: int, groups: int, extra: int) -> None:
    make = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1]
    layer = make(8, 12, 3, stride=stride, groups=groups, output_padding=extra, padding=1)
    report = A(layer, "x".join(["2", "8", *["5"] * dims]))
    size = (5 - 1) * stride - 2 * 1 + (3 - 1) + extra + 1
    assert report.graph.outputs[0].shape == (2, 12, *[size] * dims)
    # Each input element meets the kernel once for each output channel of its group.
    assert report.total.macs == (2 * 8 * 5**dims) * (12 // groups) * 3**dims
    assert report.total.params == 8 * (12 // groups) * 3**dims + 12


@pytest.mark.parametrize("shape", ["8", "3x8", "2x3x8", "2x3x5x8", "1x1x2x3x5x8"])
def test_linear_layers_of_any_number_of_dimensions(shape: str) -> None:
    rows = prod(int(size) for size in shape.split("x")[:-1])
    assert macs(nn.Linear(8, 4), shape) == rows * 8 * 4


class Shares(nn.Module):
    """One layer under two names, called three times."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(8, 8)
        self.other = self.one
        self.tied = nn.Linear(8, 8, bias=False)
        self.tied.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.tied(self.other(self.one(self.one(x))))


def test_parameters_count_once_and_calls_each() -> None:
    report = A(Shares(), "2x8")
    assert (report.total.macs, report.total.params) == (4 * 2 * 8 * 8, 8 * 8 + 8)
    rows = {row.path: row.cost for row in report.by_module()}
    assert (rows[""].macs, rows["one"].macs, rows["tied"].macs) == (4 * 128, 3 * 128, 128)


def test_nested_modules_are_not_counted_twice() -> None:
    inner = nn.Sequential(nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Sequential(nn.Linear(4, 4))))
    report = A(inner, "3x4")
    rows = {row.path: row.cost.macs for row in report.by_module()}
    assert rows == {"": 96, "0": 48, "0.0": 48, "1": 48, "1.0": 48, "1.0.0": 48}


def test_bilinear() -> None:
    # First x1 with the weight, then with x2: n o i j + n o j multiply-accumulates.
    assert macs(nn.Bilinear(3, 4, 5), "7x3", "7x4") == 7 * 5 * 3 * 4 + 7 * 5 * 4


def test_functions_outside_modules() -> None:
    weight, kernel = torch.rand(5, 3), torch.rand(2, 5, 3)
    assert macs(lambda x: F.conv1d(F.linear(x, weight).transpose(1, 2), kernel), "1x8x3") == 8 * 3 * 5 + 6 * 2 * 5 * 3


# -- attention --------------------------------------------------------------------------------------------------------------

DIM, HEADS, LENGTH, HIDDEN = 16, 4, 5, 32
MHA = 2 * (LENGTH * 4 * DIM * DIM + 2 * LENGTH * LENGTH * DIM)
ENCODER = MHA + 2 * LENGTH * 2 * DIM * HIDDEN
PADDING = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])


@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])
@pytest.mark.parametrize("execute", ["never", "always"])
@pytest.mark.parametrize("mask", [None, PADDING], ids=["no mask", "padding"])
def test_multi_head_attention_on_every_path(frozen: bool, execute: Any, mask: Tensor | None) -> None:
    layer = nn.MultiheadAttention(DIM, HEADS, batch_first=True).eval().requires_grad_(not frozen)
    x = torch.rand(2, LENGTH, DIM)
    report = A(layer, x, x, x, key_padding_mask=mask, execute=execute)
    assert (report.total.macs, report.uncounted) == (MHA, [])
    assert report.total.params == 4 * DIM * DIM + 4 * DIM


@pytest.mark.parametrize("execute", ["never", "always"])
@pytest.mark.parametrize("mask", [None, PADDING], ids=["no mask", "padding"])
def test_encoder_layer_on_the_fast_path(execute: Any, mask: Tensor | None) -> None:
    layer = nn.TransformerEncoderLayer(DIM, HEADS, HIDDEN, batch_first=True).eval().requires_grad_(False)
    assert macs(layer, torch.rand(2, LENGTH, DIM), src_key_padding_mask=mask, execute=execute) == ENCODER


def test_attention_with_other_widths_and_added_keys() -> None:
    cross = nn.MultiheadAttention(16, 4, kdim=6, vdim=7, batch_first=True)
    assert macs(cross, "2x5x16", "2x9x6", "2x9x7") == 2 * (5 * 2 * 16 * 16 + 9 * 16 * 6 + 9 * 16 * 7 + 2 * 5 * 9 * 16)
    added = nn.MultiheadAttention(16, 4, add_bias_kv=True, add_zero_attn=True, batch_first=True)
    x = torch.rand(2, 5, 16)
    assert macs(added, x, x, x) == 2 * (5 * 4 * 16 * 16 + 2 * 5 * (5 + 2) * 16)


B, H, L, S, E = 2, 4, 6, 10, 8
SDPA = B * H * L * S * (E + E)
KERNELS: dict[str, Any] = {
    "flash": lambda q, k, v: aten._scaled_dot_product_flash_attention(q, k, v)[0],
    "flash, causal": lambda q, k, v: aten._scaled_dot_product_flash_attention(q, k, v, 0.1, True)[0],
    "efficient": lambda q, k, v: aten._scaled_dot_product_efficient_attention(q, k, v, None, False)[0],
    "cudnn": lambda q, k, v: aten._scaled_dot_product_cudnn_attention(q, k, v, None, False)[0],
    "by token, flash": lambda q, k, v: aten._flash_attention_forward(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), None, None, L, S, 0.0, False, False
    )[0],
    "by token, efficient": lambda q, k, v: aten._efficient_attention_forward(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), None, None, None, None, None, 0.0, 0
    )[0],
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_attention_kernels_of_gpus_on_meta_tensors(kernel: str) -> None:
    query = torch.empty(B, H, L, E, dtype=torch.float16, device="meta")
    key = torch.empty(B, H, S, E, dtype=torch.float16, device="meta")
    assert macs(KERNELS[kernel], query, key, key) == SDPA


OPTIONS: dict[str, dict[str, Any]] = {"plain": {}, "causal": {"is_causal": True}, "dropout": {"dropout_p": 0.1}}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("options", OPTIONS)
def test_scaled_dot_product_attention(options: str, device: str) -> None:
    query, key = torch.empty(B, H, L, E, device=device), torch.empty(B, H, S, E, device=device)
    attend = F.scaled_dot_product_attention
    assert macs(lambda q, k: attend(q, k, k, **OPTIONS[options]), query, key) == SDPA


def test_attention_with_a_mask_and_with_grouped_heads() -> None:
    attend = F.scaled_dot_product_attention
    assert macs(lambda q, k, m: attend(q, k, k, m), f"{B}x{H}x{L}x{E}", f"{B}x{H}x{S}x{E}", f"{L}x{S}:bool") == SDPA
    assert macs(lambda q, k: attend(q, k, k, enable_gqa=True), f"{B}x{2 * H}x{L}x{E}", f"{B}x2x{S}x{E}") == 2 * SDPA


EINSUMS: list[tuple[str, tuple[str, ...], int]] = [
    ("...ij,...jk->...ik", ("2x3x4x5", "3x5x6"), 2 * 3 * 4 * 5 * 6),
    ("bij,bjk", ("2x3x4", "2x4x5"), 2 * 3 * 4 * 5),
    ("bhid,bhjd->bhij", ("2x3x4x5", "2x3x6x5"), 2 * 3 * 4 * 6 * 5),
    ("ii->i", ("4x4",), 0),
    ("ii", ("4x4",), 0),
    ("ii,i->i", ("4x4", "4"), 4),
    ("ij,ij", ("4x5", "4x5"), 4 * 5),
    ("...,...", ("3x4", "3x4"), 3 * 4),
    ("i,j,k->ijk", ("2", "3", "4"), 2 * 3 + 2 * 3 * 4),
    ("ij,jk,kl->il", ("2x3", "3x4", "4x5"), 2 * 3 * 4 + 2 * 4 * 5),
    ("b i d, o i d -> b o", ("2x3x4", "5x3x4"), 2 * 5 * 3 * 4),
]


@pytest.mark.parametrize(("equation", "shapes", "expected"), EINSUMS, ids=[case[0] for case in EINSUMS])
def test_einsum(equation: str, shapes: tuple[str, ...], expected: int) -> None:
    assert macs(lambda *tensors: torch.einsum(equation, *tensors), *shapes) == expected


# -- recurrent layers --------------------------------------------------------------------------------------------------------

RNNS = [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)]
LENGTHS = torch.tensor([5, 3, 4])
TOKENS = 5 + 3 + 4


class Packs(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, _ = self.rnn(packed)
        return pad_packed_sequence(out, batch_first=True)[0]


@pytest.mark.parametrize(("make", "gates"), RNNS, ids=[make.__name__ for make, _ in RNNS])
def test_packed_sequences_cost_what_their_tokens_cost(make: Any, gates: int) -> None:
    x = torch.rand(3, 5, 8)
    per_token = gates * 6 * (8 + 6)
    single = Packs(make(8, 6, batch_first=True))
    for execute in ("never", "always"):
        report = A(single, x, LENGTHS, execute=execute)
        report.graph.verify()
        assert report.total.macs == TOKENS * per_token
        assert report.graph.outputs[0].shape == (3, 5, 6)
    double = Packs(make(8, 6, batch_first=True, bidirectional=True, num_layers=2))
    assert A(double, x, LENGTHS).total.macs == TOKENS * gates * 6 * 2 * ((8 + 6) + (2 * 6 + 6))
    given = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    assert A(make(8, 6, batch_first=True), given, execute="never").total.macs == TOKENS * per_token


@pytest.mark.parametrize(("make", "gates"), RNNS, ids=[make.__name__ for make, _ in RNNS])
def test_recurrent_layers(make: Any, gates: int) -> None:
    assert macs(make(8, 6, batch_first=True), "3x5x8") == 15 * gates * 6 * (8 + 6)
    assert macs(make(8, 6), "5x8") == 5 * gates * 6 * (8 + 6)


def test_projected_lstm() -> None:
    first, second = 4 * 6 * (8 + 3) + 6 * 3, 4 * 6 * (2 * 3 + 3) + 6 * 3
    assert macs(nn.LSTM(8, 6, proj_size=3, num_layers=2, bidirectional=True), "5x2x8") == 5 * 2 * 2 * (first + second)
    assert A(Packs(nn.LSTM(8, 6, proj_size=3, batch_first=True)), torch.rand(3, 5, 8), LENGTHS).total.macs == TOKENS * first


# -- lookups, patches, regions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bags(mode: str) -> None:
    bag = nn.EmbeddingBag(10, 4, mode=mode)
    rows = A(bag, torch.zeros(3, 5, dtype=torch.int64))
    offsets = A(bag, torch.zeros(15, dtype=torch.int64), torch.tensor([0, 4, 9]))
    for report in (rows, offsets):
        assert (report.uncounted, report.total.macs, report.total.params) == ([], 0, 40)
        assert report.graph.outputs[0].shape == (3, 4)
        assert report.total.flops >= 15 * 4  # one operation per looked-up element


def test_embedding_bag_with_weights() -> None:
    bag = nn.EmbeddingBag(10, 4, mode="sum")
    plain, weighted = A(bag, torch.zeros(3, 5, dtype=torch.int64)), A(bag, torch.zeros(3, 5, dtype=torch.int64), None, "3x5")
    assert weighted.total.flops - plain.total.flops == 15 * 4


def test_patches() -> None:
    assert macs(lambda x, w: w @ F.unfold(x, 2), "2x3x4x5", "7x12") == 2 * 7 * 12 * (3 * 4)
    # Adding up overlapping patches takes one addition per element of them.
    assert A(nn.Fold((4, 5), (2, 2)), "2x12x12").total.flops == 2 * 12 * 12


def test_deformable_convolution() -> None:
    ops = pytest.importorskip("torchvision.ops")
    layer = ops.DeformConv2d(4, 6, 3, padding=1)
    assert macs(layer, "2x4x5x5", "2x18x5x5") == macs(layer, "2x4x5x5", "2x18x5x5", "2x9x5x5") == 2 * 5 * 5 * 6 * 4 * 9


def test_regions() -> None:
    ops = pytest.importorskip("torchvision.ops")
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 5.0, 5.0], [8.0, 8.0, 9.0, 9.0]])
    kept = A(lambda b, s: b[ops.nms(b, s, 0.1)], boxes, torch.tensor([0.9, 0.8, 0.7]))
    assert kept.graph.outputs[0].shape == (2, 4)
    assert "cost depends on data" in kept.notes[0]
    aligned = A(lambda x, b: ops.roi_align(x, b, (7, 7), sampling_ratio=2), "1x3x16x16", "5x5")
    assert aligned.total.flops == 5 * 3 * 7 * 7 * (2 * 2 * 8 + 1)


def test_grid_sample() -> None:
    report = A(lambda x, g: F.grid_sample(x, g, align_corners=False), "2x3x4x5", "2x6x7x2")
    # Bilinear: four products and three additions per element; two coordinates per position with six operations each.
    assert report.total.flops == 2 * 3 * 6 * 7 * 7 + 2 * 6 * 7 * 2 * 6


# -- complex numbers ---------------------------------------------------------------------------------------------------------

C = torch.complex64
COMPLEX: list[tuple[str, Any, Any, int]] = [
    ("linear", lambda: nn.Linear(8, 8, dtype=C), (3, 8), 3 * 8 * 8),
    ("conv", lambda: nn.Conv2d(3, 4, 3, dtype=C), (1, 3, 8, 8), 4 * 36 * 27),
    ("matmul", lambda: lambda x: x @ x, (8, 8), 8 * 8 * 8),
]


@pytest.mark.parametrize(("make", "shape", "complex_macs"), [case[1:] for case in COMPLEX], ids=[case[0] for case in COMPLEX])
def test_complex_numbers(make: Any, shape: Any, complex_macs: int) -> None:
    assert macs(make(), torch.rand(shape, dtype=C)) == 4 * complex_macs


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("make", [lambda a: a.to_sparse(), lambda a: a.to_sparse_csr()], ids=["coo", "csr"])
def test_a_matrix_that_becomes_sparse_in_the_forward_costs_what_is_stored(make: Any) -> None:
    report = flopscope.analyze(lambda a, b: make(a) @ b, torch.eye(6), torch.rand(6, 5))
    assert report.total.macs == 6 * 5
    assert any("depends on data" in note for note in report.notes)
