"""Exact operation counts of dense factorisations, as polynomials of the shapes.

Each function returns the multiplications (with divisions and roots) and the additions (with subtractions) of the unblocked algorithm, so
that complex numbers can be priced: there a product is six real operations and an addition two. The polynomials are those of LAPACK Working
Note 41 (Blackford & Dongarra 1999), appendix C, where it lists them; they are whole for whole sizes.
"""

from __future__ import annotations

from typing import NamedTuple

from flopscope.rules.complex_numbers import ADDITION, PRODUCT
from flopscope.rules.sizes import quotient

WORKING_NOTE = "LAPACK Working Note 41 (Blackford & Dongarra 1999), appendix C"


class Operations(NamedTuple):
    """Multiplications and additions of one factorisation."""

    products: int
    additions: int

    def flops(self, *, complex_numbers: bool = False) -> int:
        """Real operations."""
        if complex_numbers:
            return PRODUCT * self.products + ADDITION * self.additions
        return self.products + self.additions

    def both(self, other: Operations) -> Operations:
        """The operations of two steps together."""
        return Operations(self.products + other.products, self.additions + other.additions)


def cholesky(n: int) -> Operations:
    """``A = L L'`` (POTRF): n^3/3 + n^2/2 + n/6 in all."""
    return Operations(quotient(n * (n * n + 3 * n + 2), 6), quotient(n * (n * n - 1), 6))


def cholesky_inverse(n: int) -> Operations:
    """The inverse from ``L`` (POTRI): 2n^3/3 + n^2/2 + 5n/6 in all."""
    return Operations(quotient(n * (2 * n * n + 6 * n + 4), 6), quotient(n * (2 * n * n - 3 * n + 1), 6))


def lu(m: int, n: int, steps: int) -> Operations:
    """``A = P L U`` of an m by n matrix (GETRF) with ``steps = min(m, n)``: 2n^3/3 - n^2/2 + 5n/6 in all for a square one.

    A step takes the reciprocal of its pivot, scales the column under it, and updates the block to the right of that.
    """
    rows, columns = m - steps, n - steps  # what is left over at the end
    ones = quotient(steps * (steps - 1), 2)  # 0 + 1 + ... + (steps - 1)
    squares = quotient(steps * (steps - 1) * (2 * steps - 1), 6)
    updates = squares + (rows + columns) * ones + rows * columns * steps
    return Operations(updates + ones + rows * steps + steps, updates)


def lu_inverse(n: int) -> Operations:
    """The inverse from ``L`` and ``U`` (GETRI): 4n^3/3 - n^2 + 5n/3 in all."""
    return Operations(quotient(n * (4 * n * n + 3 * n + 5), 6), quotient(n * (4 * n * n - 9 * n + 5), 6))


def lu_solve(n: int, right: int) -> Operations:
    """``A X = B`` from the factors (GETRS) with so many right-hand sides."""
    return Operations(right * n * n, right * n * (n - 1))


def cholesky_solve(n: int, right: int) -> Operations:
    """``A X = B`` from the factor (POTRS) with so many right-hand sides."""
    return Operations(right * n * (n + 1), right * n * (n - 1))


def triangular_solve(n: int, right: int, *, unit: bool) -> Operations:
    """``T X = B`` (TRSM): n divisions per right-hand side, which a unit diagonal saves."""
    pairs = quotient(right * n * (n - 1), 2)
    return Operations(pairs + (0 if unit else right * n), pairs)


def indefinite(n: int) -> Operations:
    """``A = L D L'`` with a diagonal D: step i divides i elements, and updates a triangle of i (i + 1) / 2."""
    ones = quotient(n * (n - 1), 2)
    triangles = quotient((n - 1) * n * (n + 1), 6)
    return Operations(triangles + ones, triangles)


def indefinite_solve(n: int, right: int) -> Operations:
    """``L D L' X = B``: two triangular solves with unit diagonals, and a division by D."""
    return Operations(right * n * (n - 1) + right * n, right * n * (n - 1))


def qr(m: int, n: int, steps: int) -> Operations:
    """``A = Q R`` by Householder reflections (GEQRF), as reflections: 2n^2 (m - n/3) + .. in all for m >= n."""
    s, rest = steps, n - steps
    # LAWN 41 for m >= n with n = steps; the columns beyond meet every reflection as in `apply_reflections`.
    square = Operations(quotient(s * (6 * m * s - 2 * s * s + 3 * s + 6 * m + 23), 6), quotient(s * (6 * m * s - 2 * s * s + 3 * s + 5), 6))
    return square.both(apply_reflections(m, rest, s))


def reflections_to_matrix(m: int, n: int, k: int) -> Operations:
    """The first n columns of Q, m by n, from k reflections (ORGQR)."""
    products = quotient(k * (6 * m * n + 6 * n - 5 + k * (2 * k - 3 * (m + n) - 3)), 3)
    return Operations(products, quotient(k * (6 * m * n + 3 * n - 3 * m + 1 + k * (2 * k - 3 * (m + n))), 3))


def apply_reflections(m: int, n: int, k: int) -> Operations:
    """``Q C`` for an m by n matrix C (ORMQR): reflection i, of m - i elements, takes a product and an update of each column."""
    return Operations(2 * m * n * k - n * k * k + 2 * n * k, 2 * m * n * k - n * k * k + n * k)
