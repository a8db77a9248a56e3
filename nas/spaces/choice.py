"""A choice between candidates, which any space is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from nas.relaxations.gates import Gate, Mixture


class Choice(nn.Module):
    """One of several candidates, in the sense of `flopscope.relax`: it has ``candidates`` and ``probabilities()``.

    Attributes:
        gate: how it runs; ``None`` for the mixture by its probabilities.

    Args:
        candidates: what can be chosen. All take the same input and give outputs of the same shape.
        weights: the weights of all choices of its kind, of shape ``[choices, candidates]``, as they are now.
        row: its place among them.
    """

    def __init__(self, candidates: Sequence[nn.Module], weights: Callable[[], Tensor], row: int) -> None:
        super().__init__()
        self.candidates = nn.ModuleList(candidates)
        self.row = row
        self.gate: Gate | None = None
        self._weights = weights

    def probabilities(self) -> Tensor:
        """The weight of each candidate, of shape ``[candidates]``."""
        return self._weights()[self.row]

    def forward(self, x: Tensor) -> Tensor:
        """What the gate makes of the candidates."""
        gate = self.gate if self.gate is not None else Mixture(self.probabilities())
        return gate(list(self.candidates), x)
