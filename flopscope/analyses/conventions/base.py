"""What a convention is: a table from what a tool can see to what it counts there, with a reason for each line.

A tool sees a call in one of three ways, and a table has a part for each: by the kind of the op (tracing and dispatching tools), by
the class of the ``torch.nn`` layer that ran it (tools that hook modules), or by both (tools that hook modules and replace functions too).
Every difference from the multiply-accumulates of the op has the text of one line of the table as its reason, so differences add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Literal

from flopscope.analyses.conventions import fused
from flopscope.analyses.torch_names import as_torch
from flopscope.analyses.totals import ancestors, cost_of
from flopscope.cost import Cost
from flopscope.graph import Graph, Module, Op, Signature, Tensor, Weight

Unit = Literal["MACs", "FLOPs"]
_NOWHERE = Module("", "")


class Scene:
    """What the calls of a graph have in common: its modules, and which weights they own."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.modules = {module.path: module for module in graph.modules}
        inputs = graph.inputs
        self.batch = inputs[0].shape[0] if inputs and inputs[0].shape else 1
        """The first dimension of the first input."""

    def needs_gradients(self, value: Tensor) -> bool:
        """Whether a value is made of parameters, among others."""
        seen: set[int] = set()
        todo = [value]
        while todo:
            value = todo.pop()
            if value.role == "parameter":
                return True
            if value.producer is not None and value.producer not in seen:
                seen.add(value.producer)
                todo += self.graph.ops[value.producer].inputs
        return False

    @cached_property
    def parents(self) -> frozenset[str]:
        """The paths of the modules that have modules inside them."""
        return frozenset(path.rpartition(".")[0] for path in self.modules if path)

    @cached_property
    def weights(self) -> dict[str, list[tuple[str, Weight]]]:
        """The weights of each module by its path, each with its name there; a shared weight is listed wherever it is."""
        found: dict[str, list[tuple[str, Weight]]] = {}
        for weight in self.graph.parameters:
            for full in (weight.name, *weight.shared_as):
                path, _, name = full.rpartition(".")
                found.setdefault(path, []).append((name, weight))
        return found

    @cached_property
    def ops_of(self) -> dict[str, list[Op]]:
        """The ops of each module by its path, those of the modules inside it left out."""
        found: dict[str, list[Op]] = {}
        for op in self.graph.ops:
            found.setdefault(op.scope, []).append(op)
        return found


@dataclass(frozen=True, slots=True)
class Call:
    """One op, and what a tool that hooks modules knows of it."""

    op: Op
    scene: Scene
    signature: Signature
    """What is computed: by the op, or by a part of it where it is fused."""
    part_of: str = ""
    """The class of the layer that would run this part of a fused op."""

    @property
    def kind(self) -> str:
        """The kind of the op."""
        return self.signature.kind

    @property
    def cost(self) -> Cost:
        """What the op costs by our own rules."""
        return cost_of(self.signature)

    @property
    def macs(self) -> int:
        """The multiply-accumulates of the op."""
        return self.cost.macs

    @property
    def elements_in(self) -> int:
        """Elements of the first tensor that the op reads."""
        return self.signature.inputs[0].elements

    @property
    def elements_out(self) -> int:
        """Elements of the first tensor that the op makes."""
        return self.signature.output.elements

    @property
    def biased(self) -> int:
        """Elements to which a bias is added."""
        return self.elements_out if self.signature.get("bias") is not None else 0

    @property
    def module(self) -> Module:
        """The module that ran the op."""
        return self.scene.modules.get(self.op.scope, _NOWHERE)

    @property
    def layer(self) -> str:
        """The class of the module that ran the op, if it is one of ``torch.nn`` itself and no class derived from one; else nothing."""
        return self.part_of or layer_of(self.module)

    @property
    def outer(self) -> Iterator[Module]:
        """The modules around the module that ran the op."""
        return (self.scene.modules[path] for path in ancestors(self.op.scope)[1:] if path in self.scene.modules)

    @property
    def places(self) -> int:
        """In how many places of the module tree the module is that ran the op."""
        around = (self.scene.modules[path] for path in ancestors(self.op.scope) if path in self.scene.modules)
        return prod(module.places for module in around)

    @property
    def producer(self) -> Op | None:
        """The op that made the first tensor that this op reads."""
        made_by = self.op.inputs[0].producer if self.op.inputs else None
        return None if made_by is None else self.scene.graph.ops[made_by]


def layer_of(module: Module) -> str:
    """The class of a module of ``torch.nn``; nothing for all others."""
    return module.class_name if module.origin.startswith("torch.nn.modules.") else ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: how much, and in words what that is."""

    count: Callable[[Call], int]
    text: str


@dataclass(frozen=True, slots=True)
class Convention:
    """A named way to add counts up. Its version changes when a number that it gives changes."""

    name: str
    version: int
    unit: Unit
    """What it counts: multiply-accumulates, or operations of which each of them is two."""
    tool: str
    """The tool and version that counts so; empty for a convention that is no tool's."""
    text: str
    kinds: Mapping[str, Line] = field(default_factory=dict)
    """What it counts for ops of a kind, wherever they run."""
    layers: Mapping[str, Mapping[str, Line]] = field(default_factory=dict)
    """What it counts for ops of a kind in a layer of ``torch.nn``, by the class of the layer; added to the line of the kind."""
    otherwise: Line = field(default_factory=lambda: Line(lambda call: call.macs, "multiply-accumulates"))
    """What it counts for ops that no line is for."""
    layer_line: Callable[[Call], Line | None] | None = None
    """Finds the line for what a layer counts, where the table ``layers`` does not say it all."""
    again: int = 0
    """How often the count is multiplied by the number of places of a module that is inside several modules."""
    unfolds: bool = False
    """Whether fused layers are counted as the ops that they stand for."""

    def lines(self, call: Call) -> list[Line]:
        """The lines of the table that speak of a call; at least one."""
        found = [self.layers.get(call.layer, {}).get(call.kind) if self.layer_line is None else self.layer_line(call)]
        if call.signature.effect != "view":
            found.append(self.kinds.get(call.kind))
        return [line for line in found if line is not None] or [self.otherwise]

    def count(self, call: Call) -> int:
        """What one call counts, in the unit of the convention."""
        return sum(self.amount(line, part) for part in self.parts(call) for line in self.lines(part))

    def amount(self, line: Line, part: Call) -> int:
        """What a line counts for a call, in all places of its module."""
        return line.count(part) * (part.places**self.again if self.again else 1)

    def parts(self, call: Call) -> list[Call]:
        """The calls that the tool sees in place of this one: itself, but for fused layers."""
        found = fused.parts(call.signature) if self.unfolds else []
        return [Call(call.op, call.scene, part, layer) for layer, part in found] or [call]

    def counts(self, graph: Graph) -> list[int]:
        """What each op of a graph counts in all its runs, in order."""
        scene = Scene(graph)
        return [self.count(Call(op, scene, as_torch(op.signature))) * op.times for op in graph.ops]


def nothing(text: str) -> Line:
    """A line for what is not counted."""
    return Line(lambda _: 0, text)


def every(kinds: str, line: Line) -> dict[str, Line]:
    """The same line for each of some kinds, written with spaces between them."""
    return dict.fromkeys(kinds.split(), line)
