"""Types of the first versions of ops, whose sizes were attributes and which ONNX does not infer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from flopscope.errors import InputError
from flopscope.frontends.onnx.dtypes import NAMES, UNDEFINED
from flopscope.frontends.onnx.types.common import broadcast_shape
from flopscope.frontends.onnx.types.inference import Typed
from flopscope.frontends.onnx.types.standard import dtype_in, shape_in
from flopscope.frontends.onnx.types.table import completes
from flopscope.frontends.onnx.values import Value

Values = Sequence[Value | None]
Attributes = Mapping[str, Any]


@completes("Max", "Min", "Mean", "Sum")
def variadic(values: Values, _: Attributes, __: int) -> list[Typed]:
    """Operands broadcast together."""
    return [(dtype_in(values, 0), broadcast_shape(values))]


@completes("Cast")
def cast(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """The element type was named by a text."""
    to = attributes.get("to")
    codes = {"FLOAT": "float32", "DOUBLE": "float64"}
    dtype = codes.get(to, to.lower()) if isinstance(to, str) else NAMES.get(to or 0, UNDEFINED)
    return [(dtype if dtype in NAMES.values() else UNDEFINED, shape_in(values, 0))]


@completes("Reshape")
def reshape(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """The new shape was an attribute: 0 keeps a size, and -1 takes what is left.

    Raises:
        InputError: the elements do not fit into it.
    """
    x, wanted = shape_in(values, 0), attributes.get("shape")
    if x is None or wanted is None:
        return [(dtype_in(values, 0), None)]
    sizes = [x[place] if size == 0 and place < len(x) else size for place, size in enumerate(wanted)]
    known = math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and known:
        sizes = [math.prod(x) // known if size == -1 else size for size in sizes]
    if math.prod(sizes) != math.prod(x) or min(sizes, default=0) < 0:
        raise InputError(f"{list(x)} cannot be reshaped to {list(wanted)}")
    return [(dtype_in(values, 0), tuple(sizes))]


@completes("Pad")
def pad(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """The widths of the border were called paddings: those before every axis, then those behind."""
    x, widths = shape_in(values, 0), attributes.get("paddings")
    if x is None or widths is None or len(widths) != 2 * len(x):
        return [(dtype_in(values, 0), None)]
    sizes = (size + before + behind for size, before, behind in zip(x, widths[: len(x)], widths[len(x) :], strict=True))
    return [(dtype_in(values, 0), tuple(sizes))]


@completes("Upsample")
def upsample(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """The scales of height and width were two numbers."""
    x = shape_in(values, 0)
    scales = (attributes.get("height_scale"), attributes.get("width_scale"))
    if x is None or len(x) != 4 or None in scales:
        return [(dtype_in(values, 0), None)]
    return [(dtype_in(values, 0), (*x[:2], *(int(size * scale) for size, scale in zip(x[2:], scales, strict=True) if scale)))]


@completes("GRU")
def gru(values: Values, _: Attributes, outputs: int) -> list[Typed]:
    """``[t, d, n, h]`` and ``[d, n, h]``."""
    x, recurrence = shape_in(values, 0), shape_in(values, 2)
    dtype = dtype_in(values, 0)
    if x is None or recurrence is None or len(x) != 3 or len(recurrence) != 3:
        return [(dtype, None)] * outputs
    state = (recurrence[0], x[1], recurrence[2])
    found: list[Typed] = [(dtype, (x[0], *state)), (dtype, state)]
    return found[:outputs]
