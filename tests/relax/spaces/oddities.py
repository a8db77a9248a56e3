"""Small supernets of everything that is allowed and rare.

`SuperNet` has choices inside candidates, a candidate that two choices share, choices that share one parameter, a choice that is called
twice (at two resolutions), candidates that share a weight with each other and with a constant layer, a candidate with a parameter that no
op reads, and a choice of one candidate. `Echo` has a choice inside a candidate of another choice, and both share one parameter: they are
never independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.relax.spaces.layers import ConvBN, DilConv, ReLUConvBN, conv
from tests.relax.spaces.space import Space

WIDTH = 8
CLASSES = 10
SIZES = (3, 2, 2, 2, 2, 2, 2, 3, 1)
OUTER, INNER, INNERMOST, LEFT, RIGHT, TIED, TWICE, WEIGHTS, SINGLE = range(len(SIZES))
TIED_CHOICES = {"tied_first", "tied_second"}


class Choice(nn.Module):
    """A choice with weights of its own, or with those of another choice."""

    def __init__(self, slot: int, *candidates: nn.Module, alpha: nn.Parameter | None = None) -> None:
        super().__init__()
        self.slot = slot
        self.candidates = nn.ModuleList(candidates)
        self.alpha = nn.Parameter(0.3 * torch.randn(len(candidates))) if alpha is None else alpha

    def probabilities(self) -> Tensor:
        return torch.softmax(self.alpha, dim=0)

    def forward(self, x: Tensor) -> Tensor:
        probabilities = self.probabilities()
        mixed = probabilities[0] * self.candidates[0](x)
        for index in range(1, len(self.candidates)):
            mixed = torch.add(mixed, probabilities[index] * self.candidates[index](x))
        return mixed


class Spare(ConvBN):
    """A layer with a parameter that no op reads. It counts all the same, wherever the layer is part of a network."""

    def __init__(self) -> None:
        super().__init__(WIDTH, WIDTH, 5)
        self.spare = nn.Parameter(torch.zeros(7))


def conv_with(weight: nn.Parameter) -> nn.Conv2d:
    """A 3x3 convolution with the weight of another one."""
    layer = conv(WIDTH, WIDTH, 3)
    layer.weight = weight
    return layer


class SuperNet(nn.Module):
    """All oddities in a row, between constant layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBN(3, WIDTH, 3)
        self.constant = conv(WIDTH, WIDTH, 3)
        innermost = Choice(INNERMOST, nn.Identity(), ReLUConvBN(WIDTH, WIDTH, 3))
        inner = Choice(INNER, nn.AvgPool2d(3, 1, 1), nn.Sequential(ConvBN(WIDTH, WIDTH, 1), innermost))
        self.outer = Choice(OUTER, nn.Identity(), nn.Sequential(ReLUConvBN(WIDTH, WIDTH, 1), inner), ConvBN(WIDTH, WIDTH, 3))
        shared = ConvBN(WIDTH, WIDTH, 3)
        self.left = Choice(LEFT, nn.Identity(), shared)
        self.right = Choice(RIGHT, shared, nn.MaxPool2d(3, 1, 1))
        self.tied_first = Choice(TIED, nn.ReLU(), ConvBN(WIDTH, WIDTH, 3))
        self.tied_second = Choice(TIED, ConvBN(WIDTH, WIDTH, 1), nn.Identity(), alpha=self.tied_first.alpha)
        self.twice = Choice(TWICE, Spare(), DilConv(WIDTH, 3, 1))
        first = conv(WIDTH, WIDTH, 3)
        self.weights = Choice(WEIGHTS, first, nn.Sequential(nn.ReLU(), conv_with(first.weight)), conv_with(self.constant.weight))
        self.single = Choice(SINGLE, ConvBN(WIDTH, WIDTH, 1))
        self.classifier = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.outer(self.constant(self.stem(x)))
        x = self.left(x) + self.right(x)
        x = self.twice(self.tied_second(self.tied_first(x)))
        x = self.twice(nn.functional.max_pool2d(x, 2))
        x = self.single(self.weights(x))
        return self.classifier(x.mean(dim=(2, 3)))


def _outer(architecture: Sequence[int]) -> list[nn.Module]:
    match architecture[OUTER], architecture[INNER], architecture[INNERMOST]:
        case 0, _, _:
            return []
        case 2, _, _:
            return [ConvBN(WIDTH, WIDTH, 3)]
        case 1, 0, _:
            return [ReLUConvBN(WIDTH, WIDTH, 1), nn.AvgPool2d(3, 1, 1)]
        case 1, 1, 0:
            return [ReLUConvBN(WIDTH, WIDTH, 1), ConvBN(WIDTH, WIDTH, 1)]
    return [ReLUConvBN(WIDTH, WIDTH, 1), ConvBN(WIDTH, WIDTH, 1), ReLUConvBN(WIDTH, WIDTH, 3)]


class Sum(nn.Module):
    """The sum of two branches."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) + self.right(x)


class Mean(nn.Module):
    """The mean over all pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def network(architecture: Sequence[int]) -> nn.Module:
    """The plain network of an architecture."""
    constant = conv(WIDTH, WIDTH, 3)
    shared = ConvBN(WIDTH, WIDTH, 3)
    branches = Sum(shared if architecture[LEFT] else nn.Identity(), nn.MaxPool2d(3, 1, 1) if architecture[RIGHT] else shared)
    tied = [ConvBN(WIDTH, WIDTH, 3)] if architecture[TIED] else [nn.ReLU(), ConvBN(WIDTH, WIDTH, 1)]
    twice = DilConv(WIDTH, 3, 1) if architecture[TWICE] else Spare()
    last = conv_with(constant.weight) if architecture[WEIGHTS] == 2 else conv(WIDTH, WIDTH, 3)
    return nn.Sequential(
        ConvBN(3, WIDTH, 3),
        constant,
        *_outer(architecture),
        branches,
        *tied,
        twice,
        nn.MaxPool2d(2),
        twice,
        *([nn.ReLU()] if architecture[WEIGHTS] == 1 else []),
        last,
        ConvBN(WIDTH, WIDTH, 1),
        Mean(),
        nn.Linear(WIDTH, CLASSES),
    )


def space() -> Space:
    """The space of all oddities but the echo."""
    return Space("oddities", SuperNet, network, SIZES, (1, 3, 16, 16))


class Echo(nn.Module):
    """A choice inside a candidate of a choice, with one parameter for both."""

    def __init__(self) -> None:
        super().__init__()
        alpha = nn.Parameter(torch.randn(2))
        inner = Choice(0, nn.MaxPool2d(3, 1, 1), ConvBN(WIDTH, WIDTH, 3), alpha=alpha)
        self.outer = Choice(0, ConvBN(3, WIDTH, 1), nn.Sequential(ConvBN(3, WIDTH, 3), inner), alpha=alpha)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(x)


def echo_network(architecture: Sequence[int]) -> nn.Module:
    """The plain network. No pooling is ever in it."""
    return nn.Sequential(ConvBN(3, WIDTH, 3), ConvBN(WIDTH, WIDTH, 3)) if architecture[0] else ConvBN(3, WIDTH, 1)


def echo() -> Space:
    """The space of the echo."""
    return Space("echo", Echo, echo_network, (2,), (1, 3, 16, 16))
