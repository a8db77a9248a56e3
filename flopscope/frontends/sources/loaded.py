"""A built model with the inputs to analyse it on."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flopscope.errors import FlopscopeError, InputError, SpecError
from flopscope.frontends.torch.building import building
from flopscope.frontends.torch.inputs import dtype_of, tensor_from_text

if TYPE_CHECKING:
    from torch import nn

    from flopscope.graph import Graph

Built = TypeVar("Built")


class _HasGraph(Protocol):
    @property
    def graph(self) -> Graph: ...


Noted = TypeVar("Noted", bound=_HasGraph)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a SPEC gives."""

    name: str
    model: nn.Module | Callable[..., Any]
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    input_note: str | None = None
    """Which inputs were chosen, where that is worth saying."""

    def with_inputs(self, inputs: Sequence[str]) -> Loaded:
        """The same model on inputs given as text; none leaves it as it is. Names replace or add single inputs, the rest is given in order.

        Raises:
            InputError: a text cannot be read, or the model has no input of that name, or there are no inputs at all.
        """
        if not inputs:
            if not self.args and not self.kwargs and _required(self.model):
                raise InputError(
                    f"{self.name} needs inputs ({', '.join(_required(self.model))}); give their shapes, as in --input 1x3x224x224"
                )
            return self
        positional: list[Any] = []
        named = dict(self.kwargs)
        given: set[str] = set()
        for text in inputs:
            name, equals, shape = text.rpartition("=")
            if equals:
                self._check_name(name.strip())
                if name.strip() in given:
                    raise InputError(f"the input {name.strip()!r} was given twice; give it once")
                given.add(name.strip())
                named[name.strip()] = tensor_from_text(shape, self._dtype_for(self.kwargs.get(name.strip())))
            else:
                position = len(positional)
                own = [*self.args, *self.kwargs.values()]
                positional.append(tensor_from_text(text, self._dtype_for(own[position] if position < len(own) else None)))
        if positional:  # inputs in order replace the model's own, whatever these were called
            names = _positional_names(self.model)[: len(positional)]
            if both := given.intersection(names):
                raise InputError(f"the input {both.pop()!r} was given twice: by its name, and by its place among those without a name")
            named = {name: value for name, value in named.items() if name not in names}
            if self.args and isinstance(self.args[0], list):
                positional = [positional]  # the model wants a list of images
        return replace(self, args=positional or self.args, kwargs=named, input_note=None)

    def _dtype_for(self, own: Any) -> str:
        """The dtype of an input given without one: that of the input it replaces, else that of the model."""
        return str(own.dtype).removeprefix("torch.") if hasattr(own, "dtype") else dtype_of(self.model)

    def _check_name(self, name: str) -> None:
        parameters = {p.name: p for p in _parameters(self.model)}
        takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        if name not in parameters and not (takes_any and name in self.kwargs):
            names = [p.name for p in parameters.values() if p.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)]
            close = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise InputError(f"{self.name} has no input {name!r}{hint} Its inputs are: {', '.join(names) or 'none'}.")

    def noted(self, report: Noted) -> Noted:
        """A report with this model's name and notes."""
        report.graph.name = self.name
        report.graph.notes[:0] = [*self.notes, *([self.input_note] if self.input_note else [])]
        return report


def _forward_of(model: Any) -> Callable[..., Any]:
    return getattr(model, "forward", model)  # type: ignore[no-any-return]


def _parameters(model: Any) -> list[inspect.Parameter]:
    """The inputs of a model. A scripted one has a schema in place of a signature."""
    forward: Any = _forward_of(model)
    if not hasattr(forward, "schema"):
        return list(inspect.signature(forward).parameters.values())
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    arguments = [argument for argument in forward.schema.arguments if argument.name != "self"]
    return [
        inspect.Parameter(a.name, kind, default=a.default_value if a.has_default_value() else inspect.Parameter.empty) for a in arguments
    ]


def _positional_names(model: Any) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in _parameters(model) if p.kind in kinds]


def _required(model: Any) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = _parameters(model)
    return [p.name for p in parameters if p.default is inspect.Parameter.empty and p.kind in kinds]


def built(make: Callable[[], Built], what: str) -> Built:
    """Build a model without memory; where its constructor needs data, build it for real.

    Raises:
        SpecError: it cannot be built.
    """
    with explained(what):
        try:
            with building():
                return make()
        except (TypeError, ImportError, FlopscopeError):
            raise  # wrong arguments stay wrong
        except Exception:  # noqa: BLE001 - whatever a constructor does with data, it may do with real data
            return make()


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn whatever a builder raises into one message.

    Raises:
        SpecError: the builder raised.
    """
    try:
        yield
    except FlopscopeError:
        raise
    except (Exception, SystemExit) as error:
        first_line = (str(error).strip().splitlines() or ["no message"])[0]
        raise SpecError(f"cannot build {what}: {type(error).__name__}: {first_line}") from error


def no_such_name(source: str, name: str, names: Iterable[str]) -> SpecError:
    """The error for a name that a library does not know, with the nearest that it does."""
    close = difflib.get_close_matches(name, list(names), 3, 0.5)
    hint = f"Did you mean {', '.join(close)}?" if close else f"See: flopscope list {source}"
    return SpecError(f"{source} has no model {name!r}. {hint}")
