"""From a model and symbols to its cost in these symbols, and where that holds.

1. `follow` finds for each symbol the sizes that the model accepts and at which it runs the same ops.
2. The traces at these sizes are put side by side, and every integer that differs is fitted. Where several expressions fit, the model
   is traced at the sizes that decide.
3. The rules price the ops on these expressions. Where the model runs other ops at other sizes, its total costs are fitted instead.
4. The result is compared with the analyzer at sizes that were not used: the smallest and the largest that can be had, and some between.

What fails may hold on coarser sizes, such as multiples of 32. So after a failure on the line of a symbol its step grows, and all starts
again.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sympy

from flopscope.cost import Cost
from flopscope.errors import ClosedFormError
from flopscope.relax.closed.align import Misaligned, columns_of, sequences_in
from flopscope.relax.closed.fitting import Fitter, NoFit, Point, Undecided
from flopscope.relax.closed.pricing import FIELDS, ExactCost, fit_costs, price_columns
from flopscope.relax.closed.range import Range, range_along
from flopscope.relax.closed.sampling import Line, Sample, Sampler, follow

_FIRST_OFF_LINES = 3
_MOST_POINTS = 400
_CHECKS = 5
_MOST_TRIES = 40


@dataclass(frozen=True, slots=True)
class Solved:
    """A cost in symbols, and for which sizes it holds."""

    cost: Cost
    ranges: Mapping[str, Range]
    checks: int
    """At how many points that were not used to find it it was compared with the analyzer."""
    at_one: Mapping[frozenset[str], Cost] = field(default_factory=dict)
    """Other costs, which hold where these symbols are 1: a dimension of one is broadcast, or makes a copy a view."""


class Solver:
    """Finds the cost of a model in some of its symbols, while the others keep their size."""

    def __init__(
        self, sampler: Sampler, symbols: Sequence[sympy.Symbol], start: Point, free: Sequence[int], *, looks_at_ones: bool = True
    ) -> None:
        """Start from sizes for all symbols; ``free`` are the positions of those that vary."""
        self._looks_at_ones = looks_at_ones
        self._sampler = sampler
        self._symbols = tuple(symbols)
        self._sizes = start
        self._free = tuple(free)
        self._start: Point = tuple(start[i] for i in free)
        self._refused: set[Point] = set()

    def solve(self) -> Solved:
        """The cost.

        Raises:
            ClosedFormError: none was found.
        """
        reasons = []
        for by_op in (True, False):
            try:
                return self._solve(by_op)
            except NoFit as why:
                reasons.append(str(why))
        names = ", ".join(self._names)
        raise ClosedFormError(
            f"no closed form in {names} was found. Op by op: {reasons[0]}. From the totals: {reasons[1]}. Start from inputs of another "
            "size, since this one may be special, or analyse the sizes that matter one by one."
        )

    def _solve(self, by_op: bool) -> Solved:
        lines = [self._line(axis, 0, by_op) for axis in range(len(self._free))]
        while True:
            try:
                cost, points = self._price(lines, by_op)
                return self._checked(lines, cost, points, by_op)
            except NoFit as why:
                if why.axis is None:
                    raise
                lines[why.axis] = self._line(why.axis, lines[why.axis].axis.step, by_op, str(why))

    # -- asking the model ----------------------------------------------------------------------------------------

    @property
    def _names(self) -> list[str]:
        return [self._symbols[i].name for i in self._free]

    def _full(self, point: Point) -> Point:
        sizes = list(self._sizes)
        for position, size in zip(self._free, point, strict=True):
            sizes[position] = size
        return tuple(sizes)

    def _at(self, point: Point) -> Sample | None:
        return self._sampler.at(self._full(point))

    def _seen(self, point: Point) -> Sample:
        found = self._at(point)
        assert found is not None
        return found

    def _moved(self, axis: int, size: int) -> Point:
        return (*self._start[:axis], size, *self._start[axis + 1 :])

    def _line(self, axis: int, beyond: int, by_op: bool, reason: str = "") -> Line:
        """The finest line of an axis beyond a step. ``reason`` is why that step did not do."""
        first = self._seen(self._start)
        symbol = self._symbols[self._free[axis]]
        differences: list[str | None] = []
        accepted = [self._start[axis]]

        def sample(size: int) -> Sample | None:
            found = self._at(self._moved(axis, size))
            if found is not None:
                accepted.append(size)
            return found

        def suits(sample: Sample) -> bool:
            differences.append(first.calls.difference(sample.calls) if by_op else None)
            return differences[-1] is None

        line = follow(sample, symbol, self._start[axis], beyond, suits)
        if line is not None:
            return line
        difference = next((found for found in differences if found), None)
        if beyond == 0 and difference is None:
            sizes = ", ".join(map(str, sorted(set(accepted))))
            raise ClosedFormError(
                f"the model accepts too few sizes for a formula in {symbol}: {symbol} = {sizes} of those that were tried. Of another it "
                f"said: {self._sampler.refusal()} Leave {symbol} out, or build the model for variable sizes."
            )
        raise NoFit(reason or difference or f"the model accepts too few sizes of {symbol}")

    def _ask(self, questions: Iterable[Point], points: dict[Point, None], by_op: bool) -> None:
        """Trace the model at more points, and add those that it accepts."""
        first = self._seen(self._start)
        for point in questions:
            moved = [axis for axis, size in enumerate(point) if size != self._start[axis]]
            axis = moved[0] if len(moved) == 1 else None
            found = self._at(point)
            if found is None:
                if axis is not None:
                    raise NoFit(f"the model refuses {self._symbols[self._free[axis]]} = {point[axis]}, and accepts sizes around it", axis)
                self._refused.add(point)
                continue
            difference = first.calls.difference(found.calls) if by_op else None
            if difference is not None:
                raise NoFit(difference, axis)
            points[point] = None
        if len(points) > _MOST_POINTS or len(self._refused) > _MOST_POINTS:
            raise NoFit(f"{_MOST_POINTS} sizes were tried, and more would be needed")

    # -- fitting --------------------------------------------------------------------------------------------------

    def _price(self, lines: Sequence[Line], by_op: bool) -> tuple[Cost, list[Point]]:
        """The cost, and the points that were used to find it."""
        points = {self._moved(axis, size): None for axis, line in enumerate(lines) for size in line.sizes}
        axes = [line.axis for line in lines]
        if len(axes) > 1:
            self._ask(Fitter(axes, list(points)).elsewhere(_FIRST_OFF_LINES), points, by_op)
        while True:
            try:
                cost = self._from_ops(lines, list(points)) if by_op else self._from_totals(lines, list(points))
            except Undecided as undecided:
                self._ask(undecided.questions, points, by_op)
            else:
                return cost, list(points)

    def _from_ops(self, lines: Sequence[Line], points: Sequence[Point]) -> Cost:
        samples = [self._seen(point) for point in points]
        try:
            columns = columns_of([sample.calls for sample in samples])
        except Misaligned as difference:
            raise NoFit(str(difference)) from difference
        params = tuple(sample.cost.params for sample in samples)
        sequences = dict.fromkeys((params, *(values for column in columns for values in sequences_in(column))))
        fitter = Fitter([line.axis for line in lines], points, sequences, self._refused)
        fitter.decide(sequences)
        return replace(price_columns(columns, fitter), params=fitter.fit(params))

    def _from_totals(self, lines: Sequence[Line], points: Sequence[Point]) -> Cost:
        costs = [self._seen(point).cost for point in points]
        sequences = [tuple(getattr(cost, name) for cost in costs) for name in FIELDS]
        fitter = Fitter([line.axis for line in lines], points, sequences, self._refused)
        fitter.decide(sequences)
        return fit_costs(costs, fitter)

    # -- checking --------------------------------------------------------------------------------------------------

    def _checked(self, lines: Sequence[Line], cost: Cost, points: Sequence[Point], by_op: bool) -> Solved:
        """The cost with the sizes for which it holds.

        Raises:
            NoFit: it does not hold somewhere where it should.
        """
        exact = ExactCost(cost)
        compared: set[Point] = set()

        def holds(point: Point) -> bool:
            sample = self._at(point)
            if sample is None or exact(self._sizes_at(point)) != sample.cost:
                return False
            compared.add(point)
            return True

        if not all(map(holds, points)):
            raise NoFit("the rules count something else on symbols than on numbers")
        ranges = {
            name: range_along(line, lambda size, axis=axis: holds(self._moved(axis, size)), far=by_op)  # type: ignore[misc]
            for axis, (name, line) in enumerate(zip(self._names, lines, strict=True))
        }
        for axis, (name, found) in enumerate(ranges.items()):
            if found.step > 1 and found.high is not None and self._at(self._moved(axis, found.high + found.step)) is not None:
                raise NoFit(f"what fits at every {found.step}th size does not hold beyond {name} = {found.high}", axis)  # an accident
        self._compare_between(list(ranges.values()), holds)
        fresh = len(compared.difference(points))
        if not fresh:
            raise NoFit("the model accepts too few sizes to check a formula at any that was not used to find it")
        at_one = self._at_ones(ranges, cost) if self._looks_at_ones else {}
        return Solved(cost, ranges, fresh, at_one)

    def _compare_between(self, ranges: Sequence[Range], holds: Callable[[Point], bool]) -> None:
        """Compare with the analyzer at random points inside the ranges."""
        draw = random.Random(0)
        done = 0
        for _ in range(_MOST_TRIES):
            point = tuple(found.between(draw.random(), 3 * start) for found, start in zip(ranges, self._start, strict=True))
            if self._sampler.was_asked(self._full(point)) or self._at(point) is None:
                continue
            if not holds(point):
                moved = (axis for axis, size in enumerate(point) if not holds(self._moved(axis, size)))
                raise NoFit(f"the formula does not hold at {self._spoken(point)}", next(moved, None))
            done += 1
            if done == _CHECKS:
                return

    def _sizes_at(self, point: Point) -> dict[str, int]:
        return dict(zip(self._names, point, strict=True))

    def _spoken(self, point: Point) -> str:
        return ", ".join(f"{name} = {size}" for name, size in self._sizes_at(point).items())

    def _at_ones(self, ranges: dict[str, Range], cost: Cost) -> dict[frozenset[str], Cost]:
        """The costs that hold where symbols are 1, and are not what the general formula says there. The ranges are extended to 1."""
        names = [name for name in self._names if ranges[name].stops_before_one]
        found: dict[frozenset[str], Cost] = {}
        beyond: set[str] = set()
        """Symbols that cannot be 1."""
        for ones in (set(ones) for count in range(1, len(names) + 1) for ones in itertools.combinations(names, count)):
            point = tuple(1 if name in ones else size for name, size in zip(self._names, self._start, strict=True))
            sample = None if ones & beyond else self._at(point)
            if sample is None:
                beyond |= ones if len(ones) == 1 else set()
            elif ExactCost(cost_where(ones, cost, found))(self._sizes_at(point)) != sample.cost:
                special = self._cost_with(point, ones, ranges)
                if special is None:
                    beyond.add(max(ones))
                else:
                    found[frozenset(ones)] = special
        ranges.update({name: replace(ranges[name], low=1) for name in names if name not in beyond})
        return {ones: special for ones, special in found.items() if not ones & beyond}

    def _cost_with(self, point: Point, ones: set[str], ranges: Mapping[str, Range]) -> Cost | None:
        """The cost in the other symbols while these are 1, if there is one that holds wherever the general one does."""
        others = [i for i, name in zip(self._free, self._names, strict=True) if name not in ones]
        if not others:
            return self._seen(point).cost
        try:
            found = Solver(self._sampler, self._symbols, self._full(point), others, looks_at_ones=False).solve()
        except ClosedFormError:
            return None
        return found.cost if all(found.ranges[name].covers(ranges[name]) for name in found.ranges) else None


def cost_where(ones: Collection[str], cost: Cost, at_one: Mapping[frozenset[str], Cost]) -> Cost:
    """The cost that holds where just these symbols are 1."""
    return at_one.get(max((names for names in at_one if names.issubset(ones)), key=len, default=frozenset()), cost)
