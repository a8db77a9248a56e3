"""A chain of MBConv blocks, each with its own weights, as in ProxylessNAS (Cai et al. 2019, arXiv:1812.00332)."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tests.relax.spaces.layers import ConvBNReLU6, MBConv, steps
from tests.relax.spaces.space import Space

KINDS = tuple(itertools.product((3, 5, 7), (3, 6)))
"""Kernel and expansion of the candidates. A block that changes no shape can also be left out, which is its last candidate."""
Stages = tuple[tuple[int, int, int], ...]
STAGES: Stages = ((24, 2, 2), (40, 3, 2), (80, 2, 1))
"""Width, blocks and stride of the first block."""
STEM = 16


class StraightThrough(torch.autograd.Function):
    """Binary gates: one of two is open, and the gradient of the gates is taken for that of their probabilities."""

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, chosen: int) -> Tensor:
        gates = torch.zeros_like(probabilities)
        gates[chosen] = 1
        return gates

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class Block(nn.Module):
    """A choice with a forward of four modes.

    ``sum`` runs all candidates, ``sampled`` one of them, drawn from the probabilities, ``gates`` two of them behind binary gates, and
    ``uniform`` one that Python draws, so that no tensor tells that there was a choice.
    """

    def __init__(self, c_in: int, c_out: int, stride: int, slot: int, mode: str) -> None:
        super().__init__()
        self.slot, self.mode = slot, mode
        self.candidates = nn.ModuleList(MBConv(c_in, c_out, kernel, expansion, stride) for kernel, expansion in KINDS)
        if stride == 1 and c_in == c_out:
            self.candidates.append(nn.Identity())
        self.alpha = nn.Parameter(0.1 * torch.randn(len(self.candidates)))

    def probabilities(self) -> Tensor:
        return self.alpha.softmax(dim=0)

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, f"_{self.mode}")(x)

    def _sum(self, x: Tensor) -> Tensor:
        return torch.einsum("k,k...->...", self.probabilities(), torch.stack([candidate(x) for candidate in self.candidates]))

    def _sampled(self, x: Tensor) -> Tensor:
        return self.candidates[int(torch.multinomial(self.probabilities(), 1).item())](x)

    def _uniform(self, x: Tensor) -> Tensor:
        return random.choice(list(self.candidates))(x)

    def _gates(self, x: Tensor) -> Tensor:
        pair = torch.multinomial(self.probabilities(), 2)
        probabilities = self.alpha[pair].softmax(dim=0)
        is_open = int(torch.multinomial(probabilities, 1).item())
        gates = StraightThrough.apply(probabilities, is_open)
        outputs = [self.candidates[index](x) for index in pair.tolist()]
        outputs[1 - is_open] = outputs[1 - is_open].detach()
        return gates[0] * outputs[0] + gates[1] * outputs[1]


class SuperNet(nn.Module):
    """The chain with a choice in each block."""

    def __init__(self, stages: Stages = STAGES, mode: str = "sum", classes: int = 10) -> None:
        super().__init__()
        self.stem = ConvBNReLU6(3, STEM, 3, 2)
        self.blocks = nn.Sequential(*(Block(*shape, slot, mode) for slot, shape in enumerate(steps(STEM, stages))))
        self.head = ConvBNReLU6(stages[-1][0], 2 * stages[-1][0], 1)
        self.classifier = nn.Linear(2 * stages[-1][0], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.head(self.blocks(self.stem(x))).mean(dim=(2, 3)))


class Network(nn.Module):
    """The plain network of an architecture."""

    def __init__(self, architecture: Sequence[int], stages: Stages = STAGES, classes: int = 10) -> None:
        super().__init__()
        chosen = iter(architecture)
        width = STEM
        self.layers = nn.ModuleList([ConvBNReLU6(3, width, 3, 2)])
        for target, blocks, stride in stages:
            for block in range(blocks):
                index = next(chosen)
                if index < 6:
                    kernel, expansion = 3 + 2 * (index // 2), 3 + 3 * (index % 2)
                    self.layers.append(MBConv(width, target, kernel, expansion, stride if block == 0 else 1))
                width = target
        self.layers.append(ConvBNReLU6(width, 2 * width, 1))
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.classifier(x.mean(dim=(2, 3)))


def space(stages: Stages = STAGES, mode: str = "sum", resolution: int = 64) -> Space:
    """The space, of any stages, mode of the forward and resolution."""
    return Space(
        f"MBConv {mode}",
        functools.partial(SuperNet, stages, mode),
        functools.partial(Network, stages=stages),
        tuple(6 + (stride == 1 and c_in == c_out) for c_in, c_out, stride in steps(STEM, stages)),
        (1, 3, resolution, resolution),
    )
