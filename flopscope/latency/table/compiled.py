"""The kernels that ``torch.compile`` makes of a model, each a small program of its own that can be compiled and measured.

Which ops the compiler joins is told by `flopscope.latency.kernels`, from the graph alone.
"""

from __future__ import annotations

import json
import statistics
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from flopscope.graph import Graph, Op, Signature, Tensor
from flopscope.latency.kernels import kernels
from flopscope.latency.table.calls import FREE, bindings, is_writable, tensor_of, write
from flopscope.latency.table.eager import key_of
from flopscope.latency.table.keys import read
from flopscope.latency.table.rounds import Candidate

PROGRAM: Final = "torch.compile::program"
_WEIGHTS: Final = ("parameter", "buffer", "constant")
_EMPTY_CALLS: Final = 500


def compiled_graph(graph: Graph) -> Graph:
    """A graph whose ops are the kernels of a compiled model: those that work, in order. Views are parts of what reads them."""
    found = [_Kernel(graph, kernel.ops) for kernel in kernels(graph, runtime="compile")]
    users = _users(graph)
    ops = [op for kernel in found if (op := kernel.op(users)) is not None]
    for index, op in enumerate(ops):
        op.index = index
    return Graph(name=graph.name, ops=ops)


def _users(graph: Graph) -> Mapping[int, set[int]]:
    users: dict[int, set[int]] = {}
    for op in graph.ops:
        for value in op.inputs:
            users.setdefault(value.id, set()).add(op.index)
    return users


class _Kernel:
    """Collects the program of some ops of a graph: each step an op's key, and where its tensors come from."""

    def __init__(self, graph: Graph, members: Sequence[int]) -> None:
        self._graph, self._members = graph, set(members)
        self._order = sorted(self._members)
        self._places: dict[int, str] = {}
        self._inputs: list[Tensor] = []
        self._steps: list[tuple[str, list[str]]] = []

    def op(self, users: Mapping[int, set[int]]) -> Op | None:
        for index in self._order:
            if not self._step(self._graph.ops[index]):
                return None
        first = self._graph.ops[self._order[0]]
        made = [(value, self._graph.ops[index]) for index in self._order for value in self._graph.ops[index].outputs]
        kept = [value for value, _ in made if not users.get(value.id, set()) <= self._members or not users.get(value.id)]
        kept = kept or [made[-1][0]]
        arguments: dict[str, Any] = {f"input{number}": value.type for number, value in enumerate(self._inputs)}
        arguments["program"] = json.dumps([self._steps, [self._places[value.id] for value in kept]], separators=(",", ":"))
        signature = Signature(PROGRAM, "program", arguments, tuple(value.type for value in kept))
        return Op(0, signature, tuple(self._inputs), tuple(kept), first.scope, first.times)

    def _step(self, op: Op) -> bool:
        """Add an op, after the views that it needs. False if it has no key."""
        places = [self._place(value) for value in op.inputs]
        key = key_of(op)
        if key is None or None in places:
            return False
        for number, value in enumerate(op.outputs):
            self._places[value.id] = f"s{len(self._steps)}.{number}"
        self._steps.append((key, [place for place in places if place is not None]))
        return True

    def _place(self, value: Tensor) -> str | None:
        if value.id in self._places:
            return self._places[value.id]
        maker = None if value.producer is None else self._graph.ops[value.producer]
        if maker is not None and maker.signature.effect == "view" and self._is_inside(maker.inputs[0]):
            if maker.target.startswith(FREE):
                place = self._place(maker.inputs[0])
                self._places[value.id] = place or ""
                return place
            return self._places[value.id] if self._step(maker) else None
        self._places[value.id] = f"i{len(self._inputs)}"
        self._inputs.append(value)
        return self._places[value.id]

    def _is_inside(self, value: Tensor) -> bool:
        if value.producer is None:
            return False
        maker = self._graph.ops[value.producer]
        return value.producer in self._members or (maker.signature.effect == "view" and self._is_inside(maker.inputs[0]))


def candidate_of(key: str, op: Op) -> Candidate | None:
    """A kernel, compiled; ``None`` where the compiler does not take it."""
    import torch

    inputs = [_laid_out(tensor_of(value.type), value) for value in op.inputs]
    fresh = [tensor for tensor, value in zip(inputs, op.inputs, strict=True) if value.role not in _WEIGHTS and is_writable(tensor)]
    try:
        function = torch.compile(program(op.signature), dynamic=False, fullgraph=True)
        with torch.inference_mode():
            function(*inputs)
    except Exception:  # noqa: BLE001 - the compiler raises what it likes; then the kernel is not measured
        return None
    return Candidate(key, lambda: write(fresh), lambda: function(*inputs))


def _laid_out(tensor: Any, value: Tensor) -> Any:
    """The compiler keeps images with their channels last, and weights as they are."""
    import torch

    images = tensor.dim() == 4 and value.role not in _WEIGHTS
    return tensor.contiguous(memory_format=torch.channels_last) if images else tensor


def program(signature: Signature) -> Any:
    """The program of a kernel as a function of its inputs."""
    steps, kept = json.loads(signature["program"])
    bound = [next(bindings(read(key))) for key, _ in steps]

    def run(*inputs: Any) -> list[Any]:
        values: list[Any] = []
        for binding, (_, places) in zip(bound, steps, strict=True):
            args, kwargs = binding.filled(_found(places, inputs, values))
            result = binding.overload(*args, **kwargs)
            values.append(result if isinstance(result, list | tuple) else [result])
        return list(_found(kept, inputs, values))

    # the compiler keeps what it made with the code, and gives up where one code has many shapes: each program has a code of its own
    return types.FunctionType(run.__code__.replace(), run.__globals__, run.__name__, None, run.__closure__)


def _found(places: Sequence[str], inputs: Sequence[Any], values: Sequence[Any]) -> Iterator[Any]:
    for place in places:
        if place.startswith("i"):
            yield inputs[int(place[1:])]
        else:
            step, _, number = place[1:].partition(".")
            yield values[int(step)][int(number)]


def call_seconds() -> float:
    """What calling a compiled function takes, which a model pays once and not for each kernel."""
    import torch

    x = torch.zeros(1)
    function = torch.compile(lambda given: given + 1, dynamic=False)
    with torch.inference_mode():
        function(x)
        found = []
        for _ in range(_EMPTY_CALLS):
            start = time.perf_counter()
            function(x)
            found.append(time.perf_counter() - start)
    return statistics.median(found)
