"""NAS-Bench-201 (Dong & Yang 2020, arXiv:2001.00326): cells of six edges with five operations.

The published MACs are those of convolutions and of the classifier, without bias: `macs`. Batch norm, pooling and additions are not in
them. The published parameters are all parameters: weights, scale and shift of each batch norm, and the bias of the classifier: `params`.
"""

from __future__ import annotations

import csv
import functools
import gzip
import operator
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.relax.spaces.layers import ConvBN, ReLUConvBN, ResidualReduce, Zero
from tests.relax.spaces.space import Space

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""From and to which node each edge leads, in the order of the published strings."""
DATA_SETS = {"c10": (10, 32), "c100": (100, 32), "in16": (120, 16)}
"""Classes and resolution, by the suffix of the columns."""
STAGES = (16, 32, 64)
CELLS = 5


class Edge(nn.Module):
    """A choice whose weights are one row of a parameter that all choices hold."""

    def __init__(self, channels: int, alphas: nn.Parameter, slot: int) -> None:
        super().__init__()
        self.alphas, self.slot = alphas, slot
        self.candidates = nn.ModuleList(
            [
                Zero(),
                nn.Identity(),
                ReLUConvBN(channels, channels, 1),
                ReLUConvBN(channels, channels, 3),
                nn.AvgPool2d(3, 1, padding=1, count_include_pad=False),
            ]
        )

    def probabilities(self) -> Tensor:
        return torch.softmax(self.alphas[self.slot], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        return sum(weight * candidate(x) for weight, candidate in zip(self.probabilities(), self.candidates, strict=True))


class SearchCell(nn.Module):
    """All edges as choices."""

    def __init__(self, channels: int, alphas: nn.Parameter) -> None:
        super().__init__()
        self.edges = nn.ModuleList(Edge(channels, alphas, slot) for slot in range(len(EDGES)))

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for node in (1, 2, 3):
            arriving = [edge(nodes[source]) for edge, (source, target) in zip(self.edges, EDGES, strict=True) if target == node]
            nodes.append(functools.reduce(operator.add, arriving))
        return nodes[-1]


class SuperNet(nn.Module):
    """The skeleton with a choice on every edge. All cells follow the same six rows of weights."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.alphas = nn.Parameter(1e-3 * torch.randn(len(EDGES), len(OPERATIONS)))
        self.stem = ConvBN(3, STAGES[0], 3)
        self.body = nn.Sequential()
        for stage, channels in enumerate(STAGES):
            if stage:
                self.body.append(ResidualReduce(STAGES[stage - 1], channels))
            self.body.extend(SearchCell(channels, self.alphas) for _ in range(CELLS))
        self.tail = nn.Sequential(nn.BatchNorm2d(STAGES[-1]), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(STAGES[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.tail(self.body(self.stem(x))).flatten(1))


class Cell(nn.Module):
    """A cell of one plain operation per edge."""

    LAYERS: tuple[Callable[[int], nn.Module], ...] = (
        lambda _: Zero(),
        lambda _: nn.Identity(),
        lambda channels: ReLUConvBN(channels, channels, 1),
        lambda channels: ReLUConvBN(channels, channels, 3),
        lambda _: nn.AvgPool2d(3, 1, padding=1, count_include_pad=False),
    )

    def __init__(self, channels: int, architecture: Sequence[int]) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.e, self.f = (self.LAYERS[index](channels) for index in architecture)

    def forward(self, x: Tensor) -> Tensor:
        first = self.a(x)
        second = self.b(x) + self.c(first)
        return self.d(x) + self.e(first) + self.f(second)


def network(architecture: Sequence[int], classes: int = 10) -> nn.Module:
    """The plain network of an architecture."""
    return nn.Sequential(
        ConvBN(3, 16, 3),
        *(Cell(16, architecture) for _ in range(5)),
        ResidualReduce(16, 32),
        *(Cell(32, architecture) for _ in range(5)),
        ResidualReduce(32, 64),
        *(Cell(64, architecture) for _ in range(5)),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def space(data_set: str = "c10") -> Space:
    """The space for one of the data sets."""
    classes, resolution = DATA_SETS[data_set]
    return Space(
        f"NAS-Bench-201 {data_set}",
        functools.partial(SuperNet, classes),
        functools.partial(network, classes=classes),
        (len(OPERATIONS),) * len(EDGES),
        (1, 3, resolution, resolution),
    )


def published(data: Path) -> tuple[Tensor, dict[str, Tensor]]:
    """All 15,625 architectures, and the columns of published parameters and MACs by name."""
    with gzip.open(data / "nas" / "nasbench201.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    architectures = [[OPERATIONS.index(name) for name in re.findall(r"\|([^|~]+)~\d", row["arch"].replace("|+|", "|"))] for row in rows]
    names = [f"{metric}_{data_set}" for metric in ("params", "macs") for data_set in DATA_SETS]
    return torch.tensor(architectures), {name: torch.tensor([int(row[name]) for row in rows]) for name in names}
