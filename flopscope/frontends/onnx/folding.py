"""Folding of shape arithmetic: small values that do not depend on the data are computed, op by op, as NumPy computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flopscope.frontends.onnx.data_folding import FOLDS as DATA_FOLDS
from flopscope.frontends.onnx.dtypes import NAMES, numpy_dtype
from flopscope.frontends.onnx.values import Array, Value

MOST_ELEMENTS = 16_384
"""Values with more elements are not computed."""
Attributes = Mapping[str, Any]
Fold = Callable[[Sequence[Any], Attributes, int], Any]


def fold(op: str, inputs: Sequence[Value | None], attributes: Attributes, opset: int, out_elements: int | None) -> list[Array] | None:
    """The outputs of a call of an ONNX op whose inputs are known; ``None`` where it cannot be folded.

    Args:
        op: the name of an op of the domain ai.onnx.
        inputs: its inputs.
        attributes: its attributes.
        opset: the version of ONNX's ops.
        out_elements: how many elements the first output has, where that is known.
    """
    if out_elements is not None and out_elements > MOST_ELEMENTS:
        return None
    if op in ("Shape", "Size"):
        return _shape(op, inputs[0], attributes)
    function = _FOLDS.get(op)
    if function is None or any(value is not None and value.data is None for value in inputs):
        return None
    data = [None if value is None else value.data for value in inputs]
    try:
        with np.errstate(all="ignore"):
            found = function(data, attributes, opset)
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, ZeroDivisionError, AttributeError, MemoryError):
        return None  # the type of the result is still known
    outputs = list(found) if isinstance(found, (list, tuple)) else [found]
    return [np.asarray(item) for item in outputs] if all(np.size(item) <= MOST_ELEMENTS for item in outputs) else None


def _shape(op: str, value: Value | None, attributes: Attributes) -> list[Array] | None:
    if value is None or value.type is None:
        return None
    shape = value.type.shape
    if op == "Size":
        return [np.asarray(value.type.elements, np.int64)]
    start, end = attributes.get("start", 0), attributes.get("end")
    return [np.asarray(shape[slice(start, end)], np.int64)]


def _elementwise(function: Callable[..., Any]) -> Fold:
    def fold_one(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
        if "axis" in attributes:
            raise ValueError("before version 7, an axis says where the second operand lies: not as in NumPy")
        return function(*data)

    return fold_one


def _divide(data: Sequence[Any], _: Attributes, __: int) -> Any:
    a, b = data
    if np.issubdtype(np.asarray(a).dtype, np.floating):
        return np.divide(a, b)
    quotient = np.abs(a) // np.abs(b)  # integers are cut off towards zero
    return np.asarray(np.where((a < 0) != (b < 0), -quotient, quotient), np.asarray(a).dtype)


def _modulo(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    return np.fmod(*data) if attributes.get("fmod", 0) else np.mod(*data)


def _cast(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    kind = numpy_dtype(NAMES[attributes["to"]])
    if kind is None:
        raise TypeError("NumPy has no such type")
    return np.asarray(data[0]).astype(kind)


def _axes(data: Sequence[Any], attributes: Attributes, position: int = 1) -> tuple[int, ...] | None:
    """Axes, given as an attribute in early versions and as an input later."""
    if "axes" in attributes:
        return tuple(attributes["axes"])
    if len(data) > position and data[position] is not None:
        return tuple(int(axis) for axis in np.asarray(data[position]).reshape(-1))
    return None


def _unsqueeze(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    return np.expand_dims(data[0], _axes(data, attributes) or ())


def _squeeze(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    return np.squeeze(data[0], _axes(data, attributes))


def _reshape(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    wanted = attributes.get("shape", None if len(data) < 2 else np.asarray(data[1]).tolist())
    keeps = not attributes.get("allowzero", 0)
    sizes = [data[0].shape[i] if size == 0 and keeps else size for i, size in enumerate(wanted)]
    return np.reshape(data[0], sizes)


def _gather(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    axis = attributes.get("axis", 0)
    size = data[0].shape[axis]
    if np.any((data[1] < -size) | (data[1] >= size)):
        raise IndexError("an index is outside the axis")
    return np.take(data[0], data[1], axis=axis)


def _slice(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    x = data[0]
    given = [None if len(data) <= i or data[i] is None else np.asarray(data[i]).tolist() for i in range(1, 5)]
    starts, ends = attributes.get("starts", given[0]), attributes.get("ends", given[1])
    axes = attributes.get("axes", given[2]) or range(len(starts))
    steps = given[3] or [1] * len(starts)
    cuts = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        stops_before_start = step < 0 and end < -x.shape[axis]
        cuts[axis] = slice(start, None if stops_before_start else end, step)
    return np.asarray(x[tuple(cuts)])


def _concat(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    return np.concatenate(data, axis=attributes.get("axis", 1))


def _split(data: Sequence[Any], attributes: Attributes, _: int) -> list[Array]:
    axis = attributes.get("axis", 0)
    sizes = attributes.get("split", None if len(data) < 2 or data[1] is None else np.asarray(data[1]).tolist())
    if sizes is None:
        each = -(-data[0].shape[axis] // attributes["num_outputs"])
        sizes = [each] * attributes["num_outputs"]
    return np.split(data[0], np.cumsum(sizes)[:-1].tolist(), axis=axis)


def _transpose(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    return np.transpose(data[0], attributes.get("perm"))


def _constant_of_shape(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    sizes = np.asarray(data[0]).tolist()
    if int(np.prod(sizes, dtype=object)) > MOST_ELEMENTS:
        raise MemoryError("it is large")
    value = attributes.get("value")
    if value is None:
        return np.zeros(sizes, np.float32)
    from onnx import numpy_helper

    fill = numpy_helper.to_array(value)
    return np.full(sizes, fill.reshape(-1)[0], fill.dtype)


def _expand(data: Sequence[Any], _: Attributes, __: int) -> Any:
    sizes = np.broadcast_shapes(data[0].shape, tuple(np.asarray(data[1]).tolist()))
    if int(np.prod(sizes, dtype=object)) > MOST_ELEMENTS:
        raise MemoryError("it is large")
    return np.broadcast_to(data[0], sizes).copy()


def _tile(data: Sequence[Any], _: Attributes, __: int) -> Any:
    if data[0].size * int(np.prod(data[1], dtype=object)) > MOST_ELEMENTS:
        raise MemoryError("it is large")
    return np.tile(data[0], np.asarray(data[1]).tolist())


def _range(data: Sequence[Any], _: Attributes, __: int) -> Any:
    start, limit, delta = (np.asarray(item).reshape(-1)[0] for item in data)
    if abs((float(limit) - float(start)) / float(delta)) > MOST_ELEMENTS:
        raise MemoryError("it is large")
    return np.arange(start, limit, delta, dtype=np.asarray(data[0]).dtype)


def _reduction(function: Callable[..., Any]) -> Fold:
    def reduce(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
        axes = _axes(data, attributes)
        if not axes and attributes.get("noop_with_empty_axes", 0):
            return data[0]
        found = function(data[0], axis=axes or None, keepdims=bool(attributes.get("keepdims", 1)))
        return np.asarray(found, data[0].dtype)

    return reduce


def _arg(function: Callable[..., Any]) -> Fold:
    def arg(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
        axis = attributes.get("axis", 0)
        if attributes.get("select_last_index", 0):
            found = data[0].shape[axis] - 1 - function(np.flip(data[0], axis), axis=axis)
        else:
            found = function(data[0], axis=axis)
        return np.asarray(np.expand_dims(found, axis) if attributes.get("keepdims", 1) else found, np.int64)

    return arg


def _cumulative_sum(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    if attributes.get("exclusive", 0) or attributes.get("reverse", 0):
        raise ValueError("only the plain sum is folded")
    return np.cumsum(data[0], axis=int(np.asarray(data[1]).reshape(-1)[0]), dtype=data[0].dtype)


def _clip(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    low = data[1] if len(data) > 1 else attributes.get("min")
    high = data[2] if len(data) > 2 else attributes.get("max")
    return np.asarray(np.clip(data[0], low, high), data[0].dtype)


def _one_hot(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    depth = int(np.asarray(data[1]).reshape(-1)[0])
    off, on = data[2]
    axis = attributes.get("axis", -1)
    if data[0].size * depth > MOST_ELEMENTS:
        raise MemoryError("it is large")
    places = np.where((data[0] < -depth) | (data[0] >= depth), -1, data[0] % depth)  # what lies outside is nowhere
    hot = np.expand_dims(places, axis) == np.arange(depth).reshape(
        [depth if i == axis % (data[0].ndim + 1) else 1 for i in range(data[0].ndim + 1)]
    )
    return np.where(hot, on, off)


def _non_zero(data: Sequence[Any], _: Attributes, __: int) -> Any:
    return np.asarray(np.nonzero(np.atleast_1d(data[0])), np.int64)


def _compress(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    axis = attributes.get("axis")
    return np.compress(data[1], data[0].reshape(-1) if axis is None else data[0], axis=0 if axis is None else axis)


def _scatter_nd(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    if attributes.get("reduction", "none") != "none":
        raise ValueError("only plain writing is folded")
    result = np.array(data[0])
    for index in np.ndindex(*data[1].shape[:-1]):
        result[tuple(data[1][index])] = data[2][index]
    return result


def _gather_nd(data: Sequence[Any], attributes: Attributes, _: int) -> Any:
    if attributes.get("batch_dims", 0):
        raise ValueError("batches are not folded")
    places = data[1]
    flat = [data[0][tuple(place)] for place in places.reshape(-1, places.shape[-1])]
    return np.asarray(flat, data[0].dtype).reshape([*places.shape[:-1], *data[0].shape[places.shape[-1] :]])


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
        "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Pow": lambda a, b: np.asarray(np.power(a, b), np.asarray(a).dtype),
        "Neg": np.negative, "Abs": np.abs, "Sign": np.sign, "Ceil": np.ceil, "Floor": np.floor, "Round": np.round, "Sqrt": np.sqrt,
        "Exp": np.exp, "Log": np.log, "Reciprocal": np.reciprocal, "Not": np.logical_not, "And": np.logical_and, "Or": np.logical_or,
        "Xor": np.logical_xor, "Equal": np.equal, "Less": np.less, "LessOrEqual": np.less_equal, "Greater": np.greater,
        "GreaterOrEqual": np.greater_equal, "Where": np.where, "Identity": lambda x: x, "Relu": lambda x: np.maximum(x, 0),
        "IsNaN": np.isnan, "IsInf": np.isinf, "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
        "BitwiseNot": np.bitwise_not,
}  # fmt: skip
_FOLDS: dict[str, Fold] = {name: _elementwise(function) for name, function in _ELEMENTWISE.items()} | {
    "Max": lambda data, _, __: np.asarray(np.max(np.broadcast_arrays(*data), axis=0)),
    "Min": lambda data, _, __: np.asarray(np.min(np.broadcast_arrays(*data), axis=0)),
    "Sum": lambda data, _, __: np.asarray(np.sum(np.broadcast_arrays(*data), axis=0)),
    "Div": _divide, "Mod": _modulo, "Cast": _cast, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze, "Reshape": _reshape, "Gather": _gather,
    "Slice": _slice, "Concat": _concat, "Split": _split, "Transpose": _transpose, "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Tile": _tile, "Range": _range, "CumSum": _cumulative_sum, "Clip": _clip, "OneHot": _one_hot, "NonZero": _non_zero,
    "Compress": _compress,
    **DATA_FOLDS, "ScatterND": _scatter_nd, "GatherND": _gather_nd, "ReduceSum": _reduction(np.sum), "ReduceProd": _reduction(np.prod),
    "ReduceMax": _reduction(np.max), "ReduceMin": _reduction(np.min), "ReduceMean": _reduction(np.mean), "ArgMax": _arg(np.argmax),
    "ArgMin": _arg(np.argmin),
    "Flatten": lambda data, attributes, _: data[0].reshape(int(np.prod(data[0].shape[: attributes.get("axis", 1)])), -1),
    "CastLike": lambda data, _, __: data[0].astype(data[1].dtype),
}  # fmt: skip
