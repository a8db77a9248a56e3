"""How much memory a model takes while it runs, and what an ideal planner could make of it, ready to be asked and printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flopscope.analyses.memory.cuda import on_cuda
from flopscope.analyses.memory.elementwise import in_place
from flopscope.analyses.memory.kernels import growths
from flopscope.analyses.memory.planner import Plan, plan
from flopscope.analyses.memory.storages import Storage, bytes_of, constants, folded, storages
from flopscope.analyses.memory.timeline import Timeline, alive_at, timeline
from flopscope.analyses.memory.weights import weight_bytes
from flopscope.analyses.widths import width_of
from flopscope.graph import SHAPE_UNKNOWN, Graph, Op, TensorType
from flopscope.report import memory_text
from flopscope.report.text import TableFormat


@dataclass(frozen=True, slots=True)
class Place:
    """An op of the model, as a table names it."""

    op: int
    target: str
    scope: str

    def to_dict(self) -> dict[str, Any]:
        """The place as plain data."""
        return {"op": self.op, "target": self.target, "scope": self.scope}


@dataclass(frozen=True, slots=True)
class Alive:
    """A piece of memory that is held at some op."""

    bytes: int
    type: TensorType
    made_by: Place | None
    """``None`` for an input."""
    until: Place | None
    """The last op that runs while it is held; ``None`` for what is held to the end."""
    what: str
    """Its name, or what it is where it is no value of the graph."""

    def to_dict(self) -> dict[str, Any]:
        """The piece as plain data."""
        made_by, until = (None if place is None else place.to_dict() for place in (self.made_by, self.until))
        facts = {"bytes": self.bytes, "shape": list(self.type.shape), "dtype": self.type.dtype}
        return {**facts, "made_by": made_by, "until": until, "what": self.what}


class Memory:
    """The memory of one call of a model: live tensors op by op, weights apart.

    Everything is computed from the graph when it is first asked for. All counts are bytes.
    """

    def __init__(self, graph: Graph, *, is_fused: bool = False) -> None:
        """Ask about a graph, as its program holds tensors, or (``is_fused``) as an ideal planner would."""
        self._graph = graph
        self.is_fused = is_fused

    @cached_property
    def fused(self) -> Memory:
        """The same under an ideal planner: tensors live from their first write to their last use, and elementwise ops write in place.

        The result of an elementwise op takes the memory of the first input of the op that dies there, was made by an op of the model,
        has the result's shape, and takes as many bytes.
        """
        return self if self.is_fused else Memory(self._graph, is_fused=True)

    # -- the numbers ----------------------------------------------------------------------------------------

    @property
    def peak_bytes(self) -> int:
        """The most bytes of live tensors at any op, inputs included, because the caller holds them. A lower bound where `partial`."""
        found = self.timeline
        return max(found.peak_bytes, found.before_bytes, found.after_bytes)

    @cached_property
    def input_bytes(self) -> int:
        """The bytes of the inputs, each piece of memory once."""
        return sum(piece.bytes for piece in self._pieces if piece.role == "input")

    @cached_property
    def cpu_peak_bytes(self) -> int | None:
        """The peak on an eager CPU such as this one, whose kernels take scratch memory beside tensors; ``None`` for ONNX models."""
        if self._graph.deaths is None:
            return None
        return timeline(storages(self._graph), len(self._graph.ops), growths(self._graph)).peak_bytes

    @cached_property
    def cuda_peak_bytes(self) -> int | None:
        """The peak of the same tensors in CUDA's blocks of 512 bytes, as ``torch.cuda.max_memory_allocated`` counts them.

        The workspaces of cuDNN and cuBLAS are not in it. ``None`` for ONNX models.
        """
        return None if self._graph.deaths is None else timeline(on_cuda(storages(self._graph)), len(self._graph.ops)).peak_bytes

    @property
    def activation_peak_bytes(self) -> int:
        """The most bytes of live tensors at any op, without the inputs."""
        return self.peak_bytes - self.input_bytes

    @cached_property
    def parameter_bytes(self) -> int:
        """The bytes of all parameters, each tensor once, sparse ones as stored, with their indices."""
        return sum(map(weight_bytes, self._graph.parameters))

    @cached_property
    def buffer_bytes(self) -> int:
        """The bytes of all buffers, in the same way."""
        return sum(map(weight_bytes, self._graph.buffers))

    @cached_property
    def constant_bytes(self) -> int:
        """The bytes of the tensors that ops read and that the model holds elsewhere, neither inputs nor parameters nor buffers."""
        return sum(bytes_of(value.type) for value in constants(self._graph))

    @cached_property
    def folded_bytes(self) -> int:
        """The bytes of what a runtime makes of weights alone when it loads a file, and ops read: no activations, and in no other number."""
        made = folded(self._graph)
        read = {value.id for op in self._graph.ops if any(out.id not in made for out in op.outputs) for value in op.inputs}
        return sum(bytes_of(value.type) for value in made.values() if value.id in read and value.storage is None)

    @property
    def total_bytes(self) -> int:
        """The peak, and all weights and constants."""
        return self.peak_bytes + self.parameter_bytes + self.buffer_bytes + self.constant_bytes

    @cached_property
    def partial(self) -> bool:
        """Whether all counts are lower bounds, because the shape or the element type of a value is not known."""
        ops = self._graph.ops
        values = (*self._graph.inputs, *(value for op in ops for value in op.outputs))
        return any(op.kind == SHAPE_UNKNOWN for op in ops) or any(width_of(value.type.dtype) is None for value in values)

    # -- where ----------------------------------------------------------------------------------------------

    @property
    def peak(self) -> Place | None:
        """The op at which the peak is first reached; ``None`` for a model without ops."""
        return None if self.timeline.peak_at is None else self._place(self.timeline.peak_at)

    @cached_property
    def timeline(self) -> Timeline:
        """The bytes of live tensors while each op runs."""
        return timeline(self._pieces, len(self._graph.ops))

    @cached_property
    def alive(self) -> list[Alive]:
        """What is held at the peak, the largest first."""
        return self.alive_at(self.timeline.peak_at if self.timeline.peak_at is not None else -1)

    def alive_at(self, op: int) -> list[Alive]:
        """What is held while the op of an index runs, the largest first; before the first op for -1."""
        return [self._alive(piece) for piece in alive_at(self._pieces, op)]

    @cached_property
    def plan(self) -> Plan:
        """One arena for all tensors but the inputs: how small an ideal planner could make it, and how small a greedy one makes it."""
        return plan(self.planned, len(self._graph.ops))

    @cached_property
    def planned(self) -> list[Storage]:
        """The pieces of memory that the plan places, in the order of its offsets."""
        return [piece for piece in self.fused._pieces if piece.role != "input"]

    @cached_property
    def notes(self) -> list[str]:
        """What a reader of these numbers must know."""
        return list(memory_text.notes(self, self._graph))

    @cached_property
    def _pieces(self) -> list[Storage]:
        found = storages(self._graph, ideal=self.is_fused)
        return in_place(self._graph, found) if self.is_fused else found

    def _alive(self, piece: Storage) -> Alive:
        made_by = None if piece.producer is None else self._place(piece.producer)
        until = None if piece.died > len(self._graph.ops) else self._place(piece.died - 1)
        what = piece.what or piece.name or ("input" if piece.role == "input" else "")
        return Alive(piece.bytes, piece.type, made_by, until, what)

    def _place(self, index: int) -> Place:
        op = self._graph.ops[index]
        return Place(index, op.target, op.scope)

    @property
    def ops(self) -> Sequence[Op]:
        """The ops of the timeline."""
        return self._graph.ops

    @property
    def name(self) -> str:
        """The name of the model."""
        return self._graph.name

    # -- formats --------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<Memory of {self.name}: peak {self.peak_bytes:,} bytes>"

    def to_text(self, *, exact: bool = False, top: int = 10) -> str:
        """The peak, what is alive there, and the timeline as a picture, for people."""
        return memory_text.text(self, exact, top)

    def to_table(self, style: TableFormat = "table", *, exact: bool = False, top: int | None = None) -> str:
        """What is alive at the peak as a table.

        Args:
            style: ``"table"``, ``"markdown"``, ``"latex"`` or ``"csv"``.
            exact: whether to write bytes in full.
            top: how many pieces to list.

        Raises:
            OptionError: there is no such format.
        """
        return memory_text.alive_table(self, style, exact, top)

    def to_markdown(self, *, exact: bool = False, top: int | None = 10) -> str:
        """The numbers and what is alive at the peak, in GitHub's Markdown."""
        return memory_text.markdown(self, exact, top)

    def to_csv(self) -> str:
        """The timeline: a row for each op, with the live bytes as the program runs and under an ideal planner."""
        return memory_text.csv(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            **memory_text.numbers(self),
            "partial": self.partial,
            "fused": self.is_fused,
            "peak": None if self.peak is None else self.peak.to_dict(),
            "alive": [piece.to_dict() for piece in self.alive],
            "timeline": list(self.timeline.live_bytes),
            "ideal": {
                "peak_bytes": self.fused.peak_bytes,
                "arena_lower_bound_bytes": self.plan.lower_bound_bytes,
                "arena_bytes": self.plan.arena_bytes,
                "strategy": self.plan.strategy,
            },
            "notes": self.notes,
        }

    def to_json(self, indent: int | None = 2) -> str:
        """Everything as JSON."""
        return json.dumps({"model": self.name, **self.to_dict()}, indent=indent) + "\n"
