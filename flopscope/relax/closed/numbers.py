"""Expressions as functions of integers, and of arrays of them: exact, without a float anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy
import sympy

from flopscope.relax.closed.symbols import gcd, log2_ceil

_LARGEST = 2**63 - 1
_POWERS_OF_TWO = numpy.array([2**power for power in range(63)], dtype=numpy.int64)


class NotExactError(ValueError):
    """An expression holds something that integers cannot compute."""


@dataclass(frozen=True, slots=True)
class _Ratio:
    """``sum(coefficient * product of leaves) / divisor``, which is whole wherever it is asked for."""

    terms: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]
    divisor: int


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A symbol, or a function of ratios that are known before it."""

    name: str
    parts: tuple[_Ratio, ...] = ()


class Exact:
    """An expression in integer arithmetic: a polynomial over leaves, each a symbol or a floor, maximum, ... of polynomials.

    Arrays are computed in 64 bits where a bound on every intermediate result fits, and in Python ints elsewhere.
    """

    def __init__(self, expression: Any) -> None:
        self._leaves: list[_Leaf] = []
        self._known: dict[sympy.Expr, int] = {}
        self._whole = self._ratio(sympy.sympify(expression))

    def __call__(self, sizes: Mapping[str, Any]) -> Any:
        """The value at sizes by symbol: a Python int for ints, an array for arrays, which are broadcast."""
        if all(isinstance(size, int) for size in sizes.values()):
            return _computed(self._leaves, self._whole, sizes, _FOR_INTS)
        arrays = {name: numpy.asarray(size) for name, size in sizes.items()}
        shape = numpy.broadcast_shapes(*(array.shape for array in arrays.values()))
        if 0 in shape:
            return numpy.zeros(shape, dtype=numpy.int64)
        peak = self._peak({name: int(array.max()) for name, array in arrays.items()})
        kind: Any = numpy.int64 if peak <= _LARGEST else object
        arrays = {name: array.astype(kind) for name, array in arrays.items()}
        found = _computed(self._leaves, self._whole, arrays, _FOR_ARRAYS)
        return numpy.broadcast_to(numpy.asarray(found, dtype=kind), shape).copy()

    def _peak(self, highest: Mapping[str, int]) -> int:
        """A bound on the size of every number that is met on the way."""
        bounds: list[int] = []
        peak = max(highest.values(), default=0)

        def bound(ratio: _Ratio) -> int:
            return sum(abs(factor) * math.prod(bounds[leaf] ** power for leaf, power in powers) for factor, powers in ratio.terms)

        for leaf in self._leaves:
            bounds.append(max(map(bound, leaf.parts)) + 1 if leaf.parts else highest[leaf.name])
            peak = max(peak, bounds[-1])
        return max(peak, bound(self._whole))

    # -- reading an expression ----------------------------------------------------------------------------------

    def _ratio(self, expression: sympy.Expr) -> _Ratio:
        """An expression as integer terms over one divisor."""
        terms = [term.as_coeff_Mul() for term in sympy.Add.make_args(expression.expand())]
        if any(not factor.is_Rational for factor, _ in terms):
            raise NotExactError(f"{expression} is no polynomial with rational coefficients")
        divisor = math.lcm(*(int(factor.q) for factor, _ in terms))
        return _Ratio(tuple((int(factor * divisor), self._powers(rest)) for factor, rest in terms if factor), divisor)

    def _powers(self, product: sympy.Expr) -> tuple[tuple[int, int], ...]:
        powers = []
        for base, power in (factor.as_base_exp() for factor in sympy.Mul.make_args(product) if factor != 1):
            if not power.is_Integer or power < 1:
                raise NotExactError(f"{product} divides by a symbol")
            powers.append((self._leaf(base), int(power)))
        return tuple(powers)

    def _leaf(self, expression: sympy.Expr) -> int:
        if expression not in self._known:
            leaf = self._read_leaf(expression)
            self._leaves.append(leaf)
            self._known[expression] = len(self._leaves) - 1
        return self._known[expression]

    def _read_leaf(self, expression: sympy.Expr) -> _Leaf:
        if expression.is_Symbol:
            return _Leaf(expression.name)
        name = _NAMES.get(expression.func)
        if name is None:
            raise NotExactError(f"{expression} cannot be computed in integers")
        if name in ("floor", "ceil"):
            return _Leaf(name, tuple(self._ratio(part) for part in quotient_in(expression)))
        return _Leaf(name, tuple(self._ratio(part) for part in expression.args))


@lru_cache(maxsize=10_000)
def quotient_in(expression: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    """What is divided in a floor or ceiling, and by what."""
    above, below = sympy.fraction(sympy.together(expression.args[0]))
    return above, below


_NAMES = {sympy.floor: "floor", sympy.ceiling: "ceil", sympy.Max: "max", sympy.Min: "min", gcd: "gcd", log2_ceil: "log2_ceil"}
_FOR_INTS: Mapping[str, Callable[..., Any]] = {
    "floor": lambda above, below: above // below,
    "ceil": lambda above, below: -(-above // below),
    "max": max,
    "min": min,
    "gcd": math.gcd,
    "log2_ceil": lambda size: max(size - 1, 0).bit_length(),
}


def _log2_ceil(sizes: Any) -> Any:
    sizes = numpy.asarray(sizes)
    if sizes.dtype == object:
        return numpy.frompyfunc(_FOR_INTS["log2_ceil"], 1, 1)(sizes)
    return numpy.searchsorted(_POWERS_OF_TWO, sizes, side="left").astype(numpy.int64)


def _folded(function: Any) -> Callable[..., Any]:
    def fold(*parts: Any) -> Any:
        result, *others = parts
        for part in others:
            result = function(result, part)
        return result

    return fold


_FOR_ARRAYS: Mapping[str, Callable[..., Any]] = {
    "floor": _FOR_INTS["floor"],
    "ceil": _FOR_INTS["ceil"],
    "max": _folded(numpy.maximum),
    "min": _folded(numpy.minimum),
    "gcd": _folded(numpy.gcd),
    "log2_ceil": _log2_ceil,
}


def _computed(leaves: Sequence[_Leaf], whole: _Ratio, sizes: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> Any:
    values: list[Any] = []

    def value(ratio: _Ratio) -> Any:
        total: Any = 0
        for factor, powers in ratio.terms:
            term: Any = factor
            for leaf, power in powers:
                term = term * values[leaf] ** power
            total = total + term
        return total if ratio.divisor == 1 else total // ratio.divisor

    for leaf in leaves:
        known = functions[leaf.name](*map(value, leaf.parts)) if leaf.parts else sizes[leaf.name]
        values.append(known)
    return value(whole)
