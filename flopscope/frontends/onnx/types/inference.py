"""ONNX's own inference of types, one op at a time.

One odd op never stops the rest: where nothing can be said, the type is ``None``. The sizes that only data knows are bounded from above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flopscope.errors import InputError
from flopscope.frontends.onnx.dtypes import CODES, NAMES, UNDEFINED, numpy_dtype
from flopscope.frontends.onnx.values import Value
from flopscope.graph import TensorType

if TYPE_CHECKING:
    import onnx

Typed = tuple[str, tuple[int | str | None, ...] | None]
"""An element type, and a shape in which a size may be unknown, or have a name."""


@lru_cache(maxsize=4096)
def type_proto(type: TensorType) -> onnx.TypeProto:
    """A type as ONNX writes it."""
    from onnx import helper

    return helper.make_tensor_type_proto(CODES.get(type.dtype, 0), type.shape)


@lru_cache(maxsize=256)
def _untyped_proto(dtype: str) -> onnx.TypeProto:
    from onnx import helper

    return helper.make_tensor_type_proto(CODES.get(dtype, 0), None)


def proto_of(value: Value) -> onnx.TypeProto:
    """The type of a value as ONNX writes it."""
    from onnx import helper

    if value.items is not None:
        inner = proto_of(value.items[0]) if value.items else _untyped_proto(value.dtype)
        return helper.make_sequence_type_proto(inner)
    return _untyped_proto(value.dtype) if value.type is None else type_proto(value.type)


@lru_cache(maxsize=2048)
def schema_of(op: str, opset: int, domain: str) -> Any:
    """ONNX's description of an op; ``None`` where it has none of that name and version."""
    from onnx import defs

    try:
        return defs.get_schema(op, opset, domain)
    except defs.SchemaError:
        return None


def infer(node: onnx.NodeProto, opset: int, values: Sequence[Value | None], opsets: Mapping[str, int]) -> list[Typed]:
    """What ONNX says of the outputs of a node.

    Raises:
        InputError: ONNX says that the inputs do not fit the op.
    """
    from onnx import checker, shape_inference

    domain = "" if node.domain == "ai.onnx" else node.domain
    schema = schema_of(node.op_type, opset, domain)
    unknown: list[Typed] = [(UNDEFINED, None)] * len(node.output)
    if schema is None:
        return unknown
    if any(attribute.name not in schema.attributes for attribute in node.attribute):
        node = _without_unknown(node, schema)
    types = {name: proto_of(value) for name, value in zip(node.input, values, strict=True) if value is not None}
    data = {
        name: _tensor_proto(value)
        for name, value in zip(node.input, values, strict=True)
        if value is not None and value.data is not None and numpy_dtype(value.dtype) is not None
    }
    try:
        found = shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=_opset_ids(tuple(opsets.items())), ir_version=10
        )
    except shape_inference.InferenceError as error:
        if any(value is not None and (value.type is None or value.dtype == UNDEFINED) for value in values):
            return unknown  # it complains of what is not known, not of what does not fit
        raise InputError(_plain(error)) from error
    except (checker.ValidationError, ValueError, RuntimeError, TypeError):
        return unknown  # a deprecated op, or a kind of value that it cannot describe
    return [_typed(found[name]) if name in found else (UNDEFINED, None) for name in node.output]


def _without_unknown(node: onnx.NodeProto, schema: Any) -> onnx.NodeProto:
    """A node without attributes that this version of the op does not have, as old exporters leave them behind."""
    kept = type(node)()
    kept.CopyFrom(node)
    del kept.attribute[:]
    kept.attribute.extend(attribute for attribute in node.attribute if attribute.name in schema.attributes)
    return kept


@lru_cache(maxsize=64)
def _opset_ids(opsets: tuple[tuple[str, int], ...]) -> Any:
    from onnx import helper

    return [helper.make_opsetid(domain, version) for domain, version in opsets]


def _plain(error: Exception) -> str:
    """What ONNX complains of, without its own marks."""
    text = str(error).strip().splitlines()[0]
    for mark in ("[ShapeInferenceError]", "[TypeInferenceError]"):
        text = text.replace(mark, "")
    return " ".join(text.split())


def _tensor_proto(value: Value) -> onnx.TensorProto:
    from onnx import numpy_helper

    assert value.data is not None
    return numpy_helper.from_array(value.data, value.name)


def _typed(proto: onnx.TypeProto) -> Typed:
    tensor = proto.tensor_type
    dtype = NAMES.get(tensor.elem_type, UNDEFINED)
    return dtype, shape_of(tensor)


def shape_of(tensor: Any) -> tuple[int | str | None, ...] | None:
    """The shape of a ``TypeProto.Tensor``: sizes, names of sizes, or ``None`` for unknown ones; ``None`` where it has none."""
    if not tensor.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in tensor.shape.dim)
