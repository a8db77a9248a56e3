"""What the networks of the cell space cost, as functions of the weights of the candidates.

Both costs are `flopscope.relax.CostModel`s of supernets that are traced and never run. One is of the supernet that a search trains. The
other is of the network that will be trained in the end: deeper, wider, and with two edges for each node. That choice of edges is relaxed
too. Let p be the weights of an edge's candidates and s the largest of them but for ``none``; s is how strong derivation takes the edge to
be. Two predecessors are drawn for each node without replacement, with probabilities in proportion to s; an edge that is drawn takes
operation o with probability p(o) / (1 - p(none)). The expected cost is exact wherever the weights leave no choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import flopscope
from flopscope.relax import CostModel, cost_model
from nas.spaces.darts.network import NetworkShape
from nas.spaces.darts.operations import operation
from nas.spaces.darts.supernet import CellSuperNet, SearchCell

TINY = 1e-30
"""Keeps a division of nothing by nothing finite; in doubles one plus it is one."""
Row = tuple[str, int]


class Absent(nn.Module):
    """An edge that is not there: a view in the shape of its output, which costs nothing."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """The state, or every second pixel of it."""
        return x if self.stride == 1 else x[:, :, :: self.stride, :: self.stride]


class _PricedSearchCell(SearchCell):
    """A cell of the search, where ``none`` is absent."""

    def candidate(self, name: str, channels: int, stride: int) -> nn.Module:
        """The candidate, without work for ``none``."""
        return Absent(stride) if name == "none" else operation(name, channels, stride, search=not self.affine)


class _PricedNetworkCell(_PricedSearchCell):
    """A cell of the network that is trained: every operation on every edge, and the one addition of a node with two edges."""

    affine = True

    def node(self, incoming: list[Tensor]) -> Tensor:
        """Two edges, whichever: their shapes are the same."""
        return incoming[0] + incoming[1]


class _PricedSearch(CellSuperNet):
    cell_class = _PricedSearchCell


class _PricedNetwork(CellSuperNet):
    cell_class = _PricedNetworkCell


def price_search(
    operations: Sequence[str], nodes: int, shape: NetworkShape, image: tuple[int, int, int], classes: int
) -> tuple[CostModel, list[Row]]:
    """The cost of the supernet of a search, and the edge that each of its decisions is about: the kind of cell and the row."""
    return _priced(_PricedSearch, operations, nodes, shape, image, classes)


def price_network(
    operations: Sequence[str], nodes: int, shape: NetworkShape, image: tuple[int, int, int], classes: int
) -> tuple[CostModel, list[Row]]:
    """The cost of the networks that derivation makes, in evaluation mode and without auxiliary head; an absent edge is ``none``."""
    return _priced(_PricedNetwork, operations, nodes, shape, image, classes)


def _priced(
    kind: type[CellSuperNet], operations: Sequence[str], nodes: int, shape: NetworkShape, image: tuple[int, int, int], classes: int
) -> tuple[CostModel, list[Row]]:
    with flopscope.building():
        supernet = kind(operations, nodes, shape, classes, image[0]).eval()
    for name, level in supernet.levels.items():  # probabilities must be numbers, and those of one matrix are one decision
        supernet.levels[name] = level.to_empty(device="cpu")
        nn.init.zeros_(level.alpha)  # type: ignore[arg-type]
    supernet.plain = True
    model = cost_model(supernet, "x".join(map(str, (1, *image))))
    rows = []
    for decision in model.decisions:
        _, cell, _, edge = decision.choices[0].split(".")
        rows.append((supernet.cells[int(cell)].level_name, int(edge)))
    return model, rows  # type: ignore[return-value]


def edge_probabilities(weights: Tensor, nodes: int, none: int) -> Tensor:
    """The probability of each candidate of each edge to be in the network that is derived, of shape ``[edges, operations]``.

    The column of ``none`` holds the probability that the edge is not there. Rows sum to one.

    Args:
        weights: of the candidates, of shape ``[edges, operations]``, on the simplex.
        nodes: of a cell.
        none: the position of ``none`` among the operations.
    """
    weights = weights.double()
    operations = torch.cat([weights[:, :none], weights[:, none + 1 :]], dim=1) + TINY
    drawn = torch.cat([two_of(part) for part in operations.amax(1).split([2 + node for node in range(nodes)])])
    taken = drawn[:, None] * operations / operations.sum(1, keepdim=True)
    return torch.cat([taken[:, :none], 1 - drawn[:, None], taken[:, none:]], dim=1)


def two_of(strengths: Tensor) -> Tensor:
    """The probability of each of N things to be among two that are drawn without replacement in proportion to their strengths.

    ``P(i) = s_i/S + sum over j of (s_j/S) s_i/(S - s_j)``; the probabilities sum to two. Where all but two strengths are next to nothing
    they are one, one, and nothing.

    Args:
        strengths: positive, of shape ``[N]``, N >= 2.
    """
    count = len(strengths)
    if count == 2:
        return torch.ones_like(strengths)
    others = ~torch.eye(count, dtype=torch.bool, device=strengths.device)
    shares = strengths / strengths.sum()
    remaining = (strengths.expand(count, count) * others).sum(1)  # adding up the others loses no digits to the one that is left out
    second = strengths[None] / remaining[:, None] * others  # [first, second]
    return shares + shares @ second
