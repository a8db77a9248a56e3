"""The loss times a power of the cost."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from nas.objectives.objective import Stateless


@dataclass
class Power(Stateless):
    """``L (cost / target)^-w``, after the reward ``ACC (LAT / T)^w`` of Tan et al. 2019 (MnasNet, arXiv:1807.11626), eq. 2 and 3.

    A reward is to be large and a loss small, so the loss stands in the place of the accuracy and the exponent changes its sign.

    Attributes:
        target: a cost.
        exponent: their w, at or below zero: -0.07 where 5 % of accuracy are worth a factor of two in cost.
        only_above: whether costs below the target are as good as the target (their alpha = 0, beta = w), instead of better.
    """

    target: float
    exponent: float = -0.07
    only_above: bool = False

    def __call__(self, loss: Tensor, cost: Tensor) -> Tensor:
        """The total loss."""
        ratio = cost / self.target
        if self.only_above:
            ratio = ratio.clamp(min=1.0)
        return loss * (ratio**-self.exponent).to(loss)

    def reward(self, accuracy: float, cost: float) -> float:
        """The reward itself, for searches that need no derivative."""
        ratio = max(cost / self.target, 1.0) if self.only_above else cost / self.target
        return float(accuracy * ratio**self.exponent)
