"""What is known of a value while a graph is walked, and of one call of an op."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flopscope.errors import InputError
from flopscope.graph import Tensor, TensorType

Array = np.ndarray[Any, Any]


@dataclass(slots=True, eq=False)
class Value:
    """A value of an ONNX graph. ``tensor`` is its place in the traced graph."""

    name: str
    dtype: str = "undefined"
    type: TensorType | None = None
    """``None`` where the shape is not known."""
    data: Array | None = None
    """Its elements, where they are few and known."""
    items: tuple[Value, ...] | None = None
    """The elements of a sequence. An optional value that holds something is what it holds."""
    absent: bool = False
    """Whether it is an optional value that holds nothing."""
    tensor: Tensor | None = None

    _key: Any = None

    @property
    def key(self) -> Any:
        """What anything computed from this value can depend on."""
        if self._key is None:
            if self.items is not None:
                return (self.dtype, *(item.key for item in self.items))
            known = None if self.data is None else (self.data.tobytes(), self.data.dtype.str)
            is_parameter = self.tensor is not None and self.tensor.role == "parameter"
            self._key = (self.type if self.type is not None else (self.dtype, self.absent), known, is_parameter)
        return self._key


@dataclass(slots=True, eq=False)
class Slot:
    """A value as a table of ops sees it: its type, its elements where they are known, and which value of the call it is.

    A call has its inputs first and its outputs next; what lies between (the parts of a fused op) comes after them.
    """

    index: int
    type: TensorType
    data: Array | None = None
    constant: bool = False
    """Whether it is a weight or a constant of the model, not a result."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the dimensions."""
        return self.type.shape

    @property
    def dtype(self) -> str:
        """The name of the element type."""
        return self.type.dtype

    def ints(self) -> list[int] | None:
        """The elements as Python ints, where they are known."""
        return None if self.data is None else [int(item) for item in self.data.reshape(-1).tolist()]


@dataclass(slots=True, eq=False)
class Call:
    """One call of an op, with types for all inputs and outputs."""

    domain: str
    op: str
    opset: int
    attributes: Mapping[str, Any]
    inputs: Sequence[Slot | None]
    outputs: Sequence[Slot | None]
    pieces: list[Piece] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a reader of the numbers must know of this call."""
    _next: int = 0

    def __getitem__(self, position: int) -> Slot:
        """An input that must be there.

        Raises:
            InputError: it is missing.
        """
        found = self.get(position)
        if found is None:
            raise InputError(f"its input {position} is missing")
        return found

    def get(self, position: int) -> Slot | None:
        """An input, or ``None`` where it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    @property
    def out(self) -> Slot:
        """The first output.

        Raises:
            InputError: nobody asked for it.
        """
        found = next((slot for slot in self.outputs if slot is not None), None)
        if found is None:
            raise InputError("none of its outputs has a name")
        return found

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute, or the default where it is not given."""
        return self.attributes.get(name, default)

    def between(self, shape: Sequence[int], dtype: str) -> Slot:
        """A value between two pieces of this call."""
        self._next += 1
        return Slot(len(self.inputs) + len(self.outputs) + self._next - 1, TensorType.of(shape, dtype))

    def add(self, kind: str, out: Slot | Sequence[Slot | None], /, *, view: bool = False, **arguments: Any) -> None:
        """One piece of what the call computes: an op that a rule prices, with its arguments by the names that the rule uses."""
        outs = (out,) if isinstance(out, Slot) else tuple(slot for slot in out if slot is not None)
        self.pieces.append(Piece(kind, arguments, outs, view))


@dataclass(slots=True, eq=False)
class Piece:
    """A part of a call that one rule prices."""

    kind: str
    arguments: Mapping[str, Any]
    outputs: tuple[Slot, ...]
    view: bool = False
