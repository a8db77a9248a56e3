"""Exact expressions for sequences of integers.

A model is seen at some sizes of its symbols, and every size inside it gives a sequence of integers, one per point. `Fitter` finds the
expression that such a sequence follows: a polynomial with rational coefficients in the symbols, and in floors ``floor((R + b) / c)`` of a
single symbol, which is what strides, paddings and poolings make of a resolution, however many of them follow each other.

First it looks at the *line* of each symbol, along which all others keep their values. That tells which powers and floors of the symbol
occur. Their products over all symbols are the terms that the sequence can have, and the coefficients follow from linear equations over all
points. Nothing is rounded, and more points are used than there are unknowns. Where the points at hand leave a choice, `Undecided` asks for
those that decide it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy
import sympy

Point = tuple[int, ...]
Values = tuple[int, ...]

MOST_POWER = 4
"""The highest power of one symbol that is looked for: a flattened volume in a product of two activations is not beyond it."""
_SPARE = 1
"""Points more than unknowns, at least, before an expression is believed. Whole forms are checked again elsewhere."""
_MOST_ON_LINE = 64
_MOST_HYPOTHESES = 1000
_MOST_CANDIDATES = 20_000
_GOLDEN = (math.sqrt(5) - 1) / 2


class NoFit(Exception):  # noqa: N818 - a finding, not a failure
    """A sequence follows no expression that is known here; ``axis`` is the symbol on whose line that was seen, if on one."""

    def __init__(self, what: str, axis: int | None = None) -> None:
        super().__init__(what)
        self.axis = axis


class Undecided(Exception):  # noqa: N818
    """Several expressions fit the points at hand; ``questions`` are points that decide between them."""

    def __init__(self, questions: Iterable[Point]) -> None:
        super().__init__()
        self.questions = tuple(questions)


@dataclass(frozen=True, slots=True)
class Axis:
    """A symbol and the sizes ``start + k * step`` from ``low`` to ``high`` at which the model may be asked."""

    symbol: sympy.Symbol
    start: int
    step: int
    low: int
    high: int

    def near(self, size: float) -> int:
        """The allowed size that is nearest."""
        wanted = self.start + round((size - self.start) / self.step) * self.step
        lowest = self.high - (self.high - self.low) // self.step * self.step
        return min(max(wanted, lowest), self.high)


@dataclass(frozen=True, slots=True, order=True)
class Atom:
    """``floor((symbol + shift) / divisor)``; with a divisor of one the symbol itself."""

    axis: int
    shift: int = 0
    divisor: int = 1

    def at(self, point: Point) -> int:
        """Its value."""
        return (point[self.axis] + self.shift) // self.divisor


Monomial = tuple[tuple[Atom, int], ...]
"""A product of powers of atoms. The empty one is 1."""


def value_of(monomial: Monomial, point: Point) -> int:
    """The value of a monomial at a point."""
    return math.prod(atom.at(point) ** power for atom, power in monomial)


def solve(rows: Sequence[Sequence[int]], values: Sequence[int]) -> tuple[list[Fraction] | None, int]:
    """Solve linear equations exactly.

    Returns:
        The solution, or ``None`` where the equations contradict each other, and how many unknowns they leave free (these are set to zero).
    """
    unknowns = len(rows[0])
    remaining = [[Fraction(number) for number in (*row, value)] for row, value in zip(rows, values, strict=True)]
    pivots: list[tuple[int, list[Fraction]]] = []
    for column in range(unknowns):
        found = next((row for row in remaining if row[column]), None)
        if found is None:
            continue
        remaining = [row for row in remaining if row is not found]
        pivot = [number / found[column] for number in found]
        for row in (*remaining, *(earlier for _, earlier in pivots)):
            factor = row[column]
            if factor:
                row[column:] = [number - factor * other for number, other in zip(row[column:], pivot[column:], strict=True)]
        pivots.append((column, pivot))
    if any(row[-1] for row in remaining):
        return None, 0
    solution = [Fraction(0)] * unknowns
    for column, pivot in pivots:
        solution[column] = pivot[-1]
    return solution, unknowns - len(pivots)


class Fitter:
    """Fits sequences of values at points. ``sequences`` are those from which it learns which floors there are."""

    def __init__(
        self, axes: Sequence[Axis], points: Sequence[Point], sequences: Iterable[Values] = (), refused: Iterable[Point] = ()
    ) -> None:
        """Know the points at which values will be given. Nothing is asked at points that were refused."""
        self.axes = tuple(axes)
        self.points = tuple(points)
        self._known = {*self.points, *refused}
        self._center = tuple(axis.start for axis in self.axes)
        self._fits: dict[Values, Any] = {}
        self._atoms: dict[int, list[Atom]] = {i: [] for i in range(len(self.axes))}
        self._floors: dict[tuple[int, Values], Atom] = {}
        self._asked: list[Point] = []
        for values in sequences:
            self._learn(values)

    def decide(self, sequences: Iterable[Values]) -> None:
        """See that there is one answer for each sequence, even if it is that nothing fits.

        Raises:
            Undecided: more points are needed; all that are known to be are asked for at once.
        """
        questions = list(self._asked)
        for values in () if questions else sequences:
            try:
                self.fit(values)
            except Undecided as undecided:
                questions += undecided.questions
            except NoFit:
                continue
        if questions:
            raise Undecided(dict.fromkeys(questions))

    @cached_property
    def _lines(self) -> list[list[int]]:
        """For each axis the positions of the points on its line, in the order of their sizes."""
        lines = []
        for axis in range(len(self.axes)):
            others = [position for position in range(len(self.axes)) if position != axis]
            on_line = [i for i, point in enumerate(self.points) if all(point[o] == self._center[o] for o in others)]
            lines.append(sorted(on_line, key=lambda i, axis=axis: self.points[i][axis]))  # type: ignore[misc]
        return lines

    def fit(self, values: Values) -> Any:
        """The expression that the values follow at all points: an int where they are all equal, else a sympy expression.

        Equal sequences give the same object.

        Raises:
            NoFit: there is none.
            Undecided: more points are needed.
        """
        found = self._fits.get(values)
        if found is None:
            found = self._fits[values] = values[0] if len(set(values)) == 1 else self._expression(values)
        return found

    def _expression(self, values: Values) -> sympy.Expr:
        supports = [self._support(axis, values) for axis in range(len(self.axes))]
        for candidates in (supports, [_filled(support) for support in supports]):
            terms = [tuple(itertools.chain(*parts)) for parts in itertools.product(*candidates)]
            rows = [[value_of(term, point) for term in terms] for point in self.points]
            coefficients, free = solve(rows, values)
            if coefficients is None:
                continue
            if free:
                raise Undecided(self.elsewhere(free + _SPARE))
            return self._written(terms, coefficients)
        raise NoFit(f"{_shown(values)} follow no product of what is seen along {', '.join(str(a.symbol) for a in self.axes)}")

    def _written(self, terms: Sequence[Monomial], coefficients: Sequence[Fraction]) -> sympy.Expr:
        parts = [
            sympy.Rational(c.numerator, c.denominator) * sympy.Mul(*(self._symbolic(atom) ** power for atom, power in term))
            for term, c in zip(terms, coefficients, strict=True)
            if c
        ]
        return sympy.Add(*parts)

    def _symbolic(self, atom: Atom) -> sympy.Expr:
        symbol = self.axes[atom.axis].symbol
        return symbol if atom.divisor == 1 else sympy.floor((symbol + atom.shift) / sympy.Integer(atom.divisor))

    # -- one line ---------------------------------------------------------------------------------------------

    def _support(self, axis: int, values: Values) -> list[Monomial]:
        """The terms that a sequence has along the line of one axis."""
        line = self._lines[axis]
        ys = [values[i] for i in line]
        if len(set(ys)) == 1:
            return [()]
        points = [self.points[i] for i in line]
        itself = Atom(axis)
        known = self._atoms[axis]
        floor = self._floors.get((axis, tuple(ys)))
        tries = [_powers(itself, most) for most in range(1, MOST_POWER + 1)]
        tries += [_powers(atom, 1) for atom in ([floor] if floor else [])]
        tries += [_powers(atom, most) for most in range(1, MOST_POWER + 1) for atom in known]
        if known:
            tries += [list(dict.fromkeys(itertools.chain(*(_powers(atom, most) for atom in (itself, *known))))) for most in (1, 2)]
        shortages = []
        for terms in tries:
            rows = [tuple(value_of(term, point) for term in terms) for point in points]
            coefficients, free = solve(rows, ys)
            if coefficients is None:
                continue
            shortage = max(len(terms) + _SPARE - len(set(rows)), free)
            if shortage <= 0:
                return [term for term, c in zip(terms, coefficients, strict=True) if c]
            shortages.append(shortage)
        if shortages and len(line) < _MOST_ON_LINE:
            raise Undecided(self._along(axis, min(shortages)))
        raise NoFit(f"{_shown(ys)} along {self.axes[axis].symbol} = {_shown([p[axis] for p in points])} follow no known form", axis)

    # -- floors -----------------------------------------------------------------------------------------------

    def _learn(self, values: Values) -> None:
        """See whether a sequence follows a floor along any line, and remember the floor, or what to ask about it."""
        for axis, line in enumerate(self._lines):
            ys = tuple(values[i] for i in line)
            if (axis, ys) in self._floors or len(set(ys)) == 1:
                continue
            xs = [self.points[i][axis] for i in line]
            if _is_polynomial(xs, ys):
                continue
            hypotheses = floors_through(xs, ys)
            if not hypotheses:
                continue
            questions = self._splitting(axis, hypotheses, set(xs), 2)
            if questions:
                self._asked += [self._on_line(axis, size) for size in questions]
                continue
            divisor = min((divisor % self.axes[axis].step != 0, divisor) for divisor, _ in hypotheses)[1]
            shift = min(shift % divisor for other, shift in hypotheses if other == divisor)
            atom = Atom(axis, shift, divisor)
            self._floors[axis, ys] = atom
            if atom not in self._atoms[axis]:
                self._atoms[axis].append(atom)
                self._atoms[axis].sort(key=lambda atom: (atom.divisor, atom.shift))

    def _splitting(self, axis: int, hypotheses: list[tuple[int, int]], used: set[int], depth: int) -> list[int]:
        """The size about which the hypotheses disagree most evenly, and those that split both parts again; none where all say the same."""
        facts = self.axes[axis]
        lowest = facts.near(facts.low)
        stride = max(1, (facts.high - lowest) // facts.step // _MOST_CANDIDATES) * facts.step
        sizes = numpy.array([x for x in range(lowest, facts.high + 1, stride) if x not in used], dtype=numpy.int64)
        if depth == 0 or len(sizes) == 0 or len(hypotheses) == 1:
            return []
        divisors, shifts = (numpy.array(column, dtype=numpy.int64)[:, None] for column in zip(*hypotheses, strict=True))
        heights = (sizes[None, :] + shifts) // divisors
        apart = heights != heights[0]
        best = int(numpy.abs(2 * apart.sum(axis=0) - len(hypotheses)).argmin())
        if not apart[:, best].any():
            return []
        parts = ([pair for pair, differs in zip(hypotheses, apart[:, best], strict=True) if differs == side] for side in (False, True))
        size = int(sizes[best])
        return [size, *(other for part in parts for other in self._splitting(axis, part, {*used, size}, depth - 1))]

    # -- where to ask -----------------------------------------------------------------------------------------

    def _on_line(self, axis: int, size: int) -> Point:
        return (*self._center[:axis], size, *self._center[axis + 1 :])

    def _along(self, axis: int, count: int) -> list[Point]:
        """Some new points on the line of an axis, well spread."""
        facts = self.axes[axis]
        spread = (self._on_line(axis, facts.near(facts.low + (k * _GOLDEN % 1) * (facts.high - facts.low))) for k in range(1, 400))
        found = list(itertools.islice((point for point in dict.fromkeys(spread) if point not in self._known), count))
        if not found:
            raise NoFit(f"the model can be asked at too few sizes of {facts.symbol}", axis)
        return found

    def elsewhere(self, count: int) -> list[Point]:
        """Some new points on no line, well spread."""
        found: list[Point] = []
        for k in range(1, 400):
            shares = (((k * (i + 1) + 0.37 * i) * _GOLDEN) % 1 for i in range(len(self.axes)))
            point = tuple(a.near(a.low + share * (a.high - a.low)) for a, share in zip(self.axes, shares, strict=True))
            if point not in self._known and point not in found:
                found.append(point)
            if len(found) == count:
                return found
        raise NoFit(f"the model can be asked at too few sizes of {', '.join(str(axis.symbol) for axis in self.axes)} together")


def _powers(atom: Atom, most: int) -> list[Monomial]:
    return [(), *(((atom, power),) for power in range(1, most + 1))]


def _filled(support: list[Monomial]) -> list[Monomial]:
    """All powers of the atoms in a support up to the highest."""
    highest: dict[Atom, int] = {}
    for term in support:
        for atom, power in term:
            highest[atom] = max(power, highest.get(atom, 0))
    return list(dict.fromkeys([(), *itertools.chain(*(_powers(atom, most) for atom, most in highest.items()))]))


def _is_polynomial(xs: Sequence[int], ys: Sequence[int]) -> bool:
    """Whether the values are those of a polynomial of low degree: their divided differences vanish."""
    table = [Fraction(y) for y in ys]
    for order in range(1, min(MOST_POWER + 2, len(xs))):
        table = [(after - before) / (xs[i + order] - xs[i]) for i, (before, after) in enumerate(itertools.pairwise(table))]
        if not any(table):
            return True
    return False


def floors_through(xs: Sequence[int], ys: Sequence[int]) -> list[tuple[int, int]]:
    """The ``(c, b)`` such that the values are ``d + a * floor((x + b) / c)``, where ``a`` is the greatest step that they allow.

    Where there are very many, a part of them, evenly spread.

    With ``t`` steps since the first point, ``c t <= x + b < c (t + 1)`` must hold at every point. That bounds ``b`` for each ``c``.
    """
    step = math.gcd(*(y - ys[0] for y in ys))
    if ys[-1] < ys[0]:
        step = -step
    heights = [(y - ys[0]) // step for y in ys]
    rise, run = heights[-1], xs[-1] - xs[0]
    if rise < 2 or any(after < before for before, after in itertools.pairwise(heights)):
        return []  # fewer than two steps do not tell how long one is
    shifts: dict[int, range] = {}
    for divisor in range(max(2, run // (rise + 1)), run // (rise - 1) + 2):
        lowest = max(divisor * t - x for x, t in zip(xs, heights, strict=True))
        highest = min(divisor * t + divisor - 1 - x for x, t in zip(xs, heights, strict=True))
        if lowest <= highest:
            shifts[divisor] = range(lowest, highest + 1)
    every = max(1, sum(map(len, shifts.values())) // _MOST_HYPOTHESES)
    return [(divisor, shift) for divisor, possible in shifts.items() for shift in possible[::every]]


def _shown(values: Sequence[int]) -> str:
    few = ", ".join(map(str, values[:6]))
    return f"{few}, ..." if len(values) > 6 else few
