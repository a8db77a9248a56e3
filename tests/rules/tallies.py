"""Numbers that count the arithmetic that is done with them, and textbook algorithms written with them.

The algorithms compute, and the tests check what they compute; so what they count is what it takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

Matrix = list[list["Number"]]


class Tally:
    """How many operations were done."""

    def __init__(self) -> None:
        self.products = 0
        self.additions = 0

    @property
    def both(self) -> tuple[int, int]:
        return self.products, self.additions


class Number:
    """A number whose products (with divisions and roots) and additions (with subtractions) are counted."""

    def __init__(self, value: complex, tally: Tally) -> None:
        self.value = value
        self.tally = tally

    def _made(self, value: complex) -> Number:
        return Number(value, self.tally)

    def __add__(self, other: Number) -> Number:
        self.tally.additions += 1
        return self._made(self.value + other.value)

    def __sub__(self, other: Number) -> Number:
        self.tally.additions += 1
        return self._made(self.value - other.value)

    def __mul__(self, other: Number) -> Number:
        self.tally.products += 1
        return self._made(self.value * other.value)

    def __truediv__(self, other: Number) -> Number:
        self.tally.products += 1
        return self._made(self.value / other.value)

    def reciprocal(self) -> Number:
        self.tally.products += 1
        return self._made(1 / self.value)

    def root(self) -> Number:
        self.tally.products += 1
        assert isinstance(self.value, float)
        return self._made(math.sqrt(self.value))


def matrix(values: Sequence[Sequence[float]], tally: Tally) -> Matrix:
    return [[Number(value, tally) for value in row] for row in values]


def values(of: Matrix) -> torch.Tensor:
    return torch.tensor([[entry.value for entry in row] for row in of], dtype=torch.float64)


def lu(a: Matrix) -> None:
    """In place, without pivots: the reciprocal of each pivot, a scaled column, an updated block."""
    m, n = len(a), len(a[0])
    for k in range(min(m, n)):
        inverse = a[k][k].reciprocal()
        for i in range(k + 1, m):
            a[i][k] = a[i][k] * inverse
            for j in range(k + 1, n):
                a[i][j] = a[i][j] - a[i][k] * a[k][j]


def cholesky(a: Matrix) -> None:
    """In place, the lower half, column by column."""
    n = len(a)
    for j in range(n):
        for k in range(j):
            a[j][j] = a[j][j] - a[j][k] * a[j][k]
        a[j][j] = a[j][j].root()
        for i in range(j + 1, n):
            for k in range(j):
                a[i][j] = a[i][j] - a[i][k] * a[j][k]
            a[i][j] = a[i][j] / a[j][j]


def ldl(a: Matrix) -> None:
    """In place, the lower half: D on the diagonal, L under it, without pivots."""
    n = len(a)
    for k in range(n):
        column = [a[i][k] for i in range(n)]
        for i in range(k + 1, n):
            a[i][k] = a[i][k] / a[k][k]
        for j in range(k + 1, n):
            for i in range(j, n):
                a[i][j] = a[i][j] - a[i][k] * column[j]


def forward(lower: Matrix, b: Matrix, *, unit: bool) -> None:
    """``L x = b`` in place, for every column of b."""
    for column in range(len(b[0])):
        for i in range(len(lower)):
            for k in range(i):
                b[i][column] = b[i][column] - lower[i][k] * b[k][column]
            if not unit:
                b[i][column] = b[i][column] / lower[i][i]


def backward(entry: Callable[[int, int], Number], n: int, b: Matrix, *, unit: bool) -> None:
    """``U x = b`` in place, with ``U[i, k]`` from a function."""
    for column in range(len(b[0])):
        for i in reversed(range(n)):
            for k in range(i + 1, n):
                b[i][column] = b[i][column] - entry(i, k) * b[k][column]
            if not unit:
                b[i][column] = b[i][column] / entry(i, i)


class Real:
    """A real number that counts, in one tally, every operation on it: for complex arithmetic written out."""

    def __init__(self, value: float, tally: list[int]) -> None:
        self.value = value
        self.tally = tally

    def _apply(self, other: Real, value: float) -> Real:
        self.tally[0] += 1
        return Real(value, self.tally)

    def __add__(self, other: Real) -> Real:
        return self._apply(other, self.value + other.value)

    def __sub__(self, other: Real) -> Real:
        return self._apply(other, self.value - other.value)

    def __mul__(self, other: Real) -> Real:
        return self._apply(other, self.value * other.value)

    def __truediv__(self, other: Real) -> Real:
        return self._apply(other, self.value / other.value)


Pair = tuple[Real, Real]


def complex_product(x: Pair, y: Pair) -> Pair:
    (a, b), (c, d) = x, y
    return a * c - b * d, a * d + b * c


def complex_sum(x: Pair, y: Pair) -> Pair:
    return x[0] + y[0], x[1] + y[1]


def complex_quotient(x: Pair, y: Pair) -> Pair:
    (a, b), (c, d) = x, y
    size = c * c + d * d
    return (a * c + b * d) / size, (b * c - a * d) / size


def real_operations(compute: Callable[..., Any], numbers: int) -> int:
    """The real operations of a function of complex numbers."""
    tally = [0]
    compute(*[(Real(1.0 + i, tally), Real(2.0 - i, tally)) for i in range(numbers)])
    return tally[0]
