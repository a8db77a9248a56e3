"""Costs of the cell space, resolved into what each candidate on each edge adds.

Every metric of this space is additive: a constant (stem, preprocessing, classifier) and a number for each candidate of each edge, over all
cells of a kind. flopscope gives these numbers exactly; a table of measured times gives them in the same form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from flopscope.relax import CostModel
from nas.genotype import Genotype
from nas.spaces.darts.edges import edge_between
from nas.spaces.darts.pricing import Row, edge_probabilities

LEVELS = ("normal", "reduce")


@dataclass(frozen=True, eq=False)
class CellCost:
    """What architectures cost in one metric.

    Attributes:
        metric: its name, such as ``"macs"``; ``"latency"`` is in nanoseconds.
        constant: what every architecture costs.
        tables: what each candidate of each edge adds, by the kind of cell; int64 ``[edges, operations]``.
        operations: the names of the candidates; one is ``none``.
        nodes: of a cell.
        derives: whether it is the cost of the network that derivation makes, or that of the supernet.
    """

    metric: str
    constant: int
    tables: Mapping[str, Tensor]
    operations: tuple[str, ...]
    nodes: int
    derives: bool

    def __call__(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The expected cost, a float64 scalar with a derivative by the weights of the candidates, on the device of the tables.

        Args:
            weights: by the kind of cell, each of shape ``[edges, operations]``, on the simplex; without a column for ``none`` where the
                space has none.
        """
        none = self.operations.index("none")
        total = torch.full((), self.constant, dtype=torch.float64, device=self.tables[LEVELS[0]].device)
        for level in LEVELS:
            given = weights[level].to(self.tables[level].device, torch.float64)
            if given.shape[1] < len(self.operations):
                given = F.pad(given, (1, 0))
            total = total + ((edge_probabilities(given, self.nodes, none) if self.derives else given) * self.tables[level]).sum()
        return total

    def to(self, device: torch.device) -> CellCost:
        """The same cost on a device, so that a search there need not wait for the CPU."""
        return replace(self, tables={level: table.to(device) for level, table in self.tables.items()})

    def of(self, genotype: Genotype) -> int:
        """The cost of the network of a genotype, exactly."""
        total = self.constant
        for level, edges in zip(LEVELS, (genotype.normal, genotype.reduce), strict=True):
            for position, (operation, state) in enumerate(edges):
                total += int(self.tables[level][edge_between(state, position // 2), self.operations.index(operation)])
        return total

    def without_constant(self, offset: float, cells: Mapping[str, int]) -> CellCost:
        """The cost of the candidates alone, with ``offset`` added to each of them in each cell (Song & Li 2020, eq. 7 and 8).

        Args:
            offset: their k3.
            cells: how many cells of each kind there are.
        """
        return replace(self, constant=0, tables={level: table + offset * cells[level] for level, table in self.tables.items()})


def tabulated(model: CostModel, rows: list[Row], metric: str, operations: tuple[str, ...], nodes: int, *, derives: bool) -> CellCost:
    """Resolve a cost model of flopscope.

    Args:
        model: the cost model.
        rows: the kind of cell and the row of each of its decisions.
        metric: one of flopscope's.
        operations: the names of the candidates; one is ``none``.
        nodes: of a cell.
        derives: as for `CellCost`.
    """
    none, count, width = operations.index("none"), len(rows), len(operations)
    architectures = torch.full((count, width, count), none)
    for decision in range(count):
        architectures[decision, :, decision] = torch.arange(width)
    costs = model(metric, architectures.flatten(0, 1)).reshape(count, width)
    constant = int(costs[0, none])
    tables = {level: torch.zeros(edge_between(0, nodes), width, dtype=torch.int64) for level in LEVELS}
    for (level, row), found in zip(rows, costs, strict=True):
        tables[level][row] = found - constant
    return CellCost(metric, constant, tables, operations, nodes, derives)
