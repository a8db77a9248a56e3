"""The cost of a model as expressions: the rules run on symbolic signatures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import sympy

from flopscope.analyses.totals import UNCOUNTED, cost_of
from flopscope.cost import Cost
from flopscope.relax.closed.align import Column, Misaligned, merged
from flopscope.relax.closed.fitting import Fitter, NoFit, Point, Undecided
from flopscope.relax.closed.numbers import Exact, NotExactError
from flopscope.rules import rule_for

FIELDS = tuple(field.name for field in fields(Cost))


class ExactCost:
    """A cost in symbols as a function of their sizes."""

    def __init__(self, cost: Cost) -> None:
        """Compile each field."""
        self._fields = {name: Exact(getattr(cost, name)) for name in FIELDS}

    def __call__(self, sizes: Mapping[str, int]) -> Cost:
        """The cost at given sizes."""
        return Cost(**{name: function(sizes) for name, function in self._fields.items()})


def price_columns(columns: Mapping[Column, int], fitter: Fitter) -> Cost:
    """The cost of all ops together, each times how often it occurs.

    Raises:
        NoFit: an op cannot be priced.
        Undecided: more points are needed.
    """
    questions: dict[Point, None] = {}
    costs = []
    for column, times in columns.items():
        try:
            costs.append((_price(column, fitter), times))
        except Undecided as undecided:
            questions.update(dict.fromkeys(undecided.questions))
    if questions:
        raise Undecided(questions)
    return Cost(**{name: _sum((getattr(cost, name), times) for cost, times in costs) for name in FIELDS})


def _price(column: Column, fitter: Fitter) -> Cost:
    """The cost of one op: its rule on its symbolic signature; where that cannot be had, what fits its cost in all traces."""
    try:
        signature = merged(column, fitter.fit)
        if signature is column[0]:
            return cost_of(signature)
        rule = rule_for(signature)
        found = None if rule is None else rule.formula(signature)
        cost = UNCOUNTED if found is None else found
        for name in FIELDS:
            Exact(getattr(cost, name))
    except (NoFit, Misaligned, NotExactError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return fit_costs([cost_of(signature) for signature in column], fitter)
    return cost


def fit_costs(costs: Sequence[Cost], fitter: Fitter) -> Cost:
    """One cost for what was seen at all points of a fitter, each field fitted by itself.

    Raises:
        NoFit: a field follows no known form.
        Undecided: more points are needed.
    """
    return Cost(**{name: fitter.fit(tuple(getattr(cost, name) for cost in costs)) for name in FIELDS})


def _sum(terms: Iterable[tuple[Any, int]]) -> Any:
    """The sum of counts times how often they occur. It stays an int where all are ints."""
    whole, symbolic = 0, []
    for count, times in terms:
        if isinstance(count, int):
            whole += count * times
        elif count.is_Integer:
            whole += int(count) * times
        else:
            symbolic.append(times * count)
    total = sympy.Add(*symbolic).expand() + whole if symbolic else whole
    return int(total) if isinstance(total, sympy.Integer) else total
