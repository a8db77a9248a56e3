"""The cost of every architecture of a supernet, as a function of its architecture parameters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from flopscope.cost import METRICS
from flopscope.errors import InputError, OptionError, SupernetError
from flopscope.relax.choices.additive import AdditiveCost, precision
from flopscope.relax.choices.decisions import Decision, check_simplex, probabilities_of
from flopscope.relax.choices.elimination import extreme, moments
from flopscope.relax.choices.parts import Contribution, Part, Vertex, read_parts, write_parts
from flopscope.relax.choices.tables import Literals
from flopscope.relax.choices.text import described
from flopscope.relax.choices.timing import PICOSECOND, SECONDS
from flopscope.relax.numbers import numbers_from


class CostModel:
    """The cost of a supernet, as a function of the probabilities of its choices; `flopscope.relax.cost_model` makes one.

    With the decisions drawn independently by their probabilities, ``model("macs")`` is the expected cost of the network that they describe:
    a scalar tensor with a derivative by the architecture parameters. Where every probability is 0 or 1 it is the cost of that one network.

    Attributes:
        name: the class of the supernet.
        decisions: what an architecture decides, in the order in which architectures list it.
        partial: whether ops were not counted, so that all costs are lower bounds.
        notes: what a reader of any cost must know.
        metrics: the names of what it knows: `METRICS`, with ``"seconds"`` where `latency_model` made it.
    """

    def __init__(
        self,
        name: str,
        decisions: Sequence[Decision],
        parts: Sequence[Part],
        notes: Sequence[str],
        *,
        partial: bool,
        metrics: Sequence[str] = METRICS,
    ) -> None:
        self.name = name
        self.metrics = tuple(metrics)
        self.decisions = list(decisions)
        self.notes = list(notes)
        self.partial = partial
        self._parts = list(parts)
        self._choices: list[tuple[str, nn.Module]] = []
        self._sizes = [len(decision.candidates) for decision in decisions]
        counts: dict[frozenset[Literals], list[int]] = {}
        for part in parts:
            known = counts.setdefault(part.literals, [0] * len(self.metrics))
            counts[part.literals] = [one + other for one, other in zip(known, part.counts, strict=True)]
        self._cost = AdditiveCost(counts, self._sizes)

    # -- the cost -------------------------------------------------------------------------------------------

    def __call__(self, metric: str = "macs", architectures: Tensor | Sequence[Any] | None = None) -> Tensor:
        """The cost of architectures.

        Args:
            metric: ``"macs"``, ``"flops"``, ``"params"``, ``"access"`` or ``"access_bytes"``; ``"seconds"`` too with `latency_model`.
            architectures: by default the probabilities that the choices give now. Else either integers of shape ``[D]`` or ``[N, D]``,
                the index of the candidate that each of the D `decisions` takes; or probabilities of shape ``[D, K]`` or ``[N, D, K]``,
                where K is the largest number of candidates and rows with fewer end in zeros.

        Returns:
            For integers exact int64 counts, else float64 (float32 on devices that have no doubles), of shape ``[]`` or ``[N]``. Seconds are
            floats always.

        Raises:
            OptionError: there is no such metric.
            InputError: the architectures have a wrong shape, an index out of range, or rows that do not sum to one.
            SupernetError: the choices give no probabilities, or the model has no choices attached.
        """
        position = self._position_of(metric)
        if architectures is None:
            return _scaled(metric, self._cost.expected(position, self._here(self.probabilities())))
        given = self._here(numbers_from(architectures, "architectures"))
        of_all = self._cost.expected_of_all if given.is_floating_point() else self._cost.at_all
        return _scaled(metric, of_all(position, given))

    def _position_of(self, metric: str) -> int:
        if metric not in self.metrics:
            instead = "; latency_model makes one that knows seconds" if metric == SECONDS else ""
            raise OptionError(f"there is no metric {metric!r}; there are {', '.join(self.metrics)}{instead}")
        return self.metrics.index(metric)

    def _here(self, given: Tensor) -> Tensor:
        if given.device != self._cost.device:
            where = f"the architectures are on {given.device} and the cost model is on {self._cost.device}"
            raise InputError(f"{where}; move the model with model.to({str(given.device)!r})")
        return given

    # -- the choices ----------------------------------------------------------------------------------------

    def attach(self, supernet: nn.Module) -> CostModel:
        """Take the probabilities from the choices of this supernet from now on. A model that was loaded or copied needs it.

        Raises:
            SupernetError: the supernet lacks a choice, or one has another number of candidates.
        """
        if not isinstance(supernet, nn.Module):
            raise SupernetError(f"a cost model takes its probabilities from a torch.nn.Module, but a {type(supernet).__name__} was given")
        modules = dict(supernet.named_modules())
        found = []
        for decision in self.decisions:
            path = decision.choices[0]
            module = modules.get(path)
            count = len(getattr(module, "candidates", ())) if callable(getattr(module, "probabilities", None)) else 0
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
                "this cost model was loaded or copied, and has no supernet that gives probabilities; use model.attach(supernet), or give "
                "architectures"
            )
        longest = max(self._sizes)
        rows = [probabilities_of(module, path, size) for (path, module), size in zip(self._choices, self._sizes, strict=True)]
        padded = torch.stack([row if len(row) == longest else pad(row, (0, longest - len(row))) for row in rows])
        check_simplex(padded, lambda row: f"the choice {self._choices[row[0]][0]!r}")
        return padded

    # -- more than the expectation --------------------------------------------------------------------------

    def variance(self, metric: str = "macs") -> Tensor:
        """The variance of the cost, with the decisions drawn independently by the probabilities that the choices give now.

        Returns:
            A scalar tensor with a derivative by the architecture parameters.

        Raises:
            SupernetError: too many decisions depend on each other.
        """
        position = self._position_of(metric)
        given = self._here(self.probabilities())
        given = given.to(precision(given.device))
        factors = self._cost.factors(position, given.dtype)
        variance = moments(factors, [row[:size] for row, size in zip(given, self._sizes, strict=True)])[1]
        return _scaled(metric, _scaled(metric, variance))

    def minimum(self, metric: str = "macs") -> Vertex:
        """The cheapest architecture of the space. Raises as `variance` does."""
        return self._extreme(metric, largest=False)

    def maximum(self, metric: str = "macs") -> Vertex:
        """The most expensive architecture of the space. Raises as `variance` does."""
        return self._extreme(metric, largest=True)

    def most_likely(self, metric: str = "macs") -> Vertex:
        """The architecture that takes the most likely candidate of each decision, the first of equals."""
        architecture = self.probabilities().detach().argmax(-1)
        return Vertex(self(metric, architecture).item(), tuple(architecture.tolist()))

    def _extreme(self, metric: str, *, largest: bool) -> Vertex:
        position = self._position_of(metric)
        value, architecture = extreme(self._cost.factors(position, torch.int64), len(self.decisions), largest=largest)
        return Vertex(_scaled(metric, value + self._cost.constants[position]), architecture)

    def contributions(self, metric: str = "macs") -> list[Contribution]:
        """Which choice and which candidate cost how much, at the probabilities that the choices give now.

        The expected costs of the rows add up to ``model(metric)``. What several candidates share has a row of its own that names them.
        """
        position = self._position_of(metric)
        given = self.probabilities().detach().to("cpu", torch.float64)
        names = {path: decision.candidates for decision in self.decisions for path in decision.choices}
        rows = []
        for part in self._parts:
            probability = float(AdditiveCost({part.literals: [1]}, self._sizes).expected(0, given))
            choice, candidate, name = "", None, "outside every choice"
            if len(part.alternatives) > 1:
                name = "shared by " + " or ".join(f"{path}[{index}]" for *_, (path, index) in part.alternatives)
            elif part.alternatives[0]:
                choice, candidate = part.alternatives[0][-1]
                name = names[choice][candidate]
            cost = _scaled(metric, part.counts[position])
            rows.append(Contribution(choice, candidate, name, cost, probability, cost * probability))
        return rows

    # -- keeping it -----------------------------------------------------------------------------------------

    def to(self, device: torch.device | str) -> CostModel:
        """Move the model, in place, to the device on which the architecture parameters are."""
        self._cost.to(torch.device(device))
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a JSON file, without the supernet.

        Raises:
            OptionError: the file cannot be written.
        """
        write_parts(path, self.name, self.decisions, self._parts, self.notes, self.partial, self.metrics)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> CostModel:
        """Read a model that `save` wrote. It knows the cost of every architecture; `attach` gives it probabilities.

        Raises:
            OptionError: the file cannot be read, or is no cost model.
        """
        return CostModel(**read_parts(path))

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles hold no supernet."""
        return {**self.__dict__, "_choices": []}

    def __str__(self) -> str:
        return described(self)

    def __repr__(self) -> str:
        return f"<CostModel of {self.name}: {len(self.decisions)} decisions, {len(self._parts)} parts>"


Amount = TypeVar("Amount", Tensor, int | float)


def _scaled(metric: str, amount: Amount) -> Amount:
    """Times are kept as whole picoseconds."""
    if metric != SECONDS:
        return amount
    return (amount.to(precision(amount.device)) if isinstance(amount, Tensor) else amount) * PICOSECOND
