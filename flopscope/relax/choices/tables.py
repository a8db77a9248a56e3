"""What decisions cost together: the pieces whose sum is the cost of an architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from flopscope.errors import SupernetError

MOST_ENTRIES = 2**20
"""A table with more entries than this is not written out."""

Literals = frozenset[tuple[int, int]]
"""Decisions and the candidates that they must take, all of them, for something to be there."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A cost for each combination of what a few decisions take."""

    decisions: tuple[int, ...]
    values: Tensor
    """Counts, int64, of shape ``[metrics, candidates of the first decision, ...]``."""

    def at(self, metric: int, architectures: Tensor) -> Tensor:
        """The counts at architectures given as indices ``[N, D]``: int64 of shape ``[N]``."""
        values = self.values[metric]
        position = torch.zeros_like(architectures[:, 0])
        for decision, size in zip(self.decisions, values.shape, strict=True):
            position = position * size + architectures[:, decision]
        return values.flatten()[position]

    def expected(self, metric: int, probabilities: Tensor) -> Tensor:
        """The expected counts under probabilities ``[..., D, K]``, of shape ``[...]``."""
        values = self.values[metric].to(probabilities.dtype)
        first, *others = (probabilities[..., decision, :size] for decision, size in zip(self.decisions, values.shape, strict=True))
        found = first @ values.flatten(1) if others else first @ values
        for following in others:
            found = (following.unsqueeze(-1) * found.unflatten(-1, (following.shape[-1], -1))).sum(-2)
        return found.squeeze(-1) if others else found

    def to(self, device: torch.device) -> Table:
        """The same on another device."""
        return Table(self.decisions, self.values.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """A cost that is there as soon as one of many decisions takes a candidate that needs it, such as a weight that many choices share."""

    decisions: tuple[int, ...]
    needs: tuple[Tensor, ...]
    """Of each decision which candidates need it, bool of shape ``[candidates]``."""
    amounts: Tensor
    """Counts, int64, of shape ``[metrics]``."""

    def at(self, metric: int, architectures: Tensor) -> Tensor:
        """As `Table.at`."""
        pairs = zip(self.decisions, self.needs, strict=True)
        needed = torch.stack([needs[architectures[:, decision]] for decision, needs in pairs]).any(0)
        return needed * self.amounts[metric]

    def expected(self, metric: int, probabilities: Tensor) -> Tensor:
        """As `Table.expected`."""
        absent = torch.ones((), dtype=probabilities.dtype, device=probabilities.device)
        for decision, needs in zip(self.decisions, self.needs, strict=True):
            absent = absent * (probabilities[..., decision, : len(needs)] * ~needs).sum(-1)
        return self.amounts[metric] * (1 - absent)

    def to(self, device: torch.device) -> Shared:
        """The same on another device."""
        return Shared(self.decisions, tuple(needs.to(device) for needs in self.needs), self.amounts.to(device))


def tables_of(counts: Mapping[frozenset[Literals], Sequence[int]], sizes: Sequence[int]) -> tuple[list[int], list[Table | Shared]]:
    """Counts that do not depend on any decision, and tables for the others.

    Args:
        counts: per set of alternatives (any one of which makes something be there), its counts by metric.
        sizes: how many candidates each decision has.

    Raises:
        SupernetError: something depends on more decisions at once than a table can hold.
    """
    metrics = len(next(iter(counts.values()), ()))
    constant = [0] * metrics
    dense: dict[tuple[int, ...], Tensor] = {}
    shared: list[Table | Shared] = []
    for alternatives, amounts in counts.items():
        if frozenset() in alternatives:
            constant = [known + amount for known, amount in zip(constant, amounts, strict=True)]
            continue
        decisions = tuple(sorted({decision for literals in alternatives for decision, _ in literals}))
        shape = [sizes[decision] for decision in decisions]
        if prod(shape) > MOST_ENTRIES:
            shared.append(_shared(decisions, alternatives, amounts, sizes))
            continue
        values = dense.setdefault(decisions, torch.zeros(metrics, *shape, dtype=torch.int64))
        values += torch.tensor(amounts, dtype=torch.int64).view(-1, *[1] * len(shape)) * _present(decisions, alternatives, shape)
    return constant, [*(Table(decisions, values) for decisions, values in sorted(dense.items(), key=lambda item: item[0])), *shared]


def _present(decisions: tuple[int, ...], alternatives: frozenset[Literals], shape: Sequence[int]) -> Tensor:
    """Where in a table at least one alternative holds."""
    present = torch.zeros(*shape, dtype=torch.bool)
    for literals in alternatives:
        wanted = dict(literals)
        present[tuple(wanted.get(decision, slice(None)) for decision in decisions)] = True
    return present


def _shared(decisions: tuple[int, ...], alternatives: frozenset[Literals], amounts: Sequence[int], sizes: Sequence[int]) -> Shared:
    if any(len(literals) > 1 for literals in alternatives):
        raise SupernetError(
            f"a weight is shared between nested candidates of {len(decisions)} decisions, which are more combinations than can be listed. "
            "Share it between fewer choices."
        )
    needs = tuple(torch.zeros(sizes[decision], dtype=torch.bool) for decision in decisions)
    for literals in alternatives:
        for decision, candidate in literals:
            needs[decisions.index(decision)][candidate] = True
    return Shared(decisions, needs, torch.tensor(list(amounts), dtype=torch.int64))
