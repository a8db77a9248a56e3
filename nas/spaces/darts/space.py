"""The cell space of DARTS as one thing: its supernet, its costs, its genotypes and their networks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch

from flopscope.errors import OptionError
from nas.amounts import LATENCY
from nas.errors import GenotypeError
from nas.genotype import Genotype
from nas.relaxations.softmax import softmax
from nas.spaces.darts.cost import CellCost, tabulated
from nas.spaces.darts.derivation import derive, derive_within
from nas.spaces.darts.edges import sources
from nas.spaces.darts.latency import LatencyTable
from nas.spaces.darts.network import CellNetwork, NetworkShape
from nas.spaces.darts.operations import DARTS_OPERATIONS, OPERATIONS
from nas.spaces.darts.pricing import price_network, price_search
from nas.spaces.darts.supernet import CellSuperNet, Relaxation
from nas.spaces.space import Weights


@dataclass(frozen=True)
class DartsSpace:
    """Cells whose nodes add up two earlier states, each after an operation (Liu et al. 2019, arXiv:1806.09055).

    Attributes:
        operations: the names of the candidates.
        nodes: nodes of a cell.
        search: how the supernet is stacked; the papers take 16 channels and 8 cells.
        trained: how the network that is trained is stacked; the papers take 36 channels and 20 cells on CIFAR-10.
        relaxation: makes weights of architecture parameters.
        init_scale: the standard deviation of the first architecture parameters; with 0 all candidates start equal.

    Raises:
        GenotypeError: an operation is unknown or named twice, there is no node or no operation besides ``none``, or the supernet has no
            cell of a kind that the trained network has.
    """

    operations: tuple[str, ...] = DARTS_OPERATIONS
    nodes: int = 4
    search: NetworkShape = field(default_factory=lambda: NetworkShape(16, 8))
    trained: NetworkShape = field(default_factory=lambda: NetworkShape(36, 20))
    relaxation: Relaxation = softmax
    init_scale: float = 1e-3

    def __post_init__(self) -> None:
        unknown = [name for name in self.operations if name not in OPERATIONS]
        if unknown:
            raise GenotypeError(f"there is no operation {unknown[0]!r}; there are {', '.join(OPERATIONS)}")
        if len(set(self.operations)) != len(self.operations):
            raise GenotypeError(f"each operation can be a candidate once, but they are {', '.join(self.operations)}")
        if not set(self.operations) - {"none"} or self.nodes < 1:
            raise GenotypeError(f"a cell needs a node and an operation besides 'none', but has {self.nodes} nodes and {self.operations}")
        trained, searched = ({cell.reduces for cell in shape.cells()} for shape in (self.trained, self.search))
        for reduces in trained - searched:
            raise GenotypeError(
                f"the {self.trained.layers} layers of the network that is trained have a {'reduction' if reduces else 'normal'} cell, but "
                f"the {self.search.layers} of the supernet have none to search: give it at least 3 (space.layers)"
            )

    @property
    def edge_names(self) -> list[str]:
        """The edges of a cell, in the order of the rows of weights: the state that they come from and that to which they go."""
        found, node = [], 1
        for state in sources(self.nodes):
            node += state == 0
            found.append(f"{state}→{node}")
        return found

    def supernet(self, image: tuple[int, int, int], classes: int) -> CellSuperNet:
        """The network that a search trains, with new weights."""
        net = CellSuperNet(self.operations, self.nodes, self.search, classes, image[0], self.relaxation)
        for parameter in net.architecture_parameters():
            torch.nn.init.normal_(parameter, std=self.init_scale)
        return net

    def derive(self, weights: Weights) -> Genotype:
        """The strongest network (Liu et al. 2019, section 2.4)."""
        return derive(weights, self.operations, self.nodes)

    def derive_within(self, weights: Weights, cost: CellCost, low: int, high: int) -> Genotype:
        """The strongest network whose cost lies within bounds.

        Raises:
            BudgetError: there is none.
        """
        return derive_within(weights, self.operations, cost, low, high)

    def network(self, genotype: Genotype, image: tuple[int, int, int], classes: int, *, auxiliary: bool = False) -> CellNetwork:
        """The network of a genotype, as it is trained."""
        return CellNetwork(genotype, self.trained, classes, image[0], auxiliary=auxiliary)

    # -- costs ----------------------------------------------------------------------------------------------

    def network_cost(self, metric: str, image: tuple[int, int, int], classes: int, table: LatencyTable | None = None) -> CellCost:
        """What the network that is derived and trained costs.

        Args:
            metric: one of flopscope's, or ``"latency"``, which needs a ``table``.
            image: channels, height and width.
            classes: how many.
            table: measured times of operations.

        Raises:
            OptionError: there is no such metric, or the table lacks an operation.
        """
        return self._cost(metric, image, classes, table, derives=True)

    def supernet_cost(self, metric: str, image: tuple[int, int, int], classes: int, table: LatencyTable | None = None) -> CellCost:
        """What the supernet is expected to cost, with one operation on every edge. Arguments and errors as for `network_cost`."""
        return self._cost(metric, image, classes, table, derives=False)

    def cells_cost(
        self, metric: str, image: tuple[int, int, int], classes: int, offset: float = 0.0, table: LatencyTable | None = None
    ) -> CellCost:
        """What the candidates in the cells of the supernet are expected to cost, each plus an offset (Song & Li 2020, eq. 7 and 8)."""
        cells = Counter("reduce" if cell.reduces else "normal" for cell in self.search.cells())
        return self.supernet_cost(metric, image, classes, table).without_constant(offset, cells)

    def _cost(self, metric: str, image: tuple[int, int, int], classes: int, table: LatencyTable | None, *, derives: bool) -> CellCost:
        operations = self.operations if "none" in self.operations else ("none", *self.operations)
        shape = self.trained if derives else self.search
        if metric == LATENCY:
            if table is None:
                raise OptionError(
                    "the metric latency needs a table of measured times: python -m nas latency RECIPE -o FILE makes one, and "
                    "objective.table=FILE names it"
                )
            return table.cost(operations, self.nodes, shape, image, classes, derives=derives)
        price = price_network if derives else price_search
        model, rows = price(operations, self.nodes, shape, image, classes)
        return tabulated(model, rows, metric, operations, self.nodes, derives=derives)
