"""What holds for the nodes of a graph, and what is learned on the walk that a reader of the numbers must know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flopscope.frontends.onnx.dtypes import NAMES, UNDEFINED
from flopscope.frontends.onnx.types.inference import Typed, shape_of

if TYPE_CHECKING:
    import onnx


class Declared:
    """What a graph says of the types of its values, read where it is needed."""

    def __init__(self, values: Iterable[onnx.ValueInfoProto]) -> None:
        self._values = {value.name: value for value in values}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def type_of(self, name: str) -> Typed | None:
        """The type that a value is said to have, if it is a tensor."""
        value = self._values.get(name)
        if value is None or not value.type.HasField("tensor_type"):
            return None
        return NAMES.get(value.type.tensor_type.elem_type, UNDEFINED), shape_of(value.type.tensor_type)


@dataclass(slots=True)
class Context:
    """What holds for the nodes of one graph or function."""

    opsets: Mapping[str, int]
    declared: Declared
    """What the file says of the types of values, by name."""
    scope: str = ""
    attributes: dict[str, Any] | None = None
    """Inside a local function, the attributes of its call."""
    depth: int = 0

    def opset(self, domain: str) -> int:
        """The version of a domain's ops; 1 where the file does not say."""
        return self.opsets.get("" if domain == "ai.onnx" else domain, 1)


@dataclass(slots=True)
class Facts:
    """What a reader of the numbers must know."""

    notes: dict[str, None] = field(default_factory=dict)
    data_dependent: list[tuple[str, str]] = field(default_factory=list)
    guessed: set[str] = field(default_factory=set)
    """Values whose shapes are bounds, or those of one branch or turn."""
    unknown: list[str] = field(default_factory=list)
    """Ops that are not counted because a shape is not known."""
    repeated: list[str] = field(default_factory=list)
    """Constants that the file holds twice, with different values."""
    misfits: list[str] = field(default_factory=list)
    """Calls that the sizes which were chosen here do not fit."""

    def mark(self) -> Facts:
        """What is known up to here, to come back to."""
        marked = Facts(dict(self.notes))
        for fact, copy in zip(self._lists(), marked._lists(), strict=True):
            copy[:] = fact
        return marked

    def undo(self, marked: Facts) -> None:
        """Come back to what was known at a mark."""
        self.notes.clear()
        self.notes.update(marked.notes)
        for fact, before in zip(self._lists(), marked._lists(), strict=True):
            fact[:] = before

    def _lists(self) -> tuple[list[Any], ...]:
        return self.data_dependent, self.unknown, self.repeated, self.misfits
