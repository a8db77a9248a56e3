"""Types of ONNX's own ops that its inference leaves open, or gets wrong, and bounds for sizes that only data knows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flopscope.errors import InputError
from flopscope.frontends.onnx.dtypes import NAMES, UNDEFINED
from flopscope.frontends.onnx.types.inference import Typed
from flopscope.frontends.onnx.types.table import bounds, infers, same_as
from flopscope.frontends.onnx.values import Value

Values = Sequence[Value | None]
Attributes = Mapping[str, Any]


def shape_in(values: Values, position: int) -> tuple[int, ...] | None:
    """The shape of an input; ``None`` where it is missing or not known."""
    value = values[position] if position < len(values) else None
    return None if value is None or value.type is None else value.type.shape


def dtype_in(values: Values, position: int) -> str:
    """The element type of an input."""
    value = values[position] if position < len(values) else None
    return UNDEFINED if value is None else value.dtype


def number_in(values: Values, position: int) -> int | None:
    """The one element of an input, where it is known."""
    value = values[position] if position < len(values) else None
    return None if value is None or value.data is None or value.data.size != 1 else int(value.data.reshape(-1)[0])


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the first.

    Raises:
        InputError: there is no such axis.
    """
    if not -rank <= axis < rank:
        raise InputError(f"it has the axis {axis}, but its input has {rank} dimensions")
    return axis % rank


@infers("MeanVarianceNormalization")
def like_first(values: Values, _: Attributes, outputs: int) -> list[Typed]:
    """Outputs like the first input: of ops that ONNX declares deprecated, or knows only by what they are made of."""
    return [same_as(values[0])] * outputs


@infers("Dropout")
def dropout(values: Values, _: Attributes, __: int) -> list[Typed]:
    """Early versions leave the type of the mask open."""
    return [same_as(values[0]), ("bool", shape_in(values, 0))]


@infers("Range")
def steps(values: Values, _: Attributes, __: int) -> list[Typed]:
    """``[n]``; limits may have one dimension of size one, which ONNX refuses and runtimes accept."""
    dtype = dtype_in(values, 0)
    data = [None if value is None or value.data is None else value.data.reshape(-1) for value in values]
    if any(item is None or item.size != 1 for item in data):
        return [(dtype, (None,))]
    start, limit, step = (item[0].item() if dtype != "bfloat16" else float(item[0]) for item in data if item is not None)
    return [(dtype, (max(math.ceil((limit - start) / step), 0) if step else None,))]


@infers("STFT")
def short_time_transform(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """``[b, frames, bins, 2] = STFT([b, l, 1], step, window?, length?)``, with half the bins unless both sides are asked for."""
    signal, window = shape_in(values, 0), shape_in(values, 2)
    step, length = number_in(values, 1), number_in(values, 3)
    length = window[0] if length is None and window else length
    if signal is None or not step or length is None:
        return [(dtype_in(values, 0), None)]
    bins = length // 2 + 1 if attributes.get("onesided", 1) else length
    return [(dtype_in(values, 0), (signal[0], (signal[1] - length) // step + 1, bins, 2))]


@infers("MaxUnpool")
def unpool(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """``[n, c, *s']``: as given, or what a pooling with these windows would have met."""
    x, wanted = shape_in(values, 0), values[2] if len(values) > 2 else None
    dtype, kernel = dtype_in(values, 0), attributes.get("kernel_shape", ())
    if wanted is not None:
        return [(dtype, None if wanted.data is None else tuple(int(size) for size in wanted.data))]
    if x is None or len(x) != len(kernel) + 2:
        return [(dtype, None)]
    dims = len(kernel)
    strides, pads = attributes.get("strides", (1,) * dims), attributes.get("pads", (0,) * 2 * dims)
    sizes = ((x[2 + i] - 1) * strides[i] - pads[i] - pads[dims + i] + kernel[i] for i in range(dims))
    return [(dtype, (*x[:2], *sizes))]


@infers("Compress")
def compress(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """As many slices as the condition has, where that is known."""
    x, condition = shape_in(values, 0), values[1] if len(values) > 1 else None
    kept = None if condition is None or condition.data is None else int(np.count_nonzero(condition.data))
    return [(dtype_in(values, 0), None if x is None else _cut(x, attributes.get("axis"), kept))]


@infers("Split")
def split(values: Values, attributes: Attributes, outputs: int) -> list[Typed]:
    """Parts along an axis: of given lengths, or equal but for the last. ONNX's inference ends the process where there are too few parts.

    Raises:
        InputError: the parts are not those that the outputs name.
    """
    x, dtype = shape_in(values, 0), dtype_in(values, 0)
    given = values[1] if len(values) > 1 else None
    if x is None or (given is not None and given.data is None):
        return [(dtype, None)] * outputs
    axis = axis_of(attributes.get("axis", 0), len(x))
    lengths = attributes.get("split") if given is None or given.data is None else given.data.reshape(-1).tolist()
    if lengths is None:
        parts = attributes.get("num_outputs", outputs)
        each = -(-x[axis] // max(parts, 1))
        lengths = [min(each, x[axis] - each * part) for part in range(parts)] if parts == outputs else []
    if len(lengths) != outputs or sum(lengths) != x[axis] or min(lengths, default=0) < 0:
        raise InputError(f"an axis of {x[axis]} cannot be cut into {outputs} outputs of the lengths {list(lengths)[:8]}")
    return [(dtype, (*x[:axis], length, *x[axis + 1 :])) for length in lengths]


@infers("LayerNormalization")
def layer_norm(values: Values, attributes: Attributes, outputs: int) -> list[Typed]:
    """The result is like the input; mean and 1/std have ones from an axis on. Exporters used the op before ONNX had it."""
    x = shape_in(values, 0)
    axis = None if x is None else axis_of(attributes.get("axis", -1), len(x))
    rows = None if x is None or axis is None else (*x[:axis], *(1,) * (len(x) - axis))
    return [same_as(values[0]), *[(NAMES.get(attributes.get("stash_type", 1), UNDEFINED), rows)] * (outputs - 1)]


@infers("ImageScaler", "Affine", "ParametricSoftplus", "Scale", "ScaledTanh")
def experimental(values: Values, _: Attributes, __: int) -> list[Typed]:
    """Like the input: ops that ONNX had as experiments before version 10, and that old files still hold."""
    return [same_as(values[0])]


@infers("Crop")
def crop(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """``[n, c, h', w']``: without a border (left, top, right, bottom), or cut to a size from its corner."""
    x, border, size = shape_in(values, 0), attributes.get("border", (0, 0, 0, 0)), attributes.get("scale")
    if x is None or len(x) != 4 or len(border) != 4:
        return [(dtype_in(values, 0), None)]
    height, width = size if size else (x[2] - border[1] - border[3], x[3] - border[0] - border[2])
    return [(dtype_in(values, 0), (*x[:2], height, width))]


@bounds("Slice", "TopK")
def uncut(values: Values, _: Attributes, outputs: int) -> list[Typed]:
    """As if every slice were the whole axis."""
    return [same_as(values[0]), *([("int64", shape_in(values, 0))] * (outputs - 1))]


@bounds("Compress")
def whole(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """As if the condition kept everything: as many slices as it has elements."""
    x, condition = shape_in(values, 0), shape_in(values, 1)
    if x is None:
        return [(dtype_in(values, 0), None)]
    axis = attributes.get("axis")
    most = math.prod(x) if axis is None else x[axis_of(axis, len(x))]
    return [(dtype_in(values, 0), _cut(x, axis, min(most, condition[0]) if condition else most))]


def _cut(shape: tuple[int, ...], axis: int | None, size: int | None) -> tuple[int | None, ...]:
    """A shape with another size along an axis; without an axis that of a vector."""
    if axis is None:
        return (size,)
    return tuple(size if dim == axis % len(shape) else kept for dim, kept in enumerate(shape))


@bounds("Unique")
def all_different(values: Values, attributes: Attributes, outputs: int) -> list[Typed]:
    """As if all elements (or slices along the axis) were different."""
    x = shape_in(values, 0)
    if x is None:
        return [(dtype_in(values, 0), None), *([("int64", None)] * (outputs - 1))]
    axis = attributes.get("axis")
    number = math.prod(x) if axis is None else x[axis_of(axis, len(x))]
    facts: list[Typed] = [("int64", (number,))] * 3
    return [(dtype_in(values, 0), (number,) if axis is None else x), *facts][:outputs]


@bounds("NonMaxSuppression")
def all_boxes(values: Values, _: Attributes, __: int) -> list[Typed]:
    """As if no box suppressed another: for each batch and class as many as there are, or as are asked for."""
    scores, most = shape_in(values, 1), number_in(values, 2)
    if scores is None or len(scores) != 3:
        return [("int64", None)]
    asked = values[2] if len(values) > 2 else None
    kept = 0 if asked is None else scores[2] if most is None else min(max(most, 0), scores[2])
    return [("int64", (scores[0] * scores[1] * kept, 3))]


@bounds("StringNormalizer")
def no_stop_words(values: Values, _: Attributes, __: int) -> list[Typed]:
    """As if no text were a stop word; where nothing is left, one empty text is."""
    x = shape_in(values, 0)
    return [("string", None if x is None else (*x[:-1], max(x[-1], 1)))]
