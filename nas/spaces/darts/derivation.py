"""From the weights of candidates to a genotype: the strongest one, or the strongest within a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy
from numpy.typing import NDArray
from torch import Tensor

from nas.amounts import in_words
from nas.errors import BudgetError
from nas.genotype import INPUTS, Edge, Genotype
from nas.spaces.darts.cost import LEVELS, CellCost
from nas.spaces.darts.edges import edge_between

TINY = 1e-300
"""A weight of zero has a strength all the same, so that two edges can always be chosen."""


def derive(weights: Mapping[str, Tensor], operations: Sequence[str], nodes: int) -> Genotype:
    """The strongest network: for each node the two strongest edges from different states, each with its strongest operation.

    An edge is as strong as its strongest operation but for ``none`` (Liu et al. 2019, section 2.4). Of equals the first is taken.

    Args:
        weights: of the candidates, by the kind of cell, each of shape ``[edges, operations]``.
        operations: the names of the candidates.
        nodes: of a cell.
    """
    cells = []
    for level in LEVELS:
        table = weights[level].detach().cpu().double().tolist()
        edges: list[Edge] = []
        for node in range(nodes):
            best = []
            for state in range(INPUTS + node):
                row = table[edge_between(state, node)]
                strength, position = max((row[k], -k) for k, name in enumerate(operations) if name != "none")
                best.append((-strength, state, operations[-position]))
            edges += [(operation, state) for _, state, operation in sorted(best)[:2]]
        cells.append(tuple(edges))
    concat = tuple(range(INPUTS, INPUTS + nodes))
    return Genotype(cells[0], concat, cells[1], concat)


@dataclass(frozen=True)
class _Front:
    """For each cost that can be had, the best score at it and how to get it; in ascending order of costs."""

    costs: NDArray[numpy.int64]
    scores: NDArray[numpy.float64]
    picks: list[tuple[Edge, ...]] | NDArray[numpy.int64]


def derive_within(weights: Mapping[str, Tensor], operations: Sequence[str], cost: CellCost, low: int, high: int) -> Genotype:
    """The strongest network whose cost lies between two numbers, both included.

    Strength is the product of the weights of the operations that are taken, so that without bounds this is what `derive` finds. All
    combinations count: costs add up, so it is enough to keep the strongest choice for each sum, node by node.

    Args:
        weights: of the candidates, by the kind of cell, each of shape ``[edges, operations]``.
        operations: the names of the candidates.
        cost: of the networks that are derived.
        low: the least it may cost.
        high: the most it may cost.

    Raises:
        BudgetError: no network of the space lies within the bounds; the message names the nearest costs.
    """
    normal, reduction = (_cell_front(weights[level], operations, cost, level) for level in LEVELS)
    left, right = _best_pair(normal, reduction, low - cost.constant, high - cost.constant)
    if left < 0:
        raise BudgetError(_nearest(normal, reduction, cost, low, high))
    concat = tuple(range(INPUTS, INPUTS + cost.nodes))
    return Genotype(normal.picks[left], concat, reduction.picks[right], concat)


def _cell_front(weights: Tensor, operations: Sequence[str], cost: CellCost, level: str) -> _Front:
    scores = numpy.log(numpy.maximum(weights.detach().cpu().double().numpy(), TINY))
    columns = [cost.operations.index(name) for name in operations]
    prices = cost.tables[level].numpy()[:, columns]
    fronts = [_node_front(node, scores, prices, operations) for node in range(cost.nodes)]
    total, chains = fronts[0], [numpy.arange(len(fronts[0].costs))[:, None]]
    for front in fronts[1:]:
        total, chain = _sums(total, front, chains[-1])
        chains.append(chain)
    picks = [sum((fronts[node].picks[index] for node, index in enumerate(chain)), ()) for chain in chains[-1].tolist()]
    return _Front(total.costs, total.scores, picks)


def _node_front(node: int, scores: NDArray[numpy.float64], prices: NDArray[numpy.int64], operations: Sequence[str]) -> _Front:
    real = [k for k, name in enumerate(operations) if name != "none"]
    best: dict[int, tuple[float, tuple[Edge, Edge]]] = {}
    for one, other in combinations(range(INPUTS + node), 2):
        left, right = edge_between(one, node), edge_between(other, node)
        for first in real:
            for second in real:
                price = int(prices[left, first] + prices[right, second])
                score = float(scores[left, first] + scores[right, second])
                if price not in best or score > best[price][0]:
                    best[price] = score, ((operations[first], one), (operations[second], other))
    costs = sorted(best)
    return _Front(
        numpy.array(costs, dtype=numpy.int64), numpy.array([best[price][0] for price in costs]), [best[price][1] for price in costs]
    )


def _sums(one: _Front, other: _Front, chains: NDArray[numpy.int64]) -> tuple[_Front, NDArray[numpy.int64]]:
    """All sums of two fronts, the best for each cost, and what each is made of."""
    costs = (one.costs[:, None] + other.costs).ravel()
    scores = (one.scores[:, None] + other.scores).ravel()
    order = numpy.lexsort((-scores, costs))
    first = numpy.ones(len(order), dtype=bool)
    first[1:] = numpy.diff(costs[order]) > 0
    kept = order[first]
    left, right = numpy.divmod(kept, len(other.costs))
    chain = numpy.concatenate([chains[left], right[:, None]], axis=1)
    return _Front(costs[kept], scores[kept], chain), chain


def _best_pair(one: _Front, other: _Front, low: int, high: int) -> tuple[int, int]:
    """The positions of the best two whose costs add up to a number within bounds, or -1 twice."""
    if len(one.costs) > len(other.costs):
        return _best_pair(other, one, low, high)[::-1]
    highest = _Highest(other.scores)
    best, found = -numpy.inf, (-1, -1)
    for index, (price, score) in enumerate(zip(one.costs.tolist(), one.scores.tolist(), strict=True)):
        begin, end = numpy.searchsorted(other.costs, [low - price, high - price + 1])
        if begin < end:
            position = highest.between(int(begin), int(end))
            total = score + float(other.scores[position])
            if total > best:
                best, found = total, (index, position)
    return found


class _Highest:
    """Where the highest number of any stretch of an array is: the positions of the highest of all stretches of 2^k numbers."""

    def __init__(self, numbers: NDArray[numpy.float64]) -> None:
        self._numbers = numbers
        self._rows = [numpy.arange(len(numbers))]
        width = 1
        while 2 * width <= len(numbers):
            row = self._rows[-1]
            left, right = row[: len(row) - width], row[width:]
            self._rows.append(numpy.where(numbers[left] >= numbers[right], left, right))
            width *= 2

    def between(self, begin: int, end: int) -> int:
        level = (end - begin).bit_length() - 1
        left, right = self._rows[level][begin], self._rows[level][end - 2**level]
        return int(left if self._numbers[left] >= self._numbers[right] else right)


def _nearest(one: _Front, other: _Front, cost: CellCost, low: int, high: int) -> str:
    least = cost.constant + int(one.costs[0] + other.costs[0])
    most = cost.constant + int(one.costs[-1] + other.costs[-1])
    below, above = [], []
    for price in one.costs + cost.constant:
        position = int(numpy.searchsorted(other.costs, low - price))
        below += [int(price + other.costs[position - 1])] if position else []
        position = int(numpy.searchsorted(other.costs, high - price, side="right"))
        above += [int(price + other.costs[position])] if position < len(other.costs) else []
    lower, upper, cheapest, dearest = (in_words(price, cost.metric) for price in (low, high, least, most))
    near = [f"the nearest below costs {in_words(max(below), cost.metric)}"] if below else []
    near += [f"the nearest above costs {in_words(min(above), cost.metric)}"] if above else []
    return (
        f"no architecture of the space costs between {lower} and {upper}: they cost {cheapest} to {dearest}, and "
        f"{' and '.join(near)}. Change the budget, the operations of the space, or the channels and layers of the network."
    )
