"""What the operations on sizes mean for sympy expressions, so that the rules run on symbols."""

from __future__ import annotations

import math
from typing import Any

import sympy

from flopscope.rules.sizes import teach


class gcd(sympy.Function):  # type: ignore[misc]  # noqa: N801 - it is printed under this name
    """The greatest common divisor, computed once its arguments are numbers."""

    nargs = (2,)
    is_integer = True
    is_positive = True

    @classmethod
    def eval(cls, size: Any, other: Any) -> Any:
        """The value where it is known."""
        if size.is_Integer and other.is_Integer:
            return sympy.Integer(math.gcd(int(size), int(other)))
        if size == other:
            return size
        return sympy.Integer(1) if 1 in (size, other) else None


class log2_ceil(sympy.Function):  # type: ignore[misc]  # noqa: N801
    """The logarithm to base two, rounded up, computed once its argument is a number."""

    nargs = (1,)
    is_integer = True
    is_nonnegative = True

    @classmethod
    def eval(cls, size: Any) -> Any:
        """The value where it is known."""
        return sympy.Integer(max(int(size) - 1, 0).bit_length()) if size.is_Integer else None


def _largest(*sizes: Any) -> Any:
    """The maximum. One and zero give way to what is a size for certain."""
    terms = [sympy.sympify(size) for size in sizes]
    if any(term.is_positive and term.is_integer and not term.is_number for term in terms):
        terms = [term for term in terms if not (term.is_number and term <= 1)]
    return sympy.Max(*terms)


teach(
    sympy.Expr,
    {
        "largest": _largest,
        "smallest": sympy.Min,
        "quotient": lambda size, divisor: sympy.sympify(size) / divisor,
        "common_divisor": lambda size, other: gcd(sympy.sympify(size), sympy.sympify(other)),
        "log2_ceil": log2_ceil,
    },
)
