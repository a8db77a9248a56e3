"""No constraint."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from nas.objectives.objective import Stateless


@dataclass
class Unconstrained(Stateless):
    """``L``: the loss alone, whatever the cost (Liu et al. 2019, arXiv:1806.09055)."""

    def __call__(self, loss: Tensor, cost: Tensor) -> Tensor:  # noqa: ARG002  an objective is given the cost
        """The loss."""
        return loss
