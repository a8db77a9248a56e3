"""The network that a genotype makes, as it is trained (Liu et al. 2019, arXiv:1806.09055, appendix A)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import GenotypeError
from nas.genotype import INPUTS, Edge, Genotype
from nas.spaces.darts.operations import FactorizedReduce, ReLUConvBN, Skip, operation

STEM_MULTIPLIER = 3


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """How cells are stacked.

    Attributes:
        channels: C of the first cells; each reduction doubles it.
        layers: how many cells; those at 1/3 and 2/3 of the depth are reduction cells.
        stem: ``"cifar"`` (one convolution to 3 C channels) or ``"imagenet"`` (three of stride 2, to 1/8 of the resolution).
    """

    channels: int = 36
    layers: int = 20
    stem: str = "cifar"

    def __post_init__(self) -> None:
        if self.stem not in ("cifar", "imagenet") or self.channels < 2 or self.channels % 2 or self.layers < 1:
            raise GenotypeError(
                "a network of cells needs an even number of channels, at least one layer and the stem 'cifar' or 'imagenet', but got "
                f"channels={self.channels}, layers={self.layers}, stem={self.stem!r}"
            )

    def reductions(self) -> tuple[int, ...]:
        """The positions of the reduction cells."""
        return tuple(sorted({self.layers // 3, 2 * self.layers // 3}))

    def cells(self) -> list[CellShape]:
        """The shape of each cell, from the first to the last."""
        found, width = [], self.channels
        after = self.stem == "imagenet"
        for layer in range(self.layers):
            reduces = layer in self.reductions()
            width *= 1 + reduces
            found.append(CellShape(width, reduces, after))
            after = reduces
        return found


@dataclass(frozen=True, slots=True)
class CellShape:
    """The width of a cell, whether it halves the resolution, and whether the cell before it did."""

    channels: int
    reduces: bool
    after_reduction: bool


CIFAR = NetworkShape(36, 20, "cifar")
IMAGENET = NetworkShape(48, 14, "imagenet")


def preprocessing(shape: CellShape, before: int, last: int, *, affine: bool) -> tuple[nn.Module, nn.Module]:
    """What brings the outputs of the two cells before (of ``before`` and ``last`` channels) to the width and resolution of a cell."""
    first: nn.Module
    if shape.after_reduction:
        first = FactorizedReduce(before, shape.channels, affine=affine)
    else:
        first = ReLUConvBN(before, shape.channels, affine=affine)
    return first, ReLUConvBN(last, shape.channels, affine=affine)


class Stem(nn.Module):
    """Makes the two inputs of the first cell, of ``channels`` channels each, out of images."""

    def __init__(self, channels_in: int, shape: NetworkShape) -> None:
        super().__init__()
        width = shape.channels
        self.second: nn.Module | None = None
        if shape.stem == "cifar":
            self.channels = STEM_MULTIPLIER * width
            self.first = nn.Sequential(nn.Conv2d(channels_in, self.channels, 3, padding=1, bias=False), nn.BatchNorm2d(self.channels))
        else:
            self.channels = width
            self.first = nn.Sequential(*_halving(channels_in, width // 2), nn.ReLU(), *_halving(width // 2, width))
            self.second = nn.Sequential(nn.ReLU(), *_halving(width, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The two inputs; the stem for CIFAR gives one tensor twice."""
        first = self.first(x)
        return first, first if self.second is None else self.second(first)


def _halving(channels_in: int, channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels_in, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels)


class Cell(nn.Module):
    """A cell of a genotype."""

    def __init__(self, edges: tuple[Edge, ...], concat: tuple[int, ...], shape: CellShape, before: int, last: int) -> None:
        super().__init__()
        self.preprocess0, self.preprocess1 = preprocessing(shape, before, last, affine=True)
        self.states = [state for _, state in edges]
        self.concat = concat
        strides = [2 if shape.reduces and state < INPUTS else 1 for state in self.states]
        self.edges = nn.ModuleList(
            operation(name, shape.channels, stride, search=False) for (name, _), stride in zip(edges, strides, strict=True)
        )

    def forward(self, before: Tensor, last: Tensor, drop_path: float) -> Tensor:
        """The concatenated nodes; ``drop_path`` is the probability with which a path is dropped, for each image apart."""
        states = [self.preprocess0(before), self.preprocess1(last)]
        for node in range(len(self.edges) // 2):
            left, right = (self._along(edge, states, drop_path) for edge in (2 * node, 2 * node + 1))
            states.append(left + right)
        return torch.cat([states[state] for state in self.concat], dim=1)

    def _along(self, edge: int, states: list[Tensor], drop_path: float) -> Tensor:
        layer = self.edges[edge]
        out: Tensor = layer(states[self.states[edge]])
        if not self.training or not drop_path or isinstance(layer, Skip):
            return out
        kept = torch.empty(len(out), 1, 1, 1, dtype=out.dtype, device=out.device).bernoulli_(1 - drop_path)
        return out * kept / (1 - drop_path)


class AuxiliaryHead(nn.Sequential):
    """A second classifier at 2/3 of the depth, which helps training and is not part of the network that is used."""

    def __init__(self, channels: int, classes: int, stem: str) -> None:
        large = stem == "imagenet"
        super().__init__(
            nn.ReLU(),
            _PoolToTwo(2 if large else 3),
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            *(() if large else (nn.BatchNorm2d(768),)),  # DARTS left it out of its ImageNet networks, by mistake, and kept it so
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(768, classes),
        )


class _PoolToTwo(nn.Module):
    """Average pooling over 5x5 pixels to 2x2 ones; images too small for that are pooled adaptively."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        if (min(x.shape[-2:]) - 5) // self.stride == 1 == (max(x.shape[-2:]) - 5) // self.stride:
            return F.avg_pool2d(x, 5, self.stride)
        return F.adaptive_avg_pool2d(x, 2)


class CellNetwork(nn.Module):
    """A classifier of stacked cells.

    In training mode `forward` returns the logits and those of the auxiliary head (``None`` without one), in evaluation mode the logits.

    Args:
        genotype: its cells.
        shape: how they are stacked.
        classes: how many.
        channels_in: channels of the images.
        auxiliary: whether there is an auxiliary head.

    Raises:
        GenotypeError: the genotype names an unknown operation.
    """

    def __init__(
        self, genotype: Genotype, shape: NetworkShape = CIFAR, classes: int = 10, channels_in: int = 3, *, auxiliary: bool = False
    ) -> None:
        super().__init__()
        self.drop_path = 0.0
        """The probability with which a path is dropped in training; whoever trains the network raises it."""
        self.stem = Stem(channels_in, shape)
        before = last = self.stem.channels
        self.cells = nn.ModuleList()
        self.auxiliary_after = 2 * shape.layers // 3
        self.auxiliary_head: nn.Module | None = None
        for layer, cell_shape in enumerate(shape.cells()):
            edges, concat = (genotype.reduce, genotype.reduce_concat) if cell_shape.reduces else (genotype.normal, genotype.normal_concat)
            self.cells.append(Cell(edges, concat, cell_shape, before, last))
            before, last = last, len(concat) * cell_shape.channels
            if auxiliary and layer == self.auxiliary_after:
                self.auxiliary_head = AuxiliaryHead(last, classes, shape.stem)
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor | None]:
        """Logits of shape ``[B, classes]`` of images of shape ``[B, channels_in, H, W]``; in training also those of the auxiliary head."""
        before, last = self.stem(x)
        auxiliary = None
        for layer, cell in enumerate(self.cells):
            before, last = last, cell(before, last, self.drop_path)
            if self.training and self.auxiliary_head is not None and layer == self.auxiliary_after:
                auxiliary = self.auxiliary_head(last)
        logits: Tensor = self.classifier(F.adaptive_avg_pool2d(last, 1).flatten(1))
        return (logits, auxiliary) if self.training else logits
