"""Complex numbers against their arithmetic written out on pairs of real numbers that count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import flopscope
from tests.rules import oracles, tallies

e = torch.empty
c64 = torch.complex64


def test_operations_on_pairs() -> None:
    """What one complex operation is, in real ones."""
    assert tallies.real_operations(tallies.complex_sum, 2) == 2
    assert tallies.real_operations(tallies.complex_product, 2) == 4 + 2
    assert tallies.real_operations(tallies.complex_quotient, 2) == 11
    assert tallies.real_operations(lambda x, y, z: tallies.complex_sum(x, tallies.complex_product(y, z)), 3) == 2 * 4


MAC = tallies.real_operations(lambda x, y, z: tallies.complex_sum(x, tallies.complex_product(y, z)), 3)
CASES: list[tuple[str, Callable[..., Any], tuple[Tensor, ...], int, int]] = [
    ("matmul", torch.matmul, (e(2, 3, dtype=c64), e(3, 4, dtype=c64)), oracles.matmul_macs([2, 3], [3, 4]), 0),
    ("einsum", lambda a, b: torch.einsum("bij,bjk->bik", a, b), (e(2, 2, 3, dtype=c64), e(2, 3, 4, dtype=c64)), 2 * 2 * 3 * 4, 0),
    ("linear", nn.Linear(3, 4, dtype=c64), (e(2, 3, dtype=c64),), 2 * 3 * 4, 2 * 2 * 4),
    ("conv2d", nn.Conv2d(2, 3, 3, dtype=c64), (e(1, 2, 5, 5, dtype=c64),), oracles.conv_macs(1, 2, 3, [5, 5], [3, 3], [1, 1], [0, 0], [1, 1], 1), 2 * 27),
    ("vecdot", torch.linalg.vecdot, (e(3, 4, dtype=c64), e(3, 4, dtype=c64)), 12, 0),
    ("sum", torch.sum, (e(3, 4, dtype=c64),), 0, 2 * 12),
    ("prod", torch.prod, (e(3, 4, dtype=c64),), 0, 6 * 12),
    ("add", torch.add, (e(3, 4, dtype=c64), e(3, 4, dtype=c64)), 0, 2 * 12),
    ("mul", torch.mul, (e(3, 4, dtype=c64), e(3, 4, dtype=c64)), 0, 6 * 12),
    ("div", torch.div, (e(3, 4, dtype=c64), e(3, 4, dtype=c64)), 0, 11 * 12),
    ("abs", torch.abs, (e(3, 4, dtype=c64),), 0, 4 * 12),
    ("a transform counts real operations already", torch.fft.fft, (e(3, 8, dtype=c64),), 0, 3 * 5 * 8 * 3),
]  # fmt: skip


@pytest.mark.parametrize(("function", "inputs", "macs", "other"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_cost(function: Callable[..., Any], inputs: tuple[Tensor, ...], macs: int, other: int) -> None:
    """``macs`` counts complex ones, each of which is four real ones, or eight FLOPs."""
    total = flopscope.analyze(function, *inputs).total
    assert total.macs == 4 * macs
    assert total.flops == MAC * macs + other


def test_a_complex_factorisation_counts_products_six_times_and_additions_twice() -> None:
    n = 6
    tally = tallies.Tally()
    a = torch.rand(n, n, dtype=torch.float64) + 10 * torch.eye(n, dtype=torch.float64)
    tallies.lu(tallies.matrix(a.tolist(), tally))
    total = flopscope.analyze(lambda x: torch.linalg.lu_factor(x)[0], a.to(torch.complex128)).total
    assert total.flops == 6 * tally.products + 2 * tally.additions
