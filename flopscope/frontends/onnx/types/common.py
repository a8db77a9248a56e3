"""Types of the ops that models are mostly made of. ONNX's inference says the same, many times slower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flopscope.errors import InputError
from flopscope.frontends.onnx.types.inference import Typed
from flopscope.frontends.onnx.types.table import infers, same_as
from flopscope.frontends.onnx.values import Value


@infers(
    "Relu", "LeakyRelu", "Elu", "Celu", "Selu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Softplus", "Softsign", "Mish", "Gelu",
    "Swish", "Erf", "Exp", "Log", "Sqrt", "Neg", "Abs", "Sign", "Ceil", "Floor", "Round", "Reciprocal", "Sin", "Cos", "Tan", "Softmax",
    "LogSoftmax",
    "Clip", "Identity", "ThresholdedRelu", "Shrink", "LRN", "InstanceNormalization", "GroupNormalization", "Not",
)  # fmt: skip
def unary(values: Sequence[Value | None], _: Mapping[str, Any], outputs: int) -> list[Typed]:
    """The result is like the first input."""
    return [same_as(values[0] if values else None), *[("undefined", None)] * (outputs - 1)]


@infers("Add", "Sub", "Mul", "Div", "Pow", "PRelu")
def binary(values: Sequence[Value | None], attributes: Mapping[str, Any], _: int) -> list[Typed]:
    """Two operands of one type, broadcast together."""
    return [(_first_dtype(values), _together(values, attributes))]


@infers("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor")
def comparison(values: Sequence[Value | None], attributes: Mapping[str, Any], _: int) -> list[Typed]:
    """Two operands, broadcast together, give booleans."""
    return [("bool", _together(values, attributes))]


def _together(values: Sequence[Value | None], attributes: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The shape of two operands together. Before version 7 an axis could say where the dimensions of the second one begin in the first."""
    if "axis" in attributes and attributes.get("broadcast", 0) and len(values) == 2:
        first, second = (None if value is None or value.type is None else value.type.shape for value in values)
        if first is not None and second is not None:
            axis = attributes["axis"] + (len(first) if attributes["axis"] < 0 else 0)
            if all(a == b or b == 1 for a, b in zip(first[axis:], second, strict=False)) and axis + len(second) <= len(first):
                return first
    return broadcast_shape(values)


def _first_dtype(values: Sequence[Value | None]) -> str:
    return next((value.dtype for value in values if value is not None), "undefined")


def broadcast_shape(values: Sequence[Value | None]) -> tuple[int, ...] | None:
    """The shape of operands broadcast together as NumPy does; ``None`` where one is not known.

    Raises:
        InputError: they do not fit.
    """
    shapes = []
    for value in values:
        if value is None or value.type is None:
            return None
        shapes.append(value.type.shape)
    rank = max(map(len, shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size == result[axis] or size == 1:
                continue
            if result[axis] != 1:
                raise InputError(
                    f"the shapes {' and '.join(str(list(shape)) for shape in shapes)} do not broadcast: incompatible dimensions"
                )
            result[axis] = size
    return tuple(result)
