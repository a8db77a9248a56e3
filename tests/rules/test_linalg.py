"""Factorisations and solvers against the algorithms themselves, run on numbers that count; published leading terms for the iterative ones."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import flopscope
from flopscope.rules import factors
from tests.rules import tallies
from tests.rules.tallies import Tally

sizes = st.integers(1, 7)


def flops(function: Callable[..., Any], *inputs: Tensor) -> int:
    report = flopscope.analyze(function, *inputs)
    assert report.uncounted == []
    return report.total.flops


def dominant(m: int, n: int) -> Tensor:
    """A matrix that needs no pivots."""
    torch.manual_seed(0)
    return torch.rand(m, n, dtype=torch.float64) + 10 * torch.eye(m, n, dtype=torch.float64)


def symmetric(n: int) -> Tensor:
    a = dominant(n, n)
    return a @ a.t()


@given(sizes, sizes)
@settings(max_examples=30, deadline=None)
def test_lu(m: int, n: int) -> None:
    tally, a = Tally(), dominant(m, n)
    work = tallies.matrix(a.tolist(), tally)
    tallies.lu(work)
    assert torch.allclose(tallies.values(work), torch.linalg.lu_factor(a, pivot=True)[0])
    assert factors.lu(m, n, min(m, n)) == tally.both
    assert flops(torch.linalg.lu_factor, a.float()) == sum(tally.both)
    if m == n:
        assert sum(tally.both) == Fraction(2, 3) * n**3 - Fraction(n**2, 2) + Fraction(5 * n, 6)  # as LAPACK Working Note 41 prints it


@given(sizes)
@settings(max_examples=10, deadline=None)
def test_cholesky(n: int) -> None:
    tally, a = Tally(), symmetric(n)
    work = tallies.matrix(a.tolist(), tally)
    tallies.cholesky(work)
    assert torch.allclose(tallies.values(work).tril(), torch.linalg.cholesky(a))
    assert factors.cholesky(n) == tally.both
    assert flops(torch.linalg.cholesky, a.float()) == sum(tally.both) == Fraction(n**3, 3) + Fraction(n**2, 2) + Fraction(n, 6)


@given(sizes)
@settings(max_examples=10, deadline=None)
def test_ldl(n: int) -> None:
    tally, a = Tally(), symmetric(n)
    work = tallies.matrix(a.tolist(), tally)
    tallies.ldl(work)
    found = tallies.values(work)
    lower = found.tril(-1) + torch.eye(n)
    assert torch.allclose(lower @ found.diag().diag() @ lower.t(), a)
    assert factors.indefinite(n) == tally.both
    assert flops(torch.linalg.ldl_factor, a.float()) == sum(tally.both)


@given(sizes, sizes, st.booleans())
@settings(max_examples=20, deadline=None)
def test_triangular_solve(n: int, right: int, unit: bool) -> None:
    tally, a = Tally(), dominant(n, n).tril()
    b = torch.rand(n, right, dtype=torch.float64)
    work = tallies.matrix(b.tolist(), tally)
    tallies.forward(tallies.matrix(a.tolist(), tally), work, unit=unit)
    expected = torch.linalg.solve_triangular(a, b, upper=False, unitriangular=unit)
    assert torch.allclose(tallies.values(work), expected)
    found = flops(lambda a, b: torch.linalg.solve_triangular(a, b, upper=False, unitriangular=unit), a, b)
    assert found == sum(tally.both)


@given(sizes, sizes)
@settings(max_examples=20, deadline=None)
def test_solve(n: int, right: int) -> None:
    """LU, then two triangular solves."""
    tally, a = Tally(), dominant(n, n)
    b = torch.rand(n, right, dtype=torch.float64)
    work, rest = tallies.matrix(a.tolist(), tally), tallies.matrix(b.tolist(), tally)
    tallies.lu(work)
    factored = sum(tally.both)
    tallies.forward(work, rest, unit=True)
    tallies.backward(lambda i, k: work[i][k], n, rest, unit=False)
    assert torch.allclose(tallies.values(rest), torch.linalg.solve(a, b))
    assert flops(torch.linalg.solve, a, b) == sum(tally.both)
    lu, pivots = torch.linalg.lu_factor(a)
    assert flops(torch.linalg.lu_solve, lu, pivots, b) == sum(tally.both) - factored


@given(sizes, sizes)
@settings(max_examples=20, deadline=None)
def test_cholesky_solve(n: int, right: int) -> None:
    tally, a = Tally(), torch.linalg.cholesky(symmetric(n))
    b = torch.rand(n, right, dtype=torch.float64)
    lower, work = tallies.matrix(a.tolist(), tally), tallies.matrix(b.tolist(), tally)
    tallies.forward(lower, work, unit=False)
    tallies.backward(lambda i, k: lower[k][i], n, work, unit=False)
    assert torch.allclose(tallies.values(work), torch.cholesky_solve(b, a))
    assert flops(torch.cholesky_solve, b, a) == sum(tally.both)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (4, 4), (6, 3), (3, 6), (40, 10), (10, 40), (30, 30)])
def test_qr_is_within_its_published_leading_term(m: int, n: int) -> None:
    """Golub & Van Loan, algorithm 5.2.1: 2 n^2 (m - n/3) for m >= n. The lower terms of LAPACK are of the order m n."""
    k, wide = min(m, n), max(m, n)
    leading = Fraction(2 * k * k * (3 * wide - k), 3)
    found = flops(torch.geqrf, torch.empty(m, n))
    assert 0 <= found - leading <= 4 * m * n + 5 * k * k + 5 * k
    # A full Q from all reflections of a square matrix takes another 4/3 n^3.
    if m == n:
        made = flops(torch.linalg.qr, torch.empty(n, n)) - found
        assert abs(made - Fraction(4 * n**3, 3)) <= 2 * n * n + 2 * n


def test_numbers_of_the_working_note() -> None:
    """Rows of the tables in appendix C, by hand for n = 10 (and m = 20, k = 5)."""
    n, m, k = 10, 20, 5
    assert factors.lu_inverse(n) == (Fraction(2, 3) * 1000 + 50 + Fraction(50, 6), Fraction(2, 3) * 1000 - 150 + Fraction(50, 6))
    assert factors.cholesky_inverse(n) == (Fraction(1000, 3) + 100 + Fraction(20, 3), Fraction(1000, 3) - 50 + Fraction(10, 6))
    assert factors.qr(m, n, n) == (
        m * 100 - Fraction(1000, 3) + 50 + m * n + Fraction(230, 6),
        m * 100 - Fraction(1000, 3) + 50 + Fraction(50, 6),
    )
    assert factors.reflections_to_matrix(m, n, k).products == 2 * m * n * k - (m + n) * 25 + Fraction(250, 3) + 2 * n * k - 25 - Fraction(
        25, 3
    )
    assert factors.apply_reflections(m, n, k) == (2 * m * n * k - n * 25 + 2 * n * k, 2 * m * n * k - n * 25 + n * k)


def test_an_inverse_is_two_n_cubed() -> None:
    n = 50
    assert flops(torch.linalg.inv, torch.empty(n, n)) == 2 * n**3 - 3 * n**2 // 2 + 5 * n // 2


e = torch.rand  # torch has no shapes for least squares, so it runs them
n = 12
LU = 2 * n**3 // 3 - n**2 // 2 + 5 * n // 6

# id, function, inputs, MACs, other FLOPs
PUBLISHED: list[tuple[str, Callable[..., Any], tuple[Tensor, ...], int, int]] = [
    ("batch", torch.linalg.cholesky, (e(5, 6, 6),), 0, 5 * (6**3 + 3 * 6**2 // 2 + 6 // 2) // 3),
    ("det", torch.linalg.det, (e(n, n),), 0, LU + n),
    ("slogdet", lambda x: torch.linalg.slogdet(x)[1], (e(n, n),), 0, LU + 2 * n),
    ("solve with a vector", torch.linalg.solve, (e(n, n), e(n)), 0, LU + 2 * n * n - n),
    ("solve from the right", lambda a, b: torch.linalg.solve(a, b, left=False), (e(n, n), e(3, n)), 0, LU + 3 * (2 * n * n - n)),
    ("solve one matrix for a batch", torch.linalg.solve, (e(n, n), e(5, n, 2)), 0, LU + 5 * 2 * (2 * n * n - n)),
    ("eigh", lambda x: torch.linalg.eigh(x)[0], (e(n, n),), 0, 9 * n**3),
    ("eigvalsh", torch.linalg.eigvalsh, (e(n, n),), 0, 4 * n**3 // 3),
    ("eig", lambda x: torch.linalg.eig(x)[0], (e(n, n),), 0, 25 * n**3),
    ("eigvals", torch.linalg.eigvals, (e(n, n),), 0, 10 * n**3),
    ("svd", lambda x: torch.linalg.svd(x)[1], (e(20, n),), 0, 4 * 400 * n + 8 * 20 * n**2 + 9 * n**3),
    ("svd of the transpose", lambda x: torch.linalg.svd(x)[1], (e(n, 20),), 0, 4 * 400 * n + 8 * 20 * n**2 + 9 * n**3),
    ("reduced svd", lambda x: torch.linalg.svd(x, full_matrices=False)[1], (e(20, n),), 0, 14 * 20 * n**2 + 8 * n**3),
    ("svdvals", torch.linalg.svdvals, (e(20, n),), 0, 4 * 20 * n**2 - 4 * n**3 // 3),
    ("spectral norm", lambda x: torch.linalg.norm(x, 2), (e(20, n),), 0, 4 * 20 * n**2 - 4 * n**3 // 3 + n),
    ("Frobenius norm", torch.linalg.matrix_norm, (e(20, n),), 0, 2 * 20 * n + 1),
    ("cond", torch.linalg.cond, (e(n, n),), 0, 4 * n**3 - 4 * n**3 // 3 + 1),
    ("rank", torch.linalg.matrix_rank, (e(n, n),), 0, 4 * n**3 - 4 * n**3 // 3 + n),
    ("pinv", torch.linalg.pinv, (e(20, n),), 20 * n * n, 14 * 20 * n**2 + 8 * n**3 + n * (n + 1)),
    ("lstsq", lambda a, b: torch.linalg.lstsq(a, b)[0], (torch.rand(20, n), torch.rand(20, 2)), 0, 2 * n * n * (60 - n) // 3 + 2 * n * (80 - n)),
    ("matrix_exp", torch.linalg.matrix_exp, (e(3, n, n),), 3 * 5 * n**3, 0),
    ("matrix_power 5", lambda x: torch.linalg.matrix_power(x, 5), (e(n, n),), 3 * n**3, 0),
    ("matrix_power 8", lambda x: torch.linalg.matrix_power(x, 8), (e(n, n),), 3 * n**3, 0),
    ("matrix_power -2", lambda x: torch.linalg.matrix_power(x, -2), (e(n, n),), n**3, 2 * n**3 - 3 * n**2 // 2 + 5 * n // 2),
    ("vecdot", torch.linalg.vecdot, (e(3, n), e(3, n)), 3 * n, 0),
    ("complex inverse", torch.linalg.inv, (e(n, n, dtype=torch.complex64),), 0,
     6 * ((n**3 - n) // 3 + n + (2 * n**3) // 3 + n**2 // 2 + 5 * n // 6) + 2 * ((2 * n**3 - 3 * n**2 + n) // 6 + (4 * n**3 - 9 * n**2 + 5 * n) // 6)),
]  # fmt: skip


@pytest.mark.parametrize(("function", "inputs", "macs", "other"), [case[1:] for case in PUBLISHED], ids=[case[0] for case in PUBLISHED])
def test_published(function: Callable[..., Any], inputs: tuple[Tensor, ...], macs: int, other: int) -> None:
    report = flopscope.analyze(function, *inputs)
    report.graph.verify()
    assert report.uncounted == []
    assert (report.total.macs, report.total.flops - 2 * report.total.macs) == (macs, other)
