"""Small modules for tests of supernets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import flopscope

X = "1x4x8x8"
POSITIONS = 8 * 8


def conv(kernel: int = 3, channels: int = 4) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)


class Custom(nn.Module):
    """A choice that is not a `Choice`, with any forward and any probabilities."""

    def __init__(self, forward: Callable[..., Any], probabilities: Callable[..., Any] | None = None, count: int = 2) -> None:
        super().__init__()
        self.candidates = nn.ModuleList(conv(2 * index + 1) for index in range(count))
        self.alpha = nn.Parameter(torch.zeros(count))
        self.run = forward
        self.give = probabilities

    def probabilities(self) -> Tensor:
        return self.alpha.softmax(-1) if self.give is None else self.give(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def total(model: nn.Module, metric: str) -> int:
    return getattr(flopscope.analyze(model, X).total, metric)


def weighted_sum(choice: Any, x: Tensor) -> Tensor:
    return sum(weight * candidate(x) for weight, candidate in zip(choice.probabilities(), choice.candidates, strict=True))


def no_path(choice: Any, x: Tensor) -> Tensor:
    return x
