"""What a search must know of a space, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from nas.spaces.choice import Choice

Weights = Mapping[str, Tensor]
"""The weights of candidates by the kind of choice, each of shape ``[choices, candidates]``, rows on the simplex."""


class SuperNet(Protocol):
    """A network that holds all candidates of every choice."""

    def __call__(self, x: Tensor) -> Tensor:
        """Logits of shape ``[B, classes]`` of images."""

    def architecture_parameters(self) -> list[nn.Parameter]:
        """What a search moves."""

    def network_weights(self) -> list[nn.Parameter]:
        """What training moves."""

    def weights(self) -> dict[str, Tensor]:
        """The weights of the candidates, with a derivative by the architecture parameters."""


class PathNet(SuperNet, Protocol):
    """A supernet that can run one path alone."""

    def architecture(self) -> Mapping[str, nn.Parameter]:
        """The architecture parameters by the kind of choice, each of shape ``[choices, candidates]``; probabilities are their softmax."""

    def choices(self) -> Mapping[str, Sequence[Sequence[Choice]]]:
        """By kind, for each row the choices that follow it: several where cells share parameters."""

    def modules(self) -> Iterator[nn.Module]:
        """All modules."""


Cost = Callable[[Weights], Tensor]
"""An expected cost, as a function of the weights of candidates: a float64 scalar."""
