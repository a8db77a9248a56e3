"""Writing a model with the shapes that were inferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flopscope.errors import InputError
from flopscope.frontends.onnx.reading import read
from flopscope.frontends.onnx.trace import trace_values

_MOST_BYTES = 2**31 - 1
_NO_TENSORS = ("Optional", "ZipMap")
"""Ops that wrap tensors: of their results the types that are known here are those of what is inside."""


def save_shapes(model: Any, output: str | Path, inputs: Sequence[Any] = (), *, dims: Mapping[str, int] | None = None) -> int:
    """Write a model again, with the types of all values in it (of the main graph) that could be inferred.

    Weights outside the file stay where they are, so the output must lie in the same folder then.

    Args:
        model: the path of a file, or an ``onnx.ModelProto``.
        output: where to write.
        inputs: shapes, as `trace` takes them.
        dims: sizes of dynamic dimensions.

    Returns:
        How many values got a type that they did not have.

    Raises:
        InputError: the model is damaged, too large for one protobuf message, or would lose its weights; or the file cannot be written.
    """
    import onnx
    from onnx import helper

    from flopscope.frontends.onnx.dtypes import CODES

    source, target = read(model), Path(output)
    values = trace_values(source, inputs, dims=dims)
    whole = model if isinstance(model, onnx.ModelProto) else _whole(source.path)
    outside = any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in whole.graph.initializer)
    if outside and source.path is not None and target.resolve().parent != source.path.resolve().parent:
        raise InputError(f"the weights of {str(source.path)!r} lie beside it: choose an output in the same folder, not {str(target)!r}")
    result = onnx.ModelProto()
    result.CopyFrom(whole)
    known = {value.name for value in result.graph.value_info if value.type.tensor_type.HasField("shape")}
    ends = {value.name: value for value in (*result.graph.input, *result.graph.output)}
    others = {name for name, value in ends.items() if value.type.WhichOneof("value") not in (None, "tensor_type")}
    others |= {name for node in result.graph.node if node.op_type in _NO_TENSORS for name in node.output}
    tensors = [value for value in values if value.type is not None and value.name not in others]
    found = [helper.make_tensor_value_info(value.name, CODES[value.dtype], value.type.shape) for value in tensors if value.type is not None]
    stored = {tensor.name for tensor in result.graph.initializer}
    fresh = [value for value in found if value.name not in ends and value.name not in stored]
    kept = [value for value in result.graph.value_info if value.name not in {new.name for new in fresh}]
    del result.graph.value_info[:]
    result.graph.value_info.extend([*kept, *fresh])
    for value in found:
        if value.name in ends:
            ends[value.name].type.CopyFrom(value.type)
    try:
        target.write_bytes(result.SerializeToString())
    except OSError as error:
        raise InputError(f"cannot write {str(target)!r}: {error.strerror}") from error
    return sum(value.name not in known for value in fresh)


def _whole(path: Path | None) -> Any:
    """The file with everything in it."""
    import onnx

    if path is None:
        raise InputError("a model that was given as bytes cannot be written with its shapes; give its path")
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{str(path)!r} is larger than 2 GB, which protobuf cannot write; save its weights outside it first")
    result = onnx.ModelProto()
    result.ParseFromString(path.read_bytes())
    return result
