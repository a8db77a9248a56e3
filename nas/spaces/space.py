"""What a search must know of a space, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

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


Cost = Callable[[Weights], Tensor]
"""An expected cost, as a function of the weights of candidates: a float64 scalar on the CPU."""


class Space(Protocol):
    """What can be chosen. It knows no search and no objective."""

    @property
    def operations(self) -> tuple[str, ...]:
        """The names of the candidates."""

    @property
    def edge_names(self) -> list[str]:
        """The names of the choices of each kind."""

    def supernet(self, image: tuple[int, int, int], classes: int) -> Any:
        """The network that a search trains, a module with the methods of `SuperNet`."""

    def derive(self, weights: Weights) -> Any:
        """The genotype that weights stand for."""

    def network(self, genotype: Any, image: tuple[int, int, int], classes: int, *, auxiliary: bool = False) -> nn.Module:
        """The network of a genotype, as it is trained."""
