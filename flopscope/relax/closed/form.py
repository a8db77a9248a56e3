"""The exact cost of a model as a formula in batch, resolution, sequence length, or whatever else its inputs leave open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy
import sympy
from torch.utils._python_dispatch import _disable_current_modes

from flopscope.cost import METRICS, Cost
from flopscope.errors import ClosedFormError, InputError, NeedsDataError, OptionError
from flopscope.frontends.onnx import is_onnx
from flopscope.frontends.torch.inputs import dtype_of, tensors_from_text
from flopscope.relax.closed.fitting import Point
from flopscope.relax.closed.inputs import Inputs, Places, read_inputs
from flopscope.relax.closed.numbers import Exact
from flopscope.relax.closed.pricing import FIELDS
from flopscope.relax.closed.range import Range
from flopscope.relax.closed.sampling import Sample, Sampler
from flopscope.relax.closed.solving import Solver, cost_where
from flopscope.relax.closed.text import described
from flopscope.rules import price

_NAMES = tuple(dict.fromkeys((*METRICS, *FIELDS)))


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """The exact cost of a model, as expressions in symbols.

    ``form("macs")`` is a sympy expression; a form is also accepted wherever sympy takes one, and stands for its MACs. Its text lists all
    metrics.

    Examples:
        >>> import flopscope, torch
        >>> form = flopscope.closed_form(torch.nn.Linear(8, 4), "2x8", symbols={"B": 0})
        >>> form("macs"), form.evaluate("macs", B=1000), form.conditions
        (32*B, 32000, [])
        >>> form.lambdify("flops")(range(1, 4))
        array([ 68, 136, 204])
    """

    name: str
    symbols: Mapping[str, sympy.Symbol]
    cost: Cost
    """The cost; its fields are ints and sympy expressions. Where something was not counted it is a lower bound, as everywhere."""
    ranges: Mapping[str, Range]
    """The sizes of each symbol for which the form holds."""
    notes: tuple[str, ...] = ()
    at_one: Mapping[frozenset[str], Cost] = field(default_factory=dict)
    """Costs that differ from the general one where these symbols are 1: a dimension of one is broadcast, or makes a copy a view.
    `evaluate` and `lambdify` know them."""

    def __call__(self, metric: str = "macs") -> sympy.Expr:
        """A metric as an expanded sympy expression.

        Raises:
            OptionError: there is no such metric.
        """
        return sympy.sympify(_field(self.cost, metric))

    def _sympy_(self) -> sympy.Expr:
        return self("macs")

    @property
    def conditions(self) -> list[str]:
        """What sizes must be for the form to hold, in words."""
        return [condition for name, found in self.ranges.items() for condition in found.conditions(name)]

    def evaluate(self, metric: str = "macs", /, **sizes: int) -> int:
        """A metric at given sizes, as an exact int.

        Raises:
            OptionError: there is no such metric; or a size is missing, unknown, no positive integer, or one for which the form does not
                hold.
        """
        self._check_names(sizes)
        for name, size in sizes.items():
            if isinstance(size, bool) or not isinstance(size, (int, numpy.integer)) or size < 1:
                raise OptionError(f"{name} must be a positive integer, but is {size!r}")
        whole = {name: int(size) for name, size in sizes.items()}
        self._check_ranges(whole)
        return int(Exact(_field(self._cost_at(whole), metric))(whole))

    def lambdify(self, metric: str = "macs") -> Callable[..., Any]:
        """A metric as a fast function of sizes, in the order of ``symbols`` or by name: ints, or NumPy arrays, which are broadcast.

        It is exact: in 64-bit integers where a bound on all that it computes fits, and in Python ints (an array of objects) elsewhere.

        Raises:
            OptionError: there is no such metric.
        """
        return Function(self, metric)

    def _check_names(self, sizes: Mapping[str, Any]) -> None:
        missing, unknown = [n for n in self.symbols if n not in sizes], [n for n in sizes if n not in self.symbols]
        if missing or unknown:
            wrong = f"{missing[0]} is missing" if missing else f"there is no symbol {unknown[0]}"
            raise OptionError(f"{wrong}: give a size for each of {', '.join(self.symbols)}")

    def _check_ranges(self, sizes: Mapping[str, Any]) -> None:
        for name, found in self.ranges.items():
            fits = numpy.asarray(found.holds(sizes[name]))
            if not fits.all():
                wrong = numpy.asarray(sizes[name])[~fits].flat[0]
                conditions = ", ".join(found.conditions(name))
                raise OptionError(
                    f"{name} = {wrong} is outside the sizes for which this form holds: {conditions}. At others the model refuses "
                    "its inputs, or costs something else"
                )

    def _cost_at(self, sizes: Mapping[str, int]) -> Cost:
        """The cost that holds where just these symbols are 1."""
        return cost_where([name for name, size in sizes.items() if size == 1], self.cost, self.at_one)

    def __str__(self) -> str:
        return described(self)


class Function:
    """A metric of a closed form as a function of sizes."""

    def __init__(self, form: ClosedForm, metric: str) -> None:
        """Compile the general formula and those that hold where symbols are 1."""
        self._form = form
        self.metric = metric
        self._general = Exact(_field(form.cost, metric))
        by_size = sorted(form.at_one.items(), key=lambda item: len(item[0]))
        self._at_one = [
            (names, Exact(_field(cost, metric))) for names, cost in by_size if _field(cost, metric) != _field(form.cost, metric)
        ]

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """The metric at sizes, each an int or an array of integers.

        Raises:
            OptionError: a size is missing, unknown, no positive integer, or one for which the form does not hold.
        """
        names = tuple(self._form.symbols)
        if len(args) > len(names) or any(name in kwargs for name in names[: len(args)]):
            raise OptionError(f"give one size for each of {', '.join(names)}")
        sizes = dict(zip(names, args, strict=False)) | kwargs
        self._form._check_names(sizes)
        arrays = {name: _whole(name, sizes[name]) for name in names}
        self._form._check_ranges(arrays)
        if all(array.ndim == 0 for array in arrays.values()):
            whole = {name: int(array) for name, array in arrays.items()}
            return int(Exact(_field(self._form._cost_at(whole), self.metric))(whole))
        found = self._general(arrays)
        for ones, function in self._at_one:
            held = numpy.broadcast_to(numpy.logical_and.reduce(numpy.broadcast_arrays(*(arrays[name] == 1 for name in ones))), found.shape)
            if held.any():
                special = function({name: numpy.broadcast_to(array, found.shape)[held] for name, array in arrays.items()})
                found = found.astype(numpy.result_type(found, special))
                found[held] = special
        return found


def _whole(name: str, size: Any) -> Any:
    array = numpy.asarray(size)
    is_whole = array.dtype.kind in "iu" or (array.dtype == object and all(isinstance(item, int) for item in array.flat))
    if not is_whole or (array < 1).any():
        raise OptionError(f"{name} must be a positive integer, or an array of them, but is {size!r}")
    return array


def _field(cost: Cost, metric: str) -> Any:
    if metric not in _NAMES:
        raise OptionError(f"there is no metric {metric!r}; choose one of {', '.join(_NAMES)}")
    return getattr(cost, metric)


def closed_form(model: Callable[..., Any] | Any, *args: Any, symbols: Mapping[str, Places], **kwargs: Any) -> ClosedForm:
    """The exact cost of one call ``model(*args, **kwargs)`` as a formula in some of the sizes of its inputs.

    The model is traced at a few sizes, and the rules that price its ops run on the expressions that its shapes follow. The formula is then
    compared with `analyze` at sizes that were not used, small and large. One that could not be checked is never returned. A model that
    does something else at one single size in between is not found out.

    Args:
        model: a module, any function of tensors, or an ONNX model, as `analyze` takes it.
        *args: its inputs, as `analyze` takes them. They are the sizes from which others are tried.
        symbols: what may vary, by name: a dimension of every tensor input (``{"B": 0, "R": (2, 3)}``), or of single inputs, by their
            position or name (``{"S": {"input_ids": 1, "attention_mask": (2, 3)}}``), or the channels that a layer makes, by the path of
            the layer (``{"C": "layer1.0.conv1"}``), with everything that depends on them, as `flopscope.relax.widths` finds it.
            Of an ONNX model, its dynamic dimensions by their names (``{"B": "batch", "S": "seq"}``).
        **kwargs: named inputs. A model with an input called ``symbols`` can be wrapped in a function.

    Raises:
        OptionError: the symbols have no proper names or places.
        InputError: a symbol names no dimension of the inputs, or several of different sizes.
        TraceError: the model raised on the inputs as they were given; the cause is chained.
        ClosedFormError: no formula was found, or the model accepts no other sizes.

    Examples:
        >>> import torch, flopscope
        >>> conv = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        >>> form = flopscope.closed_form(conv, "1x3x32x32", symbols={"B": 0, "R": (2, 3)})
        >>> form("macs")
        216*B*floor(R/2 + 1/2)**2
        >>> form.evaluate("macs", B=8, R=224)
        21676032
    """
    if is_onnx(model):
        from flopscope.relax.closed.onnx_form import onnx_form

        return onnx_form(model, *args, symbols=symbols, **kwargs)
    if not callable(model):
        raise InputError(f"a model must be a torch.nn.Module, a function or an ONNX model, but {type(model).__name__} was given")
    with _disable_current_modes():
        args, kwargs = tensors_from_text((args, kwargs), dtype_of(model))
        layers = {name: place for name, place in symbols.items() if isinstance(place, str)} if isinstance(symbols, Mapping) else {}
        inputs = read_inputs(model, args, kwargs, symbols)
        sampler, first = _first(model, inputs, layers)
        return solved(sampler, first)


def solved(sampler: Sampler, first: Sample) -> ClosedForm:
    """The formula of a model that a sampler traces; ``first`` is the model on its own sizes.

    Raises:
        ClosedFormError: no formula was found, or the model accepts no other sizes.
    """
    by_name = {name: sympy.Symbol(name, integer=True, positive=True) for name in sampler.names}
    try:
        found = Solver(sampler, tuple(by_name.values()), _start(sampler), range(len(by_name))).solve()
    except ClosedFormError as error:
        raise ClosedFormError(f"{first.name}: {error}") from None
    uncounted = sorted({signature.target for signature in first.calls.signatures if price(signature) is None})
    lower_bound = [f"NOT COUNTED, because no rule prices them: {', '.join(uncounted)}"] if uncounted else []
    checked = ", ".join(f"{name} = {size.checked}" for name, size in found.ranges.items())
    widths = sampler.channels.notes() if sampler.channels else []
    notes = (*lower_bound, *widths, *first.notes, f"checked against the analyzer at {found.checks} other sizes, up to {checked}")
    return ClosedForm(first.name, by_name, found.cost, found.ranges, notes, found.at_one)


def _first(model: Any, inputs: Inputs, layers: Mapping[str, str]) -> tuple[Sampler, Sample]:
    """The model on the inputs as they are given. What it raises there is the caller's to know."""
    try:
        sampler = Sampler(model, inputs, layers)
        return sampler, sampler.trace(sampler.base)
    except NeedsDataError as error:
        reason = str(error).partition(", so its cost")[0]
        raise ClosedFormError(f"there is no formula for a cost that depends on data: {reason}. Analyse the inputs that matter.") from error


def _start(sampler: Sampler) -> Point:
    """The sizes to start from: those given, but for sizes of 1, which are special (they broadcast)."""
    others: Sequence[int] = [size for size in (3, 5, 7, 11, 13) if size not in sampler.base]
    replaced = iter(others)
    start = tuple(next(replaced, 17) if size == 1 else size for size in sampler.base)
    return start if sampler.at(start) is not None else sampler.base
