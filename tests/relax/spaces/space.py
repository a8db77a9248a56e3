"""What all spaces have in common.

A *slot* is one free decision of a space, as its paper numbers them: an architecture is a tuple with one candidate index for each slot.
Every choice module of a supernet says in its attribute ``slot`` which one it follows. Choices with one slot are tied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import flopscope

METRICS = ("macs", "flops", "params", "access", "access_bytes")
Architecture = tuple[int, ...]


@dataclass(frozen=True)
class Space:
    """A search space, twice: as a supernet, and as a builder of the plain network of each architecture."""

    name: str
    supernet: Callable[[], nn.Module]
    network: Callable[[Sequence[int]], nn.Module]
    sizes: tuple[int, ...]
    """How many candidates each slot has."""
    input_shape: tuple[int, ...]

    def inputs(self) -> Tensor:
        """A batch to trace the networks on."""
        return torch.zeros(self.input_shape)

    def random(self, count: int, seed: int = 0) -> Tensor:
        """Random architectures ``[count, slots]``."""
        generator = torch.Generator().manual_seed(seed)
        return torch.stack([torch.randint(size, (count,), generator=generator) for size in self.sizes], dim=1)

    def all(self) -> Tensor:
        """All architectures ``[product of the sizes, slots]``."""
        return torch.cartesian_prod(*map(torch.arange, self.sizes)).reshape(-1, len(self.sizes))

    def cost(self, architecture: Sequence[int], *, training: bool = True) -> dict[str, int]:
        """Every metric of the plain network of an architecture."""
        with flopscope.building():
            network = self.network(architecture).train(training)
        total = flopscope.analyze(network, self.inputs(), strict=True).total
        return {metric: getattr(total, metric) for metric in METRICS}


def is_choice(module: nn.Module) -> bool:
    """Whether a module is a choice, by the same words as in the documentation."""
    return isinstance(getattr(module, "candidates", None), nn.ModuleList) and callable(getattr(module, "probabilities", None))


def choices(supernet: nn.Module) -> dict[str, Any]:
    """The choice modules by path. One that has several paths stands under each."""
    return {path: module for path, module in supernet.named_modules(remove_duplicate=False) if is_choice(module)}


def slots_of(supernet: nn.Module, decisions: Sequence[Any]) -> list[int]:
    """The slot of each decision of a cost model, which may list them in any order."""
    slots = {path: module.slot for path, module in choices(supernet).items()}
    return [slots[decision.choices[0]] for decision in decisions]
