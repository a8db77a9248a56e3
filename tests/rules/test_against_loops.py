"""Rules against counters that do the computation in loops, over random shapes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import flopscope
from tests.rules import oracles

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
sizes = st.integers(1, 3)


@st.composite
def convolutions(draw: Any) -> dict[str, Any]:
    dims = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    kernel = [draw(sizes) for _ in range(dims)]
    dilation = [draw(st.integers(1, 2)) for _ in range(dims)]
    needed = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    return {
        "dims": dims,
        "batch": draw(st.integers(1, 2)),
        "channels": groups * draw(st.integers(1, 2)),
        "out_channels": groups * draw(st.integers(1, 2)),
        "sizes": [need + draw(st.integers(0, 3)) for need in needed],
        "kernel": kernel,
        "stride": [draw(st.integers(1, 3)) for _ in range(dims)],
        "padding": [draw(st.integers(0, 2)) for _ in range(dims)],
        "dilation": dilation,
        "groups": groups,
        "bias": draw(st.booleans()),
    }


@given(convolutions())
@settings(max_examples=60, deadline=None)
def test_convolution(case: dict[str, Any]) -> None:
    dims, bias = case.pop("dims"), case.pop("bias")
    model = CONVS[dims](
        case["channels"], case["out_channels"], case["kernel"], case["stride"], case["padding"], case["dilation"], case["groups"], bias
    )
    x = torch.empty(case["batch"], case["channels"], *case["sizes"])
    total = flopscope.analyze(model, x).total
    expected = oracles.conv_macs(**case)
    assert total.macs == expected
    assert total.flops == 2 * expected + (model(x).numel() if bias else 0)
    assert total.elements_read == x.numel() + sum(p.numel() for p in model.parameters())
    assert total.elements_written == model(x).numel()


@given(convolutions())
@settings(max_examples=40, deadline=None)
def test_transposed_convolution(case: dict[str, Any]) -> None:
    model = TRANSPOSED[case["dims"]](
        case["channels"],
        case["out_channels"],
        case["kernel"],
        case["stride"],
        groups=case["groups"],
        bias=case["bias"],
        dilation=case["dilation"],
    )
    x = torch.empty(case["batch"], case["channels"], *case["sizes"])
    expected = oracles.conv_transpose_macs(
        case["batch"], case["channels"], case["out_channels"], case["sizes"], case["kernel"], case["groups"]
    )
    assert flopscope.analyze(model, x).total.macs == expected


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.booleans())
@settings(max_examples=25, deadline=None)
def test_transposed_convolution_is_the_gradient_of_a_convolution(channels: int, out: int, size: int, kernel: int, grouped: bool) -> None:
    """The two do the same multiplications the other way round."""
    groups = 2 if grouped else 1
    back = nn.ConvTranspose2d(channels * groups, out * groups, kernel, groups=groups, bias=False)
    there = nn.Conv2d(out * groups, channels * groups, kernel, groups=groups, bias=False)
    x = torch.empty(1, channels * groups, size, size)
    assert flopscope.analyze(back, x).total.macs == flopscope.analyze(there, back(x)).total.macs


@st.composite
def matrix_pairs(draw: Any) -> tuple[list[int], list[int]]:
    inner = draw(st.integers(1, 4))
    batch = [draw(st.integers(1, 3)) for _ in range(draw(st.integers(0, 2)))]
    kept = draw(st.integers(0, len(batch)))
    other = [size if draw(st.booleans()) else 1 for size in batch][len(batch) - kept :]
    a = [inner] if draw(st.booleans()) and not batch else [*batch, draw(st.integers(1, 4)), inner]
    b = [inner] if draw(st.booleans()) else [*other, inner, draw(st.integers(1, 4))]
    return a, b


@given(matrix_pairs())
@settings(max_examples=60, deadline=None)
def test_matmul(shapes: tuple[list[int], list[int]]) -> None:
    a, b = shapes
    report = flopscope.analyze(torch.matmul, torch.empty(a), torch.empty(b))
    assert report.total.macs == oracles.matmul_macs(a, b)
    assert report.total.flops == 2 * report.total.macs


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_every_product_of_the_same_matrices_counts_the_same(b: int, n: int, m: int, p: int) -> None:
    expected = oracles.matmul_macs([b, n, m], [b, m, p])
    x, y, c = torch.empty(b, n, m), torch.empty(b, m, p), torch.empty(b, n, p)
    assert flopscope.analyze(torch.bmm, x, y).total.macs == expected
    assert flopscope.analyze(torch.matmul, x, y).total.macs == expected
    assert flopscope.analyze(torch.baddbmm, c, x, y).total.macs == expected
    assert flopscope.analyze(lambda x, y: torch.einsum("bnm,bmp->bnp", x, y), x, y).total.macs == expected
    assert flopscope.analyze(torch.addbmm, c[0], x, y).total.macs == expected
    assert flopscope.analyze(lambda x, y: torch.stack([torch.mm(i, j) for i, j in zip(x, y, strict=True)]), x, y).total.macs == expected
    assert (
        flopscope.analyze(lambda x, y: torch.stack([torch.addmm(c[0], i, j) for i, j in zip(x, y, strict=True)]), x, y).total.macs
        == expected
    )


@pytest.mark.parametrize(
    ("equation", "output"),
    [
        ("ij,jk->ik", "ik"),
        ("bij,bjk->bik", "bik"),
        ("bi,bi->b", "b"),
        ("i,j->ij", "ij"),
        ("abcd,abed->abce", "abce"),
        ("ab,abc->c", "c"),
        ("ij,ij->", ""),
    ],
)
def test_einsum(equation: str, output: str) -> None:
    known = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 6, "i": 2, "j": 3, "k": 4}
    terms = equation.partition("->")[0].split(",")
    operands = [torch.empty([known[label] for label in term]) for term in terms]
    report = flopscope.analyze(lambda *xs: torch.einsum(equation, *xs), *operands)
    assert report.total.macs == oracles.einsum_macs(terms, output, known)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_adaptive_average_pooling(h: int, w: int, oh: int, ow: int) -> None:
    report = flopscope.analyze(nn.AdaptiveAvgPool2d((oh, ow)), torch.empty(2, 3, h, w))
    assert report.total.flops == 2 * 3 * oracles.adaptive_pool_reads(h, oh) * oracles.adaptive_pool_reads(w, ow)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.integers(1, 3), st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_lstm_equals_its_cells(width: int, hidden: int, steps: int, batch: int, bidirectional: bool, bias: bool, two_layers: bool) -> None:
    """A layer is its cell, applied step by step in each direction."""
    layers, directions = 1 + two_layers, 1 + bidirectional
    model = nn.LSTM(width, hidden, layers, bias=bias, bidirectional=bidirectional)
    cells = 0
    for layer in range(layers):
        cell = nn.LSTMCell(width if layer == 0 else hidden * directions, hidden, bias)
        one = flopscope.analyze(cell, torch.empty(batch, width if layer == 0 else hidden * directions))
        cells += directions * steps * one.total.macs
    assert flopscope.analyze(model, torch.empty(steps, batch, width)).total.macs == cells


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_linear_of_any_rank_is_a_linear_of_all_rows(rows: int, width: int, rank: int) -> None:
    model = nn.Linear(width, 3)
    flat = flopscope.analyze(model, torch.empty(rows**rank, width)).total
    assert flopscope.analyze(model, torch.empty(*[rows] * rank, width)).total == flat
    assert flopscope.analyze(lambda x: F.linear(x, model.weight, model.bias), torch.empty(*[rows] * rank, width)).total.macs == flat.macs
    assert flat.macs == math.prod([rows**rank, width, 3])
