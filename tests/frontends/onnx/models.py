"""Small ONNX models for tests, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    """A node."""
    return helper.make_node(op, inputs, outputs, **attributes)


def value(name: str, shape: Sequence[int | str | None] | None, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    """A value with its type."""
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name: str, shape: Sequence[int], dtype: Any = np.float32) -> onnx.TensorProto:
    """An initializer."""
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def ints(name: str, values: Sequence[int] | int) -> onnx.TensorProto:
    """An initializer of integers."""
    return numpy_helper.from_array(np.asarray(values, np.int64), name)


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto] = (),
    outputs: Sequence[onnx.ValueInfoProto] = (),
    weights: Sequence[onnx.TensorProto] = (),
    name: str = "g",
) -> onnx.GraphProto:
    """A graph."""
    return helper.make_graph(list(nodes), name, list(inputs), list(outputs), list(weights))


def model(*parts: Any, opset: int = 17, functions: Sequence[onnx.FunctionProto] = (), domains: Sequence[str] = ()) -> onnx.ModelProto:
    """A model of a graph, given as one or as its parts."""
    whole = parts[0] if isinstance(parts[0], onnx.GraphProto) else graph(*parts)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(whole, opset_imports=imports, functions=list(functions))
