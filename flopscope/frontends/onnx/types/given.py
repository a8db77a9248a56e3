"""What an inference of ours sees of a call: shapes that must be known, attributes, and elements where they are few and known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flopscope.errors import InputError
from flopscope.frontends.onnx.dtypes import UNDEFINED
from flopscope.frontends.onnx.types.inference import Typed
from flopscope.frontends.onnx.types.table import bounds, infers
from flopscope.frontends.onnx.values import Value

Inferring = Callable[["Given"], list[Typed]]


class _UnknownError(Exception):
    """Something that the inference needs is not known."""


@dataclass(frozen=True, slots=True)
class Given:
    """The inputs and attributes of one call."""

    values: Sequence[Value | None]
    attributes: Mapping[str, Any]

    def has(self, position: int) -> bool:
        """Whether an input is there."""
        return position < len(self.values) and self.values[position] is not None

    def shape(self, position: int) -> tuple[int, ...]:
        """The shape of an input; without it nothing more is said of the call."""
        value = self.values[position] if self.has(position) else None
        if value is None or value.type is None:
            raise _UnknownError
        return value.type.shape

    def dtype(self, position: int) -> str:
        """The element type of an input."""
        value = self.values[position] if self.has(position) else None
        return UNDEFINED if value is None else value.dtype

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute, or the default where it is not given."""
        return self.attributes.get(name, default)

    def ints(self, position: int) -> list[int] | None:
        """The elements of an input as Python ints, where they are known."""
        value = self.values[position] if self.has(position) else None
        return None if value is None or value.data is None else [int(item) for item in value.data.reshape(-1).tolist()]

    def must_know(self, position: int) -> list[int]:
        """The elements of an input; without them nothing more is said of the call."""
        found = self.ints(position)
        if found is None:
            raise _UnknownError
        return found

    def like(self, position: int) -> Typed:
        """The type of an input."""
        return self.dtype(position), self.shape(position)


def types(*ops: str, domain: str) -> Callable[[Inferring], Inferring]:
    """Register an inference that may ask for what is not known, and may be given what does not fit."""
    return _registering(infers, ops, domain)


def bound_types(*ops: str, domain: str) -> Callable[[Inferring], Inferring]:
    """The same for an upper bound of sizes that only data knows."""
    return _registering(bounds, ops, domain)


def _registering(register: Any, ops: Sequence[str], domain: str) -> Callable[[Inferring], Inferring]:
    def decorate(function: Inferring) -> Inferring:
        def inference(values: Sequence[Value | None], attributes: Mapping[str, Any], outputs: int) -> list[Typed]:
            try:
                found = function(Given(values, attributes))
            except _UnknownError:
                found = []
            except (ValueError, IndexError, ZeroDivisionError, TypeError) as error:
                listed = ", ".join(str(value.type) for value in values if value is not None and value.type is not None)
                raise InputError(f"its inputs {listed} do not fit it") from error
            return [*found, *[(UNDEFINED, None)] * outputs][:outputs]

        register(*ops, domain=domain)(inference)
        return function

    return decorate
