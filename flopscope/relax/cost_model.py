"""The cost of every architecture of a supernet, as a function of its architecture parameters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from flopscope.cost import METRICS
from flopscope.errors import InputError, OptionError, SupernetError
from flopscope.relax.decisions import Decision, check_simplex, probabilities_of
from flopscope.relax.elimination import Factor, extreme, moments
from flopscope.relax.tables import Literals, Shared, Table, tables_of

_FORMAT = "flopscope cost model 1"


@dataclass(frozen=True, slots=True)
class Part:
    """What one candidate of one choice costs by itself, without the choices inside it.

    A part without a choice belongs to every architecture,
    one with several alternatives is there if any of them is taken (a weight that candidates share).
    """

    alternatives: tuple[tuple[tuple[str, int], ...], ...]
    """Each alternative: the paths of the choices and the candidates that they must take, from the outermost."""
    literals: frozenset[Literals]
    """The same, as decisions."""
    counts: tuple[int, ...]
    """By metric, in the order of `METRICS`."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one candidate adds to the expected cost. Constants have no choice and no candidate."""

    choice: str
    """The path of the choice; empty for what lies outside every choice."""
    candidate: int | None
    name: str
    cost: int
    """What it costs when it is taken, without the choices inside it."""
    probability: float
    """That it is taken, and everything around it."""
    expected: float
    """``cost * probability``. These add up to the expected cost."""


@dataclass(frozen=True, slots=True)
class Vertex:
    """One architecture and its cost."""

    value: int
    architecture: tuple[int, ...]
    """The index of the candidate that each decision takes."""


class CostModel:
    """The cost of a supernet, as a function of the probabilities of its choices; `flopscope.relax.cost_model` makes one.

    With the decisions drawn independently by their probabilities, ``model("macs")`` is the expected cost of the network that they describe:
    a scalar tensor with a derivative by the architecture parameters. Where every probability is 0 or 1 it is the cost of that one network.

    Attributes:
        decisions: what an architecture decides, in the order in which architectures list it.
        partial: whether ops were not counted, so that all costs are lower bounds.
        notes: what a reader of any cost must know.
    """

    def __init__(self, name: str, decisions: Sequence[Decision], parts: Sequence[Part], notes: Sequence[str], *, partial: bool) -> None:
        self.name = name
        self.decisions = list(decisions)
        self.notes = list(notes)
        self.partial = partial
        self._parts = list(parts)
        self._choices: list[tuple[str, nn.Module]] = []
        self._build()

    def _build(self) -> None:
        self._device = torch.device("cpu")
        self._sizes = [len(decision.candidates) for decision in self.decisions]
        counts: dict[frozenset[Literals], list[int]] = {}
        for part in self._parts:
            known = counts.setdefault(part.literals, [0] * len(METRICS))
            counts[part.literals] = [one + other for one, other in zip(known, part.counts, strict=True)]
        self._constants, self._tables = tables_of(counts, self._sizes)
        singles = torch.zeros(len(METRICS), len(self._sizes), max(self._sizes), dtype=torch.int64)
        for table in self._tables:
            if len(table.decisions) == 1 and isinstance(table, Table):
                singles[:, table.decisions[0], : table.values.shape[1]] += table.values
        self._singles = singles
        """By metric, decision and candidate (padded with zeros): what depends on one decision alone."""
        self._joint = [table for table in self._tables if len(table.decisions) > 1 or not isinstance(table, Table)]

    # -- the cost -------------------------------------------------------------------------------------------

    def __call__(self, metric: str = "macs", architectures: Tensor | Sequence[int] | None = None) -> Tensor:
        """The cost of architectures.

        Args:
            metric: ``"macs"``, ``"flops"``, ``"params"``, ``"access"`` or ``"access_bytes"``.
            architectures: by default the probabilities that the choices give now. Else either integers of shape ``[D]`` or ``[N, D]``,
                the index of the candidate that each of the D `decisions` takes; or probabilities of shape ``[D, K]`` or ``[N, D, K]``,
                where K is the largest number of candidates and rows with fewer end in zeros.

        Returns:
            For integers exact int64 counts, else float64 (float32 on devices that have no doubles), of shape ``[]`` or ``[N]``.

        Raises:
            OptionError: there is no such metric.
            InputError: the architectures have a wrong shape, an index out of range, or rows that do not sum to one.
            SupernetError: the choices give no probabilities, or the model has no choices attached.
        """
        position = _position_of(metric)
        given = self.probabilities() if architectures is None else torch.as_tensor(architectures)
        if given.device != self._device:
            raise InputError(
                f"the architectures are on {given.device} and the cost model is on {self._device}; move it: model.to({str(given.device)!r})"
            )
        if given.is_floating_point():
            return self._expected(position, given if architectures is None else self._checked_rows(given))
        return self._at(position, self._checked_indices(given))

    def _expected(self, metric: int, probabilities: Tensor) -> Tensor:
        probabilities = probabilities.to(_precision(probabilities.device))
        weights = self._singles[metric].to(probabilities.dtype)
        total = probabilities.flatten(-2) @ weights.flatten() + self._constants[metric]
        for table in self._joint:
            total = total + table.expected(metric, probabilities)
        return total

    def _at(self, metric: int, architectures: Tensor) -> Tensor:
        rows = architectures.view(-1, len(self.decisions))
        offsets = torch.arange(len(self.decisions), device=rows.device) * self._singles.shape[-1]
        total = self._singles[metric].flatten()[rows + offsets].sum(-1) + self._constants[metric]
        for table in self._joint:
            total = total + table.at(metric, rows)
        return total.view(architectures.shape[:-1])

    def _checked_indices(self, given: Tensor) -> Tensor:
        count = len(self.decisions)
        if given.dim() not in (1, 2) or given.shape[-1] != count or given.dtype == torch.bool:
            raise InputError(
                f"architectures as indices must be integers of the shape [{count}] or [N, {count}], but are {_described(given)}"
            )
        sizes = torch.tensor(self._sizes, device=given.device)
        wrong = (given < 0) | (given >= sizes)
        if bool(wrong.any()):
            decision = int(wrong.view(-1, count).nonzero()[0, 1])
            found = int(given[wrong][0])
            raise InputError(f"decision {decision} has the candidates 0 to {self._sizes[decision] - 1}, but an architecture takes {found}")
        return given.long()

    def _checked_rows(self, given: Tensor) -> Tensor:
        shape = self._singles.shape[1:]
        if given.dim() not in (2, 3) or given.shape[-2:] != shape:
            wanted = f"[{shape[0]}, {shape[1]}] or [N, {shape[0]}, {shape[1]}]"
            raise InputError(f"architectures as probabilities must have the shape {wanted}, but are {_described(given)}")
        for decision, size in enumerate(self._sizes):
            if size < shape[1] and bool(given[..., decision, size:].any()):
                raise InputError(f"decision {decision} has {size} candidates, so its probabilities must end in {shape[1] - size} zeros")
        try:
            check_simplex(given, lambda row: f"decision {row[-1]}" + (f" in architecture {row[0]}" if len(row) > 1 else ""))
        except SupernetError as error:
            raise InputError(str(error)) from None
        return given

    # -- the choices ----------------------------------------------------------------------------------------

    def attach(self, supernet: nn.Module) -> CostModel:
        """Take the probabilities from the choices of this supernet from now on. A model that was loaded needs it.

        Raises:
            SupernetError: the supernet lacks a choice, or one has another number of candidates.
        """
        modules = dict(supernet.named_modules())
        found = []
        for decision in self.decisions:
            path = decision.choices[0]
            module = modules.get(path)
            count = len(getattr(module, "candidates", ()))
            if module is None or count != len(decision.candidates):
                what = f"it has {count}" if module is not None and count else "there is no such choice"
                raise SupernetError(f"the cost model needs a choice {path!r} with {len(decision.candidates)} candidates, but {what}")
            found.append((path, module))
        self._choices = found
        return self

    def probabilities(self) -> Tensor:
        """The probabilities that the choices give now, of shape ``[D, K]``: rows with fewer than K candidates end in zeros.

        Raises:
            SupernetError: they do not sum to one or have a wrong length, or no supernet is attached.
        """
        if not self._choices:
            raise SupernetError(
                "this cost model was loaded or copied, and has no supernet that gives probabilities; use model.attach(supernet), or "
                "give architectures"
            )
        longest = max(self._sizes)
        rows = [probabilities_of(module, path, size) for (path, module), size in zip(self._choices, self._sizes, strict=True)]
        padded = torch.stack([row if len(row) == longest else pad(row, (0, longest - len(row))) for row in rows])
        check_simplex(padded, lambda row: f"the choice {self._choices[row[0]][0]!r}")
        return padded

    # -- more than the expectation --------------------------------------------------------------------------

    def variance(self, metric: str = "macs", probabilities: Tensor | None = None) -> Tensor:
        """The variance of the cost, with the decisions drawn independently: a scalar tensor with a derivative.

        Args:
            metric: as for the cost itself.
            probabilities: of shape ``[D, K]``; by default those that the choices give now.

        Raises:
            SupernetError: too many decisions depend on each other.
        """
        position = _position_of(metric)
        given = self.probabilities() if probabilities is None else self._checked_rows(probabilities)
        given = given.to(_precision(given.device))
        factors = [Factor(factor.decisions, factor.values.to(given.dtype)) for factor in self._factors(position)]
        return moments(factors, [row[:size] for row, size in zip(given, self._sizes, strict=True)])[1]

    def minimum(self, metric: str = "macs") -> Vertex:
        """The cheapest architecture of the space. Raises as `variance` does."""
        return self._extreme(metric, largest=False)

    def maximum(self, metric: str = "macs") -> Vertex:
        """The most expensive architecture of the space. Raises as `variance` does."""
        return self._extreme(metric, largest=True)

    def most_likely(self, metric: str = "macs") -> Vertex:
        """The architecture that takes the most likely candidate of each decision, the first of equals."""
        architecture = self.probabilities().detach().argmax(-1)
        return Vertex(int(self(metric, architecture)), tuple(architecture.tolist()))

    def _extreme(self, metric: str, *, largest: bool) -> Vertex:
        position = _position_of(metric)
        factors = [Factor(factor.decisions, factor.values.cpu()) for factor in self._factors(position)]
        value, architecture = extreme(factors, len(self.decisions), largest=largest)
        return Vertex(value + self._constants[position], architecture)

    def _factors(self, metric: int) -> list[Factor]:
        for table in self._tables:
            if isinstance(table, Shared) and table.amounts[metric]:
                raise SupernetError(
                    f"weights are shared by {len(table.decisions)} decisions, which are too many combinations to list. The expected "
                    f"{METRICS[metric]} "
                    "and those of given architectures are still exact."
                )
        return [Factor(table.decisions, table.values[metric]) for table in self._tables if isinstance(table, Table)]

    def contributions(self, metric: str = "macs") -> list[Contribution]:
        """Which choice and which candidate cost how much, at the probabilities that the choices give now.

        The expected costs of the rows add up to ``model(metric)``. A row that several candidates share has their paths in its name.
        """
        position = _position_of(metric)
        given = self.probabilities().detach().to(torch.float64).cpu()
        names = {path: decision.candidates for decision in self.decisions for path in decision.choices}
        rows = []
        for part in self._parts:
            _, tables = tables_of({part.literals: [1]}, self._sizes)
            probability = float(tables[0].expected(0, given)) if tables else 1.0
            cost = part.counts[position]
            if len(part.alternatives) > 1:
                shared = " or ".join(sorted(f"{path}[{candidate}]" for *_, (path, candidate) in part.alternatives))
                rows.append(Contribution("", None, f"shared by {shared}", cost, probability, cost * probability))
            elif part.alternatives[0]:
                path, candidate = part.alternatives[0][-1]
                rows.append(Contribution(path, candidate, names[path][candidate], cost, probability, cost * probability))
            else:
                rows.append(Contribution("", None, "outside every choice", cost, probability, cost * probability))
        return rows

    # -- keeping it -----------------------------------------------------------------------------------------

    def to(self, device: torch.device | str) -> CostModel:
        """Move the model, in place, to the device on which the architecture parameters are."""
        device = torch.device(device)
        self._tables = [table.to(device) for table in self._tables]
        self._joint = [table for table in self._tables if len(table.decisions) > 1 or not isinstance(table, Table)]
        self._singles = self._singles.to(device)
        self._device = self._singles.device
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a JSON file, without the supernet.

        Raises:
            OptionError: the file cannot be written.
        """
        import json

        content = {
            "format": _FORMAT,
            "name": self.name,
            "metrics": METRICS,
            "decisions": [asdict(decision) for decision in self.decisions],
            "parts": [
                [part.alternatives, [sorted(map(list, literals)) for literals in part.literals], part.counts] for part in self._parts
            ],
            "notes": self.notes,
            "partial": self.partial,
        }
        try:
            Path(path).write_text(json.dumps(content), encoding="utf-8")
        except OSError as error:
            raise OptionError(f"cannot write the cost model to {path}: {error.strerror or error}") from error

    @staticmethod
    def load(path: str | os.PathLike[str]) -> CostModel:
        """Read a model that `save` wrote. It knows the cost of every architecture; `attach` gives it probabilities.

        Raises:
            OptionError: the file cannot be read, or is no cost model.
        """
        import json

        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["format"] != _FORMAT or tuple(content["metrics"]) != METRICS:
                raise OptionError(f"{path} was written by a version of flopscope that this one cannot read")
            decisions = [Decision(tuple(entry["choices"]), tuple(entry["candidates"])) for entry in content["decisions"]]
            parts = [_part_from(*entry) for entry in content["parts"]]
            return CostModel(content["name"], decisions, parts, content["notes"], partial=content["partial"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OptionError(f"{path} is no cost model that can be read: {type(error).__name__}: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles hold no supernet."""
        return {**self.__dict__, "_choices": []}

    def __repr__(self) -> str:
        return f"<CostModel of {self.name}: {len(self.decisions)} decisions, {len(self._parts)} parts>"


def _part_from(alternatives: Any, literals: Any, counts: Any) -> Part:
    return Part(
        tuple(tuple((str(path), int(candidate)) for path, candidate in chain) for chain in alternatives),
        frozenset(frozenset((int(decision), int(candidate)) for decision, candidate in members) for members in literals),
        tuple(int(count) for count in counts),
    )


def _position_of(metric: str) -> int:
    if metric not in METRICS:
        raise OptionError(f"there is no metric {metric!r}; there are {', '.join(METRICS)}")
    return METRICS.index(metric)


def _precision(device: torch.device) -> torch.dtype:
    """Counts are exact in double precision up to 2^53."""
    return torch.float32 if device.type == "mps" else torch.float64


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
