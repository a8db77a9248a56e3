"""What every objective is."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Objective(Protocol):
    """A total loss, made of a validation loss and an expected cost.

    An objective knows no space and no search: the cost may be any metric of any network. What it keeps between steps is a number that
    `state` gives and `restore` takes.
    """

    def __call__(self, loss: Tensor, cost: Tensor) -> Tensor:
        """The total loss, a scalar with a derivative by both."""

    def observe(self, strict_cost: float) -> None:
        """See the cost of the network that would be derived now, after a step."""

    def state(self) -> float:
        """What it keeps."""

    def restore(self, state: float) -> None:
        """Go on from there."""


class Stateless:
    """An objective that keeps nothing."""

    def observe(self, strict_cost: float) -> None:
        """Nothing follows from it."""

    def state(self) -> float:
        """Nothing."""
        return 0.0

    def restore(self, state: float) -> None:
        """Nothing to restore."""
