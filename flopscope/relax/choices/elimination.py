"""Variance, minimum and maximum of a sum of tables, one decision at a time.

A sum of tables over decisions is reduced by *variable elimination* (Dechter 1999, "Bucket elimination"): take one decision, add up the
tables that depend on it, and reduce over it; what remains is a table over the decisions that it occurred with. Nested choices are trees,
whose tables stay small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from flopscope.errors import SupernetError
from flopscope.relax.choices.tables import MOST_ENTRIES


@dataclass(frozen=True, slots=True)
class Factor:
    """A function of a few decisions: one dimension each."""

    decisions: tuple[int, ...]
    values: Tensor


def _order(factors: Sequence[Factor], count: int) -> list[int]:
    """All decisions, always the one next that makes the smallest table with its neighbours."""
    sizes = {decision: size for factor in factors for decision, size in zip(factor.decisions, factor.values.shape, strict=True)}
    neighbours: dict[int, set[int]] = {decision: {decision} for decision in range(count)}
    for factor in factors:
        for decision in factor.decisions:
            neighbours[decision].update(factor.decisions)
    entries = {decision: prod(sizes.get(member, 1) for member in members) for decision, members in neighbours.items()}
    order = []
    while entries:
        found = min(entries, key=entries.__getitem__)
        if entries.pop(found) > MOST_ENTRIES:
            raise SupernetError(
                f"{len(neighbours[found])} decisions depend on each other, which are too many combinations to list. The expected cost "
                "and the cost of given architectures are still exact."
            )
        order.append(found)
        others = neighbours[found] - {found}
        for other in others:
            neighbours[other] = (neighbours[other] | others) - {found}
            entries[other] = prod(sizes.get(member, 1) for member in neighbours[other])
    return order


def _sum(factors: Sequence[Factor], decisions: tuple[int, ...], zero: Tensor) -> Tensor:
    """The sum of factors as a table over the given decisions."""
    total = zero
    for factor in factors:
        dims = sorted(range(len(factor.decisions)), key=lambda dim: decisions.index(factor.decisions[dim]))
        values = factor.values.permute(dims)
        for position, decision in enumerate(decisions):
            if decision not in factor.decisions:
                values = values.unsqueeze(position)
        total = total + values
    return total


def _take(factors: list[Factor], decision: int) -> tuple[tuple[int, ...], list[Factor], list[Factor]]:
    """The decisions that one occurs with, itself last; the factors that depend on it; the others."""
    mine = [factor for factor in factors if decision in factor.decisions]
    others = [factor for factor in factors if decision not in factor.decisions]
    together = sorted({member for factor in mine for member in factor.decisions} - {decision})
    return (*together, decision), mine, others


def moments(factors: Sequence[Factor], probabilities: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The mean and the variance of the sum of the factors, where each decision is drawn by its probabilities, independently.

    By the law of total variance, the variance over one decision adds to the variance that remains within each of its candidates.
    """
    zero = torch.zeros((), dtype=probabilities[0].dtype, device=probabilities[0].device)
    means = list(factors)
    variances: list[Factor] = []
    for decision in _order(factors, len(probabilities)):
        together, mine, means = _take(means, decision)
        _, within, variances = _take(variances, decision)
        weights = probabilities[decision]
        mean = _sum(mine, together, zero)
        average = (mean * weights).sum(-1)
        spread = (((mean - average.unsqueeze(-1)) ** 2 + _sum(within, together, zero)) * weights).sum(-1)
        means.append(Factor(together[:-1], average))
        variances.append(Factor(together[:-1], spread))
    return _sum(means, (), zero), _sum(variances, (), zero)


def extreme(factors: Sequence[Factor], count: int, *, largest: bool) -> tuple[int, tuple[int, ...]]:
    """The smallest or the largest value of the sum of the factors, and the candidates that give it."""
    zero = torch.zeros((), dtype=torch.int64)
    remaining = list(factors)
    best: list[tuple[int, tuple[int, ...], Tensor]] = []
    for decision in _order(factors, count):
        together, mine, remaining = _take(remaining, decision)
        reduced = _sum(mine, together, zero)
        found = reduced.max(-1) if largest else reduced.min(-1)
        best.append((decision, together[:-1], found.indices))
        remaining.append(Factor(together[:-1], found.values))
    taken: dict[int, int] = {}
    for decision, neighbours, indices in reversed(best):
        taken[decision] = int(indices[tuple(taken[neighbour] for neighbour in neighbours)])
    return int(_sum(remaining, (), zero)), tuple(taken[decision] for decision in range(count))
