"""A closed form over a grid of sizes, with the model asked at some of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from flopscope.errors import ClosedFormError, InputError
from flopscope.frontends.torch.inputs import dtype_of, tensors_from_text
from flopscope.relax.closed.form import ClosedForm, closed_form
from flopscope.relax.closed.inputs import Places, read_inputs
from flopscope.relax.closed.sampling import Sampler
from flopscope.relax.closed.text import LABELS, formula

if TYPE_CHECKING:
    from flopscope.frontends.sources.loaded import Loaded

_MOST_CHECKS = 12


@dataclass(frozen=True, slots=True)
class Sweep:
    """A metric of a model at all sizes of a grid."""

    model: str
    form: ClosedForm
    metric: str
    grid: Mapping[str, Sequence[int]]
    """The sizes of each symbol."""
    counts: numpy.ndarray[Any, Any]
    """The metric, with one dimension per symbol."""
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        """The metric as people write it."""
        return LABELS[self.metric]

    @property
    def mark(self) -> str:
        """What stands before a lower bound."""
        return "≥ " if self.form.cost.partial and self.metric != "params" else ""

    @property
    def formula(self) -> str:
        """The formula in one line."""
        at_least = "at least " if self.mark else ""
        return f"{self.label}({', '.join(self.grid)}) = {at_least}{formula(self.form(self.metric))}"

    @property
    def title(self) -> str:
        """The model, and the sizes that do not vary."""
        fixed = [f"{name} = {sizes[0]}" for name, sizes in self.grid.items() if len(sizes) == 1]
        return f"{self.model}{' at ' if fixed else ''}{', '.join(fixed)}"

    def rows(self) -> Iterator[tuple[dict[str, int], int]]:
        """Each point of the grid with its count."""
        for sizes, count in zip(itertools.product(*self.grid.values()), self.counts.flat, strict=True):
            yield dict(zip(self.grid, sizes, strict=True)), int(count)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, with exact counts."""
        return {
            "model": self.model,
            "metric": self.metric,
            "complete": not self.form.cost.partial,
            "formula": str(self.form(self.metric)),
            "conditions": self.form.conditions,
            "notes": list(self.notes),
            "rows": [{**sizes, self.metric: count} for sizes, count in self.rows()],
        }


def over(name: str, loaded: Loaded, symbols: Mapping[str, Places], grid: Mapping[str, Sequence[int]], metric: str) -> Sweep:
    """A metric of a model over a grid of sizes; symbols of layers stand behind those of inputs.

    Raises:
        OptionError: a size is one for which the form does not hold.
        InputError: the model refuses a size.
        FlopscopeError: as `closed_form` does.
    """
    form = closed_form(loaded.model, *loaded.args, symbols=symbols, **loaded.kwargs)
    args, kwargs = tensors_from_text((tuple(loaded.args), dict(loaded.kwargs)), dtype_of(loaded.model))
    layers = {symbol: place for symbol, place in symbols.items() if isinstance(place, str)}
    sampler = Sampler(loaded.model, read_inputs(loaded.model, args, kwargs, symbols), layers)
    return over_form(name, form, sampler, grid, metric, (*loaded.notes, *([loaded.input_note] if loaded.input_note else [])))


def over_form(name: str, form: ClosedForm, sampler: Sampler, grid: Mapping[str, Sequence[int]], metric: str, notes: Sequence[str]) -> Sweep:
    """A metric of a formula over a grid of sizes, checked against the model that a sampler traces.

    Raises:
        OptionError: a size is one for which the form does not hold.
        InputError: the model refuses a size.
        ClosedFormError: the formula does not hold at a size.
    """
    axes = numpy.meshgrid(*(numpy.array(sizes, dtype=object) for sizes in grid.values()), indexing="ij", sparse=True)
    counts = form.lambdify(metric)(**dict(zip(grid, axes, strict=True)))
    conditions = [f"the formula holds where {', '.join(form.conditions)}"] if form.conditions else []
    found = Sweep(name, form, metric, grid, counts, (*notes, *form.notes, *conditions))
    _check(found, sampler)
    return found


def _check(found: Sweep, sampler: Sampler) -> None:
    """Ask the model at points that together show many sizes of each symbol, the smallest and the largest among them."""
    longest = min(_MOST_CHECKS, max(map(len, found.grid.values())))
    for step in range(longest):
        place = tuple(round(step / max(1, longest - 1) * (len(sizes) - 1)) for sizes in found.grid.values())
        sizes = {name: sizes[i] for i, (name, sizes) in zip(place, found.grid.items(), strict=True)}
        spoken = ", ".join(f"{name} = {size}" for name, size in sizes.items())
        sample = sampler.at(tuple(sizes.values()))
        if sample is None:
            raise InputError(f"the model refuses {spoken}: {sampler.refusal()}")
        if getattr(sample.cost, found.metric) != found.counts[place]:
            raise ClosedFormError(f"the formula does not hold at {spoken}; start from sizes nearer to it with --input")
