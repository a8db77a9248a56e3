"""A budget that must be met."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Budget:
    """``L + multiplier (cost / target - 1)``, with the multiplier found by dual ascent.

    The Lagrangian of: minimise L subject to cost <= target (Platt & Barr 1987, "Constrained differential optimization"). The gradient goes
    through the expected cost; the multiplier rises while the network that would be derived now (which is what the budget is about) costs
    more than the target, and falls, down to nothing, while it costs less (the proxy constraints of Cotter et al. 2019, arXiv:1804.06500).

    Attributes:
        target: the budget.
        rate: by how much the multiplier rises in a step at twice the target.
        multiplier: the loss that exceeding the target by all of it costs now.
    """

    target: float
    rate: float = 0.1
    multiplier: float = 0.0

    def __call__(self, loss: Tensor, cost: Tensor) -> Tensor:
        """The Lagrangian."""
        return loss + self.multiplier * (cost / self.target - 1).to(loss)

    def observe(self, strict_cost: float) -> None:
        """One step of dual ascent."""
        self.multiplier = max(0.0, self.multiplier + self.rate * (strict_cost / self.target - 1))

    def state(self) -> float:
        """The multiplier."""
        return self.multiplier

    def restore(self, state: float) -> None:
        """Go on from this multiplier."""
        self.multiplier = state
