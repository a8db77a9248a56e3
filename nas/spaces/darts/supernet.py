"""The supernet of the cell space: every candidate on every edge (Liu et al. 2019, arXiv:1806.09055, section 2).

A cell can run in two ways that compute the same. The plain one is the definition: each edge adds up its candidates, each times its
weight. The fused one (`fused.py`) shares what candidates have in common, and is what a search runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.relaxations.softmax import softmax
from nas.spaces.darts.edges import sources
from nas.spaces.darts.fused import run_fused
from nas.spaces.darts.network import CellShape, NetworkShape, Stem, preprocessing
from nas.spaces.darts.operations import operation

Relaxation = Callable[[Tensor], Tensor]


class Level(nn.Module):
    """The architecture parameters that all cells of one kind follow.

    Args:
        edges: how many edges a cell has.
        operations: how many candidates an edge has.
        relaxation: makes weights of the parameters.
    """

    def __init__(self, edges: int, operations: int, relaxation: Relaxation) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(edges, operations))
        self.relaxation = relaxation

    def weights(self) -> Tensor:
        """The weight of each candidate of each edge, of shape ``[edges, operations]``."""
        return self.relaxation(self.alpha)


class MixedOp(nn.Module):
    """An edge: a choice between operations, in the sense of `flopscope.relax`."""

    def __init__(self, candidates: Sequence[nn.Module], level: Level, row: int) -> None:
        super().__init__()
        self.candidates = nn.ModuleList(candidates)
        self.row = row
        self._level = (level,)  # in a tuple, so that it is a part of the supernet and not of each edge

    def probabilities(self) -> Tensor:
        """The weight of each candidate."""
        return self._level[0].weights()[self.row]

    def forward(self, x: Tensor) -> Tensor:
        """The candidates, each times its weight, added up."""
        out = torch.zeros_like(x[:1, :1, :1, :1])
        for weight, candidate in zip(self.probabilities(), self.candidates, strict=True):
            out = out + weight * candidate(x)
        return out


class SearchCell(nn.Module):
    """A cell with a choice on the edge from every earlier state to every node.

    Args:
        operations: the names of the candidates.
        nodes: how many nodes.
        shape: its width, and whether it halves the resolution.
        before: channels of the output of the cell before the last one.
        last: channels of the output of the last cell.
        level_name: the kind of cell.
        level: its architecture parameters.
    """

    affine = False
    """Whether batch normalisation has weights: not in a search, where they would undo what the weights of candidates say."""

    def __init__(
        self, operations: Sequence[str], nodes: int, shape: CellShape, before: int, last: int, level_name: str, level: Level
    ) -> None:
        super().__init__()
        self.nodes, self.level_name = nodes, level_name
        self.preprocess0, self.preprocess1 = preprocessing(shape, before, last, affine=self.affine)
        self.edges = nn.ModuleList()
        for row, state in enumerate(sources(nodes)):
            stride = 2 if shape.reduces and state < 2 else 1
            self.edges.append(MixedOp([self.candidate(name, shape.channels, stride) for name in operations], level, row))

    def candidate(self, name: str, channels: int, stride: int) -> nn.Module:
        """The candidate of that name for an edge."""
        return operation(name, channels, stride, search=True)

    def forward(self, before: Tensor, last: Tensor, weights: Tensor | None = None) -> Tensor:
        """The concatenated nodes; fused if the weights of the level, of shape ``[edges, operations]``, are given, else plain."""
        states = [self.preprocess0(before), self.preprocess1(last)]
        nodes = self._plain(states) if weights is None else run_fused(self, states, weights)
        return torch.cat(nodes, dim=1)

    def _plain(self, states: list[Tensor]) -> list[Tensor]:
        first = 0
        for _ in range(self.nodes):
            count = len(states)
            incoming = [edge(state) for edge, state in zip(self.edges[first : first + count], states, strict=True)]
            states.append(self.node(incoming))
            first += count
        return states[2:]

    def node(self, incoming: list[Tensor]) -> Tensor:
        """What a node makes of its edges: their sum (Liu et al. 2019, eq. 1)."""
        total = incoming[0]
        for other in incoming[1:]:
            total = total + other
        return total


class CellSuperNet(nn.Module):
    """A classifier of search cells. All cells of one kind follow one matrix of architecture parameters.

    Attributes:
        levels: the architecture parameters, by the kind of cell: ``"normal"`` and ``"reduce"``.
        plain: whether to run cells in the plain way.

    Args:
        operations: the names of the candidates.
        nodes: nodes of a cell.
        shape: how cells are stacked.
        classes: how many.
        channels_in: channels of the images.
        relaxation: makes weights of architecture parameters.
    """

    cell_class: type[SearchCell] = SearchCell

    def __init__(
        self,
        operations: Sequence[str],
        nodes: int,
        shape: NetworkShape,
        classes: int,
        channels_in: int = 3,
        relaxation: Relaxation = softmax,
    ) -> None:
        super().__init__()
        self.plain = False
        edges = len(sources(nodes))
        self.levels = nn.ModuleDict({name: Level(edges, len(operations), relaxation) for name in ("normal", "reduce")})
        self.stem = Stem(channels_in, shape)
        before = last = self.stem.channels
        self.cells = nn.ModuleList()
        for cell_shape in shape.cells():
            name = "reduce" if cell_shape.reduces else "normal"
            level: Level = self.levels[name]  # type: ignore[assignment]
            self.cells.append(self.cell_class(operations, nodes, cell_shape, before, last, name, level))
            before, last = last, nodes * cell_shape.channels
        self.classifier = nn.Linear(last, classes)

    def architecture_parameters(self) -> list[nn.Parameter]:
        """What a search moves."""
        return list(self.levels.parameters())

    def network_weights(self) -> list[nn.Parameter]:
        """What training moves."""
        moved = {id(parameter) for parameter in self.levels.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in moved]

    def weights(self) -> dict[str, Tensor]:
        """The weights of the candidates by the kind of cell, each of shape ``[edges, operations]``."""
        return {name: level.weights() for name, level in self.levels.items()}  # type: ignore[operator]

    def forward(self, x: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits of shape ``[B, classes]`` of images of shape ``[B, channels_in, H, W]``, with the weights of the candidates, or others."""
        if weights is None and not self.plain:
            weights = self.weights()
        before, last = self.stem(x)
        for cell in self.cells:
            before, last = last, cell(before, last, None if weights is None else weights[cell.level_name])  # type: ignore[index]
        out: Tensor = self.classifier(F.adaptive_avg_pool2d(last, 1).flatten(1))
        return out
