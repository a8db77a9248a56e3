"""A small supernet of two choices in a row, for searches over paths."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.spaces.choice import Choice

KINDS = {"first": (1, 4), "rest": (2, 3)}


class TinyNet(nn.Module):
    """A convolution, three choices of two kinds with nonlinear candidates, and a classifier of four classes."""

    def __init__(self, width: int = 4, norm: bool = True) -> None:
        super().__init__()
        self.alphas = nn.ParameterDict({kind: nn.Parameter(torch.randn(shape)) for kind, shape in KINDS.items()})
        self.stem = nn.Conv2d(3, width, 1)

        def candidate(kernel: int) -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(width, width, kernel, padding=kernel // 2), nn.BatchNorm2d(width) if norm else nn.Identity(), nn.Tanh()
            )

        self.slots = nn.ModuleList()
        for kind, (rows, count) in KINDS.items():
            for row in range(rows):
                candidates = [candidate(1 + 2 * (number % 2)) for number in range(count - 1)]
                self.slots.append(Choice([*candidates, nn.Identity()], lambda kind=kind: self.weights()[kind], row))  # type: ignore[misc]
        self.classifier = nn.Linear(width, 4)

    def architecture(self) -> Mapping[str, nn.Parameter]:
        return dict(self.alphas.items())

    def architecture_parameters(self) -> list[nn.Parameter]:
        return list(self.alphas.values())

    def network_weights(self) -> list[nn.Parameter]:
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("alphas")]

    def weights(self) -> dict[str, Tensor]:
        return {kind: alpha.softmax(1) for kind, alpha in self.alphas.items()}

    def choices(self) -> Mapping[str, list[list[Choice]]]:
        one, two, three = self.slots
        return {"first": [[one]], "rest": [[two], [three]]}  # type: ignore[list-item]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for slot in self.slots:
            x = slot(x)
        logits: Tensor = self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


PRICES = {"first": torch.tensor([[3.0, 1.0, 7.0, 0.0]]), "rest": torch.tensor([[2.0, 5.0, 0.0], [4.0, 6.0, 0.0]])}


def cost(weights: Mapping[str, Tensor]) -> Tensor:
    """An additive cost."""
    total = torch.tensor(10.0, dtype=torch.float64)
    for kind, prices in PRICES.items():
        total = total + (weights[kind].double() * prices).sum()
    return total
