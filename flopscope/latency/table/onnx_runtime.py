"""Measuring the nodes of ONNX Runtime: all nodes of a model in one model, each by itself, run round after round under its profiler."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from flopscope.graph import Graph, Op, Signature
from flopscope.latency.table.eager import key_of
from flopscope.latency.table.nodes import TARGET, name_in, profiled
from flopscope.latency.table.rounds import LEAST_ROUNDS, MOST_ROUNDS, WARM_UP, is_steady
from flopscope.tensor_type import TensorType

_ONE: Final = "one"
_NODE: Final = "node"
_CHAIN: Final = 200
MICROSECOND: Final = 1e-6
_ROUNDS: Final = 16
BATCH_BYTES: Final = 2**30
"""A model in memory must stay below two gibibytes."""


def node_keys(graph: Graph) -> dict[str, Op]:
    """The first node of each key, in the order of the graph."""
    found: dict[str, Op] = {}
    for op in graph.ops:
        key = key_of(op)
        if key is not None:
            found.setdefault(key, op)
    return found


def measured_nodes(ops: Mapping[str, Op], wanted: frozenset[str], threads: int) -> tuple[dict[str, list[float]], dict[str, str]]:
    """The seconds of each run of each wanted node, without what profiling adds, and of those that cannot be run alone, why."""
    runs: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    overhead = profiling_seconds(threads)
    for batch in _batches(ops, wanted):
        _measure(batch, wanted, threads, overhead, runs, failed)
    return runs, failed


def _measure(
    batch: Mapping[str, Op], wanted: frozenset[str], threads: int, overhead: float, runs: dict[str, list[float]], failed: dict[str, str]
) -> None:
    """A model that holds a node that cannot be run says nothing of the others, so it is halved until each of them is alone."""
    asked = wanted & batch.keys()
    if not asked:
        return
    try:
        found = _rounds(batch, asked, threads)
    except Exception as error:  # noqa: BLE001 - the runtime raises what it likes
        if len(batch) == 1:
            failed[next(iter(batch))] = f"{next(iter(batch.values())).target} cannot be run alone: {str(error).splitlines()[0][:120]}"
            return
        keys = list(batch)
        for half in (keys[: len(keys) // 2], keys[len(keys) // 2 :]):
            _measure({key: batch[key] for key in half}, wanted, threads, overhead, runs, failed)
        return
    for key, seconds in found.items():
        runs[key] = [max(0.0, each - overhead) for each in seconds]


def _rounds(batch: Mapping[str, Op], asked: frozenset[str], threads: int) -> dict[str, list[float]]:
    """As many rounds as it takes until all nodes are steady, each session with rounds that do not count."""
    model, feeds = _model_of(list(batch.values()))
    names = {f"{_NODE}{number}": key for number, key in enumerate(batch) if key in asked}
    runs: dict[str, list[float]] = {key: [] for key in asked}
    data = model.SerializeToString()
    while True:
        with tempfile.TemporaryDirectory() as folder:
            events = profiled(data, threads, feeds, WARM_UP + _ROUNDS, Path(folder))
        for name, key in names.items():
            # the profiler cuts times off to whole microseconds
            seconds = [(event["dur"] + 0.5) * MICROSECOND for event in events if name_in(event) == name]
            if len(seconds) < WARM_UP + LEAST_ROUNDS:
                raise RuntimeError(f"the runtime left out {batch[key].target}")
            runs[key] += seconds[WARM_UP:]
        if all(map(is_steady, runs.values())) or min(map(len, runs.values())) >= MOST_ROUNDS:
            return runs


def profiling_seconds(threads: int) -> float:
    """What the profiler says a node takes beyond what it does: by a chain of additions of two numbers, run with and without it."""
    import statistics
    import time

    import numpy
    from onnx import TensorProto, helper

    from flopscope.latency.table.nodes import session

    nodes = [helper.make_node("Add", [f"x{number}", "x0"], [f"x{number + 1}"], name=f"{_NODE}{number}") for number in range(_CHAIN)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x0", f"x{_CHAIN}")]
    model = helper.make_model(helper.make_graph(nodes, "chain", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    data, feeds = model.SerializeToString(), {"x0": numpy.ones(1, numpy.float32)}
    plain = session(data, threads, optimise=False)
    whole = []
    for _ in range(50):
        start = time.perf_counter()
        plain.run(None, feeds)
        whole.append(time.perf_counter() - start)
    with tempfile.TemporaryDirectory() as folder:
        events = profiled(data, threads, feeds, 50, Path(folder))
    said: float = statistics.median((event["dur"] + 0.5) * MICROSECOND for event in events)
    return max(0.0, said - statistics.median(whole) / _CHAIN)


def _batches(ops: Mapping[str, Op], wanted: frozenset[str]) -> list[dict[str, Op]]:
    found: list[dict[str, Op]] = [{}]
    size = 0
    for key, op in ops.items():
        needed = sum(type.bytes(type.elements) for type in (*op.signature.inputs, *op.signature.outputs))
        if found[-1] and size + needed > BATCH_BYTES:
            found.append({})
            size = 0
        found[-1][key] = op
        size += needed
    return [batch for batch in found if not wanted.isdisjoint(batch)]


def _model_of(ops: Sequence[Op]) -> tuple[Any, dict[str, Any]]:
    """A model of nodes that have nothing to do with each other, and its inputs. What a node reads is written by the node before it."""
    import numpy
    from onnx import TensorProto, helper, numpy_helper

    builder = _Builder()
    for number, op in enumerate(ops):
        builder.add(number, op.signature)
    builder.constants.append(numpy_helper.from_array(numpy.ones((), numpy.float32), _ONE))
    builder.nodes.append(helper.make_node("Identity", [_ONE], ["end"], name="end"))
    end = helper.make_tensor_value_info("end", TensorProto.FLOAT, [])
    graph = helper.make_graph(builder.nodes, "nodes", builder.inputs, [end], builder.constants)
    opsets = [helper.make_opsetid("" if domain == "ai.onnx" else domain, version) for domain, version in builder.opsets.items()]
    if "ai.onnx" not in builder.opsets:
        opsets.append(helper.make_opsetid("", 17))
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 9
    return model, builder.feeds


class _Builder:
    """Adds nodes, each with inputs and constants of its own."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.constants: list[Any] = []
        self.feeds: dict[str, Any] = {}
        self.opsets: dict[str, int] = {}

    def add(self, number: int, signature: Signature) -> None:
        from onnx import helper

        domain, _, kind = signature.target.removeprefix(TARGET).partition("::")
        self.opsets[domain] = signature["opset"]
        inputs = [self._input(f"{_NODE}{number}_{place}", signature, place) for place in _places(signature)]
        outputs = [f"{_NODE}{number}_out{place}" if there else "" for place, there in enumerate(signature["outputs"])]
        node = helper.make_node(kind, inputs, outputs, name=f"{_NODE}{number}", domain="" if domain == "ai.onnx" else domain)
        for name, value in signature.arguments.items():
            if name.startswith("attribute_") and value != ():
                node.attribute.append(
                    helper.make_attribute(name.removeprefix("attribute_"), list(value) if isinstance(value, tuple) else value)
                )
        self.nodes.append(node)

    def _input(self, name: str, signature: Signature, place: int) -> str:
        from onnx import helper, numpy_helper

        type = signature[f"input{place}"]
        if type is None:
            return ""
        held = _array(type, signature.get(f"constant{place}"))
        if signature.get(f"constant{place}") is not None:
            self.constants.append(numpy_helper.from_array(held, name))
            return name
        self.feeds[name] = held
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(held.dtype), list(type.shape)))
        if type.dtype != "float32":
            return name
        self.nodes.append(helper.make_node("Mul", [name, _ONE], [f"{name}_new"], name=f"write_{name}"))
        return f"{name}_new"


def _places(signature: Signature) -> Iterable[int]:
    return [int(name.removeprefix("input")) for name in signature.arguments if name.startswith("input")]


def _array(type: TensorType, constant: Any) -> Any:
    """An array of a type: what a small constant holds, or small numbers; positions are zero."""
    import numpy

    if isinstance(constant, tuple):
        return numpy.array(constant, dtype=type.dtype).reshape(type.shape)
    if "float" in type.dtype:
        return numpy.random.default_rng(0).uniform(0.1, 1.0, type.shape).astype(type.dtype)
    return numpy.zeros(type.shape, dtype=type.dtype)
