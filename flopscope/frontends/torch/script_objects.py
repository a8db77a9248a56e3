"""Weights that a backend has packed: script objects, whose shape torch tells only by unpacking them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from flopscope.frontends.torch.cells import type_of
from flopscope.graph import Packed

_PREFIX = "__torch__.torch.classes."
_UNPACK = "unpack"


def type_name(value: torch.ScriptObject) -> str:
    """The name of the class of a script object, which unlike its text does not change from run to run."""
    return str(value._type().qualified_name()).removeprefix(_PREFIX)


_SIZED_BY_OPERANDS = "rnn.CellParamsBase"
"""Cells keep their weights to themselves, but all their sizes are those of the inputs and of the state."""


class _Itself:
    """A script object as a part of a key: equal to itself alone, because most of their classes refuse to be compared."""

    __slots__ = ("_value",)

    def __init__(self, value: torch.ScriptObject) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)


def key_of(value: torch.ScriptObject) -> Any:
    """What the answer of an op can depend on of a script object."""
    name = type_name(value)
    return name if name == _SIZED_BY_OPERANDS else _Itself(value)


def packed(value: torch.ScriptObject) -> Packed | None:
    """The weights in a script object, or ``None`` where it holds none, or keeps them to itself."""
    with _disable_current_modes():
        parts = _parts(value, type_name(value))
    tensors = [part for part in parts if isinstance(part, Tensor)]
    return Packed(*(type_of(tensor) for tensor in tensors[:2])) if tensors else None


def _parts(value: Any, name: str) -> tuple[Any, ...]:
    try:
        if name == "quantized.EmbeddingPackedParamsBase":
            return (torch.ops.quantized.embedding_bag_unpack(value),)
        return tuple(value.unpack()) if value._has_method(_UNPACK) else ()
    except (RuntimeError, AttributeError, TypeError):
        return ()
