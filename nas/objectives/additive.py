"""The loss plus a multiple of the cost."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from nas.objectives.objective import Stateless


@dataclass
class Additive(Stateless):
    """``L + weight cost``: Cai et al. 2019 (ProxylessNAS, arXiv:1812.00332), eq. 7 with its lambda2.

    Attributes:
        weight: loss per unit of the cost.
    """

    weight: float

    def __call__(self, loss: Tensor, cost: Tensor) -> Tensor:
        """The total loss."""
        return loss + self.weight * cost.to(loss)


@dataclass
class Relative(Stateless):
    """``L + weight (cost - reference) / reference``: ``add#linear`` of the code of Cai et al. 2019 (ProxylessNAS).

    Attributes:
        weight: loss at twice the reference.
        reference: a cost.
    """

    weight: float
    reference: float

    def __call__(self, loss: Tensor, cost: Tensor) -> Tensor:
        """The total loss."""
        return loss + self.weight * (cost / self.reference - 1).to(loss)


@dataclass
class Absolute(Stateless):
    """``L + weight |cost / target - 1|``: Bender et al. 2020 (TuNAS, arXiv:2008.06120), eq. 3, as a loss.

    Attributes:
        weight: loss at twice the target, and at none of it.
        target: a cost.
    """

    weight: float
    target: float

    def __call__(self, loss: Tensor, cost: Tensor) -> Tensor:
        """The total loss."""
        return loss + self.weight * (cost / self.target - 1).abs().to(loss)
