"""NAS-Bench-Macro (Su et al. 2021, arXiv:2103.11922): eight layers in a row with three operations, for CIFAR-10.

The published FLOPs are the multiply-accumulates of convolutions and of the classifier, without bias: `macs`. The published parameters are
all parameters, with scale and shift of each batch norm and the bias of the classifier: `params`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.relax.spaces.layers import ConvBN, ConvBNReLU6, MBConv, steps
from tests.relax.spaces.space import Space

STEM, HEAD, CLASSES = 32, 1280, 10
STAGES = ((64, 2, 2), (128, 3, 2), (256, 3, 2))
"""Width, layers and stride of the first layer."""


class Layer(nn.Module):
    """A choice that holds no parameter itself: it asks a function for its scores. Its probabilities are no softmax."""

    def __init__(self, c_in: int, c_out: int, stride: int, scores: Callable[[], Tensor], slot: int) -> None:
        super().__init__()
        self.scores, self.slot = scores, slot
        skip = nn.Identity() if stride == 1 and c_in == c_out else ConvBN(c_in, c_out, 1, stride)
        self.candidates = nn.ModuleList([skip, MBConv(c_in, c_out, 3, 3, stride), MBConv(c_in, c_out, 5, 6, stride)])

    def probabilities(self) -> Tensor:
        squares = self.scores().square()
        return squares / squares.sum()

    def forward(self, x: Tensor) -> Tensor:
        outputs = torch.stack([candidate(x) for candidate in self.candidates])
        return (outputs * self.probabilities().view(-1, 1, 1, 1, 1)).sum(dim=0)


class SuperNet(nn.Module):
    """The chain with a choice in each layer. One parameter holds the scores of all layers."""

    def __init__(self) -> None:
        super().__init__()
        shapes = steps(STEM, STAGES)
        self.scores = nn.Parameter(1 + torch.rand(len(shapes), 3))
        self.stem = ConvBNReLU6(3, STEM, 3)
        self.layers = nn.Sequential(*(Layer(*shape, self._scores_of(slot), slot) for slot, shape in enumerate(shapes)))
        self.head = ConvBNReLU6(STAGES[-1][0], HEAD, 1)
        self.classifier = nn.Linear(HEAD, CLASSES)

    def _scores_of(self, slot: int) -> Callable[[], Tensor]:
        return lambda: self.scores[slot]

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.layers(self.stem(x)))
        return self.classifier(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def network(architecture: Sequence[int]) -> nn.Module:
    """The plain network of eight digits."""
    layers: list[nn.Module] = [ConvBNReLU6(3, 32, 3)]
    width = 32
    for layer, digit in enumerate(architecture):
        target = 64 if layer < 2 else 128 if layer < 5 else 256
        stride = 2 if layer in (0, 2, 5) else 1
        if digit:
            layers.append(MBConv(width, target, {1: 3, 2: 5}[digit], 3 * digit, stride))
        elif target != width:
            layers.append(ConvBN(width, target, 1, stride))
        width = target
    return nn.Sequential(*layers, ConvBNReLU6(256, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 10))


def space() -> Space:
    """The space."""
    return Space("NAS-Bench-Macro", SuperNet, network, (3,) * 8, (1, 3, 32, 32))


def published(data: Path) -> tuple[Tensor, dict[str, Tensor]]:
    """All 6,561 architectures, and their published parameters and MACs."""
    rows = json.loads((data / "nas" / "nasbench_macro.json").read_text())
    architectures = torch.tensor([[int(digit) for digit in key] for key in rows])
    columns = {"params": "params", "macs": "flops"}
    return architectures, {metric: torch.tensor([row[column] for row in rows.values()]) for metric, column in columns.items()}
