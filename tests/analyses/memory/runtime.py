"""The live bytes of an ONNX model as ONNX Runtime reports them node by node, and as a walk over the raw nodes counts them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

REQUESTED = "mem_bytes_requested_in_use"
"""What the arena was asked for and not given back, at the end of a node. Inputs and weights are not in it."""
CHANGE = "mem_requested_in_use_delta"
WIDTHS = {
    "float": 4, "double": 8, "float16": 2, "int64": 8, "int32": 4, "uint8": 1, "int8": 1, "bool": 1, "uint64": 8, "uint32": 4, "int16": 2,
    "uint16": 2, "bfloat16": 2,
}  # fmt: skip
ALIASES = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"}


@dataclass(frozen=True)
class Ran:
    """One node of a run."""

    name: str
    live: int
    outputs: tuple[int, ...]
    """The bytes of each output."""


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a name of its own for every node."""
    for i, node in enumerate(model.graph.node):
        node.name = f"node{i}"
    return model


def run(model: onnx.ModelProto, feeds: Mapping[str, Any], folder: Path) -> list[Ran] | None:
    """The nodes in the order in which they ran, one run; ``None`` where this version of the runtime does not report memory."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_mem_pattern = False  # else one block is taken for all
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    session.run(None, dict(feeds))
    path = Path(session.end_profiling())
    events = json.loads(path.read_text())
    path.unlink()
    ran = []
    before = None  # what the runtime keeps of the weights
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            if REQUESTED not in event["args"]:
                return None
            if before is None:
                before = int(event["args"][REQUESTED]) - int(event["args"][CHANGE])
            shapes = event["args"]["output_type_shape"]
            sizes = tuple(WIDTHS[kind] * int(np.prod(shape, dtype=np.int64)) for item in shapes for kind, shape in item.items())
            ran.append(Ran(event["name"].removesuffix("_kernel_time"), int(event["args"][REQUESTED]) - before, sizes))
    return ran


def reordered(model: onnx.ModelProto, ran: Sequence[Ran]) -> onnx.ModelProto:
    """The model with its nodes in the order in which they ran; what did not run, such as constants, first."""
    order = {item.name: i for i, item in enumerate(ran)}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    nodes = sorted(model.graph.node, key=lambda node: order.get(node.name, -1))
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    return result


def live_bytes(model: onnx.ModelProto, sizes: Mapping[str, Sequence[int]], in_place: frozenset[str] = frozenset()) -> dict[str, int]:
    """The bytes of live tensors while each node runs, by its name, inputs and weights apart.

    Args:
        model: nodes in the order in which they run.
        sizes: the bytes of the outputs of each node that ran.
        in_place: ops that write over an input of the same size which nobody reads afterwards, where the model does not return the result.
    """
    nodes = [node for node in model.graph.node if node.name in sizes]
    outside = {value.name for value in model.graph.input} | {value.name for value in model.graph.initializer}
    returned = {value.name for value in model.graph.output}
    block: dict[str, str] = {}  # of each value, the value whose memory it lies in
    size: dict[str, int] = {}
    readers: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for name in node.input:
            readers[name] = i
    for i, node in enumerate(nodes):
        made = [name for name in node.output if name]
        for name, count in zip(made, sizes[node.name], strict=True):
            block[name], size[name] = name, count
        first = made[0]
        if first in returned:
            continue
        if node.op_type in ALIASES:
            block[first] = block.get(node.input[0], node.input[0])
        elif node.op_type in in_place:
            for name in node.input:
                home = block.get(name)
                shared = [other for other, place in block.items() if place == home]
                dies = home is not None and home not in returned and all(readers.get(other, -1) <= i for other in shared)
                if dies and home not in outside and size.get(name) == size[first]:
                    block[first] = str(home)
                    break
    ends: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for name in (*node.input, *node.output):
            if name in block:
                ends[block[name]] = i
    for name in returned:
        if name in block:
            ends[block[name]] = len(nodes)
    begins = {name: i for i, node in enumerate(nodes) for name in node.output}
    return {
        node.name: sum(size[name] for name in size if block[name] == name and begins[name] <= i <= ends[name])
        for i, node in enumerate(nodes)
    }
