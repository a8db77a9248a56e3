"""The cell space of DARTS (Liu et al. 2019, arXiv:1806.09055): fourteen edges with eight operations, for normal and for reduction cells."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.relax.spaces.layers import ConvBN, DilConv, FactorizedReduce, ReLUConvBN, SepConv, Zero
from tests.relax.spaces.space import Space

OPERATIONS = ("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")
NODES = 4
EDGES = 14
"""Each node takes an edge from the two inputs and from every node before it."""
STEM_MULTIPLIER = 3


class MixedOp(nn.Module):
    """A choice, as in DARTS: its weights are one row of the matrix of its kind of cell."""

    def __init__(self, channels: int, stride: int, alphas: nn.Parameter, row: int, slot: int) -> None:
        super().__init__()
        self.alphas, self.row, self.slot = alphas, row, slot
        self.candidates = nn.ModuleList(
            [
                Zero(stride),
                nn.Sequential(nn.MaxPool2d(3, stride, 1), nn.BatchNorm2d(channels, affine=False)),
                nn.Sequential(nn.AvgPool2d(3, stride, 1, count_include_pad=False), nn.BatchNorm2d(channels, affine=False)),
                nn.Identity() if stride == 1 else FactorizedReduce(channels, channels),
                SepConv(channels, 3, stride),
                SepConv(channels, 5, stride),
                DilConv(channels, 3, stride),
                DilConv(channels, 5, stride),
            ]
        )

    def probabilities(self) -> Tensor:
        return nn.functional.softmax(self.alphas, dim=-1)[self.row]

    def forward(self, x: Tensor) -> Tensor:
        return sum(weight * candidate(x) for weight, candidate in zip(self.probabilities(), self.candidates, strict=True))


class SearchCell(nn.Module):
    """A cell with a choice on every edge."""

    def __init__(self, c_before: int, c_in: int, channels: int, reduces: bool, after_reduction: bool, alphas: nn.Parameter) -> None:
        super().__init__()
        first = FactorizedReduce(c_before, channels) if after_reduction else ReLUConvBN(c_before, channels, 1, affine=False)
        self.preprocess = nn.ModuleList([first, ReLUConvBN(c_in, channels, 1, affine=False)])
        self.edges = nn.ModuleList()
        for node in range(NODES):
            for source in range(2 + node):
                row = len(self.edges)
                self.edges.append(MixedOp(channels, 2 if reduces and source < 2 else 1, alphas, row, row + EDGES * reduces))

    def forward(self, before: Tensor, x: Tensor) -> Tensor:
        states = [self.preprocess[0](before), self.preprocess[1](x)]
        edges = iter(self.edges)
        for _ in range(NODES):
            states.append(functools.reduce(operator.add, [next(edges)(state) for state in states]))
        return torch.cat(states[-NODES:], dim=1)


class SuperNet(nn.Module):
    """A network of cells. Cells of one kind follow one matrix of weights."""

    def __init__(self, channels: int = 16, layers: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.normal = nn.Parameter(1e-3 * torch.randn(EDGES, len(OPERATIONS)))
        self.reduction = nn.Parameter(1e-3 * torch.randn(EDGES, len(OPERATIONS)))
        c_before = c_in = STEM_MULTIPLIER * channels
        self.stem = ConvBN(3, c_in, 3)
        self.cells = nn.ModuleList()
        after_reduction = False
        for layer in range(layers):
            reduces = layer in (layers // 3, 2 * layers // 3)
            channels *= 1 + reduces
            alphas = self.reduction if reduces else self.normal
            self.cells.append(SearchCell(c_before, c_in, channels, reduces, after_reduction, alphas))
            c_before, c_in, after_reduction = c_in, NODES * channels, reduces
        self.classifier = nn.Linear(c_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        before = x = self.stem(x)
        for cell in self.cells:
            before, x = x, cell(before, x)
        return self.classifier(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def _operation(name: str, channels: int, stride: int) -> nn.Module:
    match name.split("_"):
        case ["none"]:
            return Zero(stride)
        case ["skip", "connect"]:
            return FactorizedReduce(channels, channels) if stride == 2 else nn.Identity()
        case ["max", "pool", _]:
            return nn.Sequential(nn.MaxPool2d(3, stride, 1), nn.BatchNorm2d(channels, affine=False))
        case ["avg", "pool", _]:
            return nn.Sequential(nn.AvgPool2d(3, stride, 1, count_include_pad=False), nn.BatchNorm2d(channels, affine=False))
        case [kind, "conv", size]:
            return {"sep": SepConv, "dil": DilConv}[kind](channels, int(size[0]), stride)
    raise ValueError(name)


class Cell(nn.Module):
    """A cell with one plain operation on each of the fourteen edges."""

    def __init__(self, preprocess: tuple[nn.Module, nn.Module], channels: int, reduces: bool, names: Sequence[str]) -> None:
        super().__init__()
        self.left, self.right = preprocess
        halves = {0, 1, 2, 3, 5, 6, 9, 10} if reduces else set()
        self.edges = nn.ModuleList(_operation(name, channels, 2 if edge in halves else 1) for edge, name in enumerate(names))

    def forward(self, before: Tensor, x: Tensor) -> Tensor:
        a, b, edge = self.left(before), self.right(x), self.edges
        c = edge[0](a) + edge[1](b)
        d = edge[2](a) + edge[3](b) + edge[4](c)
        e = edge[5](a) + edge[6](b) + edge[7](c) + edge[8](d)
        f = edge[9](a) + edge[10](b) + edge[11](c) + edge[12](d) + edge[13](e)
        return torch.cat([c, d, e, f], dim=1)


class Network(nn.Module):
    """The plain network of an architecture: fourteen operations of the normal cell, then fourteen of the reduction cell."""

    def __init__(self, architecture: Sequence[int], channels: int = 16, layers: int = 8, classes: int = 10) -> None:
        super().__init__()
        names = [OPERATIONS[index] for index in architecture]
        outputs = [3 * channels, 3 * channels]
        reductions = [layers // 3, 2 * layers // 3]
        self.stem = ConvBN(3, 3 * channels, 3)
        self.cells = nn.ModuleList()
        for layer in range(layers):
            reduces = layer in reductions
            width = channels * 2 ** sum(reduction <= layer for reduction in reductions)
            left = FactorizedReduce(outputs[-2], width) if layer - 1 in reductions else ReLUConvBN(outputs[-2], width, 1, affine=False)
            right = ReLUConvBN(outputs[-1], width, 1, affine=False)
            self.cells.append(Cell((left, right), width, reduces, names[14:] if reduces else names[:14]))
            outputs.append(4 * width)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(outputs[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [self.stem(x)] * 2
        for cell in self.cells:
            outputs.append(cell(*outputs[-2:]))
        return self.classifier(self.pool(outputs[-1]).flatten(1))


def space(channels: int = 16, layers: int = 8) -> Space:
    """The space, of any depth and width."""
    return Space(
        f"DARTS {layers} cells",
        functools.partial(SuperNet, channels, layers),
        functools.partial(Network, channels=channels, layers=layers),
        (len(OPERATIONS),) * (2 * EDGES),
        (1, 3, 32, 32),
    )
