"""From probabilities to a chain: the strongest, or the strongest within a budget."""

from __future__ import annotations

from collections.abc import Mapping

import numpy
from torch import Tensor

from nas.amounts import in_words
from nas.errors import BudgetError
from nas.spaces.chain.architecture import ChainArchitecture
from nas.spaces.chain.cost import ChainCost
from nas.spaces.chain.shape import ChainShape
from nas.spaces.chain.supernet import kinds_of

TINY = 1e-300
"""A probability of zero has a strength all the same, so that a network can always be found."""


def strengths(weights: Mapping[str, Tensor], shape: ChainShape) -> list[list[float]]:
    """The probability of each candidate, slot after slot."""
    tables = {kind: weights[kind].detach().cpu().double().tolist() for kind in kinds_of(shape)}
    places = {slot: (kind, row) for kind, slots in kinds_of(shape).items() for row, slot in enumerate(slots)}
    return [tables[kind][row] for kind, row in (places[slot] for slot in shape.slots())]


def derive(weights: Mapping[str, Tensor], shape: ChainShape) -> ChainArchitecture:
    """The strongest candidate of each slot (Cai et al. 2019, section 3.2); of equals the first.

    Args:
        weights: probabilities by kind of choice, each of shape ``[choices, candidates]``.
        shape: the space.
    """
    blocks = []
    for slot, row in zip(shape.slots(), strengths(weights, shape), strict=True):
        names = shape.candidates(slot)
        blocks.append(names[max(range(len(row)), key=lambda index: (row[index], -index))])
    return ChainArchitecture(shape, tuple(blocks))


def derive_within(weights: Mapping[str, Tensor], shape: ChainShape, cost: ChainCost, high: int) -> ChainArchitecture:
    """The strongest chain that costs no more than a budget: strength is the product of probabilities.

    Costs add up, so slot by slot it is enough to keep the chains that no other beats in both cost and strength. The answer is exact.

    Args:
        weights: probabilities by kind of choice, each of shape ``[choices, candidates]``.
        shape: the space.
        cost: of its networks.
        high: the budget.

    Raises:
        BudgetError: every chain costs more; the message names the cheapest.
    """
    prices = cost.by_slot()
    cheapest_rest = [0]
    for row in reversed(prices):
        cheapest_rest.append(cheapest_rest[-1] + min(row.values()))
    left = high - cost.constant
    if cheapest_rest[-1] > left:
        least = cost.constant + cheapest_rest[-1]
        raise BudgetError(
            f"no network of {shape.name} costs {in_words(high, cost.metric)} or less: the cheapest costs {in_words(least, cost.metric)}. "
            "Raise the budget, or make the channels or the images of the space smaller."
        )
    costs, scores = numpy.zeros(1, dtype=numpy.int64), numpy.zeros(1)
    chains = numpy.zeros((1, 0), dtype=numpy.int8)
    rest = cheapest_rest[-2::-1]
    for row, strength, after in zip(prices, strengths(weights, shape), rest, strict=True):
        added = numpy.array(list(row.values()), dtype=numpy.int64)
        gained = numpy.log(numpy.maximum(numpy.array(strength), TINY))
        total, score = (costs[:, None] + added).ravel(), (scores[:, None] + gained).ravel()
        order = numpy.lexsort((-score, total))
        order = order[total[order] <= left - after]
        best = numpy.maximum.accumulate(score[order])
        is_kept = numpy.ones(len(order), dtype=bool)
        is_kept[1:] = score[order][1:] > best[:-1]
        kept = order[is_kept]
        before, chosen = numpy.divmod(kept, len(added))
        chains = numpy.concatenate([chains[before], chosen[:, None].astype(numpy.int8)], axis=1)
        costs, scores = total[kept], score[kept]
    indices = chains[-1].tolist()  # in the order of costs, the last is the strongest
    names = [shape.candidates(slot)[index] for slot, index in zip(shape.slots(), indices, strict=True)]
    return ChainArchitecture(shape, tuple(names))
