"""The rows of a report: one op, one kind of op, or one module, with its cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flopscope.cost import METRICS, Cost

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OpRow:
    """One call of an op."""

    index: int
    scope: str
    """The path of the module that ran it."""
    op: str
    """The front end's name, such as ``"aten::conv2d"``."""
    kind: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    dtype: str
    """The dtype of the first output."""
    attributes: Mapping[str, Any]
    cost: Cost
    name: str = ""
    """What the model's file calls it, where it has names for ops."""
    times: int = 1
    """How often it runs; its cost is that of all runs."""

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data."""
        shapes = {"inputs": [list(shape) for shape in self.inputs], "outputs": [list(shape) for shape in self.outputs]}
        attributes = {name: plain(value) for name, value in self.attributes.items()}
        facts = {"index": self.index, "scope": self.scope, "op": self.op, "kind": self.kind, **shapes, "dtype": self.dtype}
        facts |= {"name": self.name, "times": self.times}
        return {**facts, "attributes": attributes, **metrics(self.cost)}


@dataclass(frozen=True, slots=True)
class KindRow:
    """All calls of one kind of op."""

    kind: str
    calls: int
    cost: Cost

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data."""
        return {"kind": self.kind, "calls": self.calls, **metrics(self.cost)}


@dataclass(frozen=True, slots=True)
class ModuleRow:
    """One module, with everything inside it."""

    path: str
    class_name: str
    depth: int
    calls: int
    output: Shape | None
    """The shape of the first tensor that its last call returned."""
    cost: Cost

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data."""
        output = None if self.output is None else list(self.output)
        return {
            "module": self.path,
            "class": self.class_name,
            "depth": self.depth,
            "calls": self.calls,
            "output": output,
            **metrics(self.cost),
        }


def plain(value: Any) -> Any:
    """A value as JSON has it: tuples as lists, infinities and NaN as text, and what JSON does not know as Python writes it.

    Examples:
        >>> plain({"fill": float("-inf"), "padding": (1, 1)})
        {'fill': '-inf', 'padding': [1, 1]}
    """
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def metrics(cost: Cost) -> dict[str, int | float | None]:
    """The exact counts of a cost, by name, and its arithmetic intensity in FLOPs per byte."""
    counts: dict[str, int | float | None] = {name: getattr(cost, name) for name in METRICS}
    split = ("elements_read", "elements_written", "bytes_read", "bytes_written", "uncounted")
    return counts | {name: getattr(cost, name) for name in split} | {"intensity": cost.intensity}
