"""Types of convolutions, pooling, batch norms and matrix products; as in `common`, for speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flopscope.errors import InputError
from flopscope.frontends.onnx.types.common import broadcast_shape
from flopscope.frontends.onnx.types.inference import Typed
from flopscope.frontends.onnx.types.table import infers, same_as
from flopscope.frontends.onnx.values import Value
from flopscope.graph import TensorType

_Values = Sequence[Value | None]
_Attributes = Mapping[str, Any]


def _shape(values: _Values, position: int) -> tuple[int, ...] | None:
    value = values[position] if position < len(values) else None
    return None if value is None or value.type is None else value.type.shape


def _dtype(values: _Values) -> str:
    return values[0].dtype if values and values[0] is not None else "undefined"


@infers("Conv")
def conv(values: _Values, attributes: _Attributes, _: int) -> list[Typed]:
    """``[n, o, *s'] = Conv([n, c, *s], [o, c/g, *k])``."""
    x, weight = _shape(values, 0), _shape(values, 1)
    if x is None or weight is None:
        return [(_dtype(values), None)]
    if len(x) != len(weight) or len(x) < 3:
        raise InputError(f"an input of {len(x)} dimensions meets a kernel of {len(weight)}")
    return [(_dtype(values), (x[0], weight[0], *_positions(x[2:], weight[2:], attributes)))]


@infers("MaxPool", "AveragePool", "LpPool")
def pool(values: _Values, attributes: _Attributes, outputs: int) -> list[Typed]:
    """``[n, c, *s'] = pool([n, c, *s], k)``, and the positions of the greatest elements."""
    x, kernel = _shape(values, 0), attributes.get("kernel_shape")
    if x is None:
        return [(_dtype(values), None)] * outputs
    if not kernel or len(kernel) != len(x) - 2:
        raise InputError(f"a window of {len(kernel or ())} dimensions meets an input of {len(x)}")
    shape = (*x[:2], *_positions(x[2:], kernel, attributes))
    return [(_dtype(values), shape), *[("int64", shape)] * (outputs - 1)]


def _positions(sizes: Sequence[int], kernel: Sequence[int], attributes: _Attributes) -> list[int]:
    """How many positions a window has in each dimension (ONNX's operators, Conv and AveragePool).

    Raises:
        InputError: strides or dilations are no positive numbers, or there are too many or too few of them.
    """
    dims = len(sizes)
    strides = _each("strides", attributes, dims, 1)
    dilations = _each("dilations", attributes, dims, 1)
    pads = attributes.get("pads") or (0,) * (2 * dims)
    if len(pads) != 2 * dims or len(kernel) != dims or min(kernel, default=1) < 1:
        raise InputError(f"pads {list(pads)} and a window of {list(kernel)} do not fit {dims} dimensions")
    mode = attributes.get("auto_pad", "NOTSET")
    found = []
    for i, size in enumerate(sizes):
        reach = (kernel[i] - 1) * dilations[i] + 1
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            found.append(-(-size // strides[i]))
            continue
        room = size + (0 if mode == "VALID" else pads[i] + pads[i + dims]) - reach
        if not attributes.get("ceil_mode", 0):
            found.append(room // strides[i] + 1)
            continue
        positions = -(-room // strides[i]) + 1
        begins_in_padding = (positions - 1) * strides[i] >= size + (0 if mode == "VALID" else pads[i])
        found.append(positions - begins_in_padding)
    return found


def _each(name: str, attributes: _Attributes, dims: int, default: int) -> Sequence[int]:
    given = attributes.get(name) or (default,) * dims
    if len(given) != dims or min(given) < 1:
        raise InputError(f"{name} must be {dims} positive numbers, but are {list(given)}")
    return given


@infers("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(values: _Values, _: _Attributes, __: int) -> list[Typed]:
    """``[n, c, 1, ..] = pool([n, c, *s])``."""
    x = _shape(values, 0)
    return [(_dtype(values), None if x is None else (*x[:2], *(1 for _ in x[2:])))]


@infers("BatchNormalization")
def batch_norm(values: _Values, _: _Attributes, outputs: int) -> list[Typed]:
    """The result is like the input; statistics are like those that went in."""
    statistics = [same_as(values[3 if i % 2 else 4]) if len(values) > 4 else ("undefined", None) for i in range(1, outputs)]
    return [same_as(values[0]), *statistics]


@infers("MatMul")
def matmul(values: _Values, _: _Attributes, __: int) -> list[Typed]:
    """``[*, n, p] = MatMul([*, n, m], [*, m, p])``, as NumPy's matmul."""
    a, b = _shape(values, 0), _shape(values, 1)
    if a is None or b is None or not a or not b:
        return [(_dtype(values), None)]
    inner = b[-2] if len(b) > 1 else b[0]
    if a[-1] != inner:
        raise InputError(f"incompatible dimensions for a matrix product: {list(a)} and {list(b)}")
    batches = [Value("", type=TensorType.of(shape)) for shape in (a[:-2], b[:-2])]
    batch = broadcast_shape(batches) or ()
    return [(_dtype(values), (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ())))]


@infers("Gemm")
def gemm(values: _Values, attributes: _Attributes, _: int) -> list[Typed]:
    """``[n, p] = [n, m] [m, p] + C``."""
    a, b = _shape(values, 0), _shape(values, 1)
    if a is None or b is None:
        return [(_dtype(values), None)]
    if len(a) != 2 or len(b) != 2:
        raise InputError(f"it multiplies matrices, but was given {list(a)} and {list(b)}")
    a = a[::-1] if attributes.get("transA", 0) else a
    b = b[::-1] if attributes.get("transB", 0) else b
    if a[1] != b[0]:
        raise InputError(f"incompatible dimensions for a matrix product: {list(a)} and {list(b)}")
    return [(_dtype(values), (a[0], b[1]))]


@infers("Transpose")
def transpose(values: _Values, attributes: _Attributes, _: int) -> list[Typed]:
    """The dimensions in another order, backwards if none is given."""
    x = _shape(values, 0)
    if x is None:
        return [(_dtype(values), None)]
    order = attributes.get("perm") or tuple(reversed(range(len(x))))
    if sorted(order) != list(range(len(x))):
        raise InputError(f"perm {list(order)} is no order of {len(x)} dimensions")
    return [(_dtype(values), tuple(x[axis] for axis in order))]


@infers("Concat")
def concat(values: _Values, attributes: _Attributes, _: int) -> list[Typed]:
    """Tensors that are equal but along one axis, one after the other."""
    shapes = [_shape(values, position) for position in range(len(values))]
    axis = attributes.get("axis", 1)
    first = shapes[0] if shapes else None
    if first is None or any(shape is None for shape in shapes):
        return [(_dtype(values), None)]
    axis = axis + len(first) if axis < 0 else axis
    for shape in shapes:
        if shape is None or len(shape) != len(first) or not 0 <= axis < len(first):
            raise InputError(f"{[list(shape or ()) for shape in shapes]} cannot be joined along axis {axis}")
        if shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise InputError(f"{[list(shape or ()) for shape in shapes]} differ in more than axis {axis}")
    return [(_dtype(values), (*first[:axis], sum(shape[axis] for shape in shapes if shape is not None), *first[axis + 1 :]))]
