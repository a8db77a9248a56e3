"""What is true of a space, found in ways that share nothing with the relaxed cost."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.relax.spaces.space import METRICS, Space, choices


@contextmanager
def held_at(supernet: nn.Module, architecture: Sequence[int]) -> Iterator[nn.Module]:
    """The supernet, in which each choice runs the one candidate of an architecture, and mixes nothing."""
    modules = list(choices(supernet).values())
    try:
        for choice in modules:
            choice.forward = choice.candidates[architecture[choice.slot]].__call__
        yield supernet
    finally:
        for choice in modules:
            vars(choice).pop("forward", None)


@dataclass(frozen=True)
class Table:
    """The costs of a space in which nothing is nested or shared, so that they add up: what each candidate costs more than the first one."""

    first: Mapping[str, int]
    """The cost of the network of all first candidates."""
    more: Mapping[str, Tensor]
    """By metric, ``[slots, candidates]``. Slots with fewer candidates are padded with zeros."""
    exists: Tensor
    """Which entries are candidates."""

    def of(self, metric: str, architectures: Tensor) -> Tensor:
        """The cost of each architecture ``[N, slots]``."""
        return self.first[metric] + self.more[metric].expand(len(architectures), -1, -1).gather(2, architectures[:, :, None]).sum((1, 2))

    def extreme(self, metric: str, sign: int) -> int:
        """The least cost for a sign of 1, the largest for -1."""
        costs = (sign * self.more[metric]).masked_fill(~self.exists, torch.iinfo(torch.int64).max)
        return self.first[metric] + sign * int(costs.min(dim=1).values.sum())

    def mean_and_variance(self, metric: str, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Of independent slots with the probabilities ``[slots, candidates]``."""
        more = self.more[metric].double()
        means = (probabilities * more).sum(1)
        return self.first[metric] + means.sum(), (probabilities * (more - means[:, None]).square()).sum()


def table(space: Space) -> Table:
    """Analyze one network for each candidate of each slot."""
    base = (0,) * len(space.sizes)
    first = space.cost(base)
    more = {metric: torch.zeros(len(base), max(space.sizes), dtype=torch.int64) for metric in METRICS}
    for slot, size in enumerate(space.sizes):
        for candidate in range(1, size):
            found = space.cost((*base[:slot], candidate, *base[slot + 1 :]))
            for metric in METRICS:
                more[metric][slot, candidate] = found[metric] - first[metric]
    return Table(first, more, torch.arange(max(space.sizes)) < torch.tensor(space.sizes)[:, None])


@functools.cache
def every_cost(build: Callable[[], Space]) -> dict[str, Tensor]:
    """Every metric of every architecture of a small space, in the order of `Space.all`, each from a network of its own."""
    space = build()
    costs = [space.cost(architecture) for architecture in space.all().tolist()]
    return {metric: torch.tensor([cost[metric] for cost in costs]) for metric in METRICS}


def weights_of_all(space: Space, probabilities: Tensor) -> Tensor:
    """How probable each architecture of a small space is, for the probabilities ``[slots, candidates]`` of its slots."""
    slots = torch.arange(len(space.sizes))
    return probabilities[slots, space.all()].prod(dim=1)


def probabilities_of(supernet: nn.Module, space: Space) -> Tensor:
    """The probabilities of each slot ``[slots, candidates]``, padded with zeros."""
    result = torch.zeros(len(space.sizes), max(space.sizes), dtype=torch.float64)
    for choice in choices(supernet).values():
        result[choice.slot, : len(choice.candidates)] = choice.probabilities().detach()
    return result


def random_probabilities(space: Space, count: int) -> Tensor:
    """Points of the simplex ``[count, slots, candidates]``, padded with zeros."""
    exists = torch.arange(max(space.sizes)) < torch.tensor(space.sizes)[:, None]
    draws = torch.rand(count, *exists.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(count)) * exists
    return draws / draws.sum(dim=2, keepdim=True)


def architecture_parameters(supernet: nn.Module) -> list[nn.Parameter]:
    """The parameters that the probabilities of the choices depend on, each once."""
    total = torch.stack([choice.probabilities().sum() for choice in choices(supernet).values()]).sum()
    parameters = list(supernet.parameters())
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    return [parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is not None]


def slope(function: Callable[[], Tensor], parameter: nn.Parameter, direction: Tensor, step: float = 1e-3) -> float:
    """The derivative of a function of no arguments when a parameter moves, by central differences of fourth order."""
    start = parameter.detach().clone()

    def at(distance: float) -> float:
        with torch.no_grad():
            parameter.copy_(start + distance * step * direction)
            return function().item()

    try:
        return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)
    finally:
        with torch.no_grad():
            parameter.copy_(start)
