"""Elementwise ops, activations, comparisons and casts."""

from __future__ import annotations

from flopscope.frontends.onnx.ops.table import lowers, plain
from flopscope.frontends.onnx.values import Call

plain({
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow", "Neg": "neg", "Abs": "abs", "Sign": "sign", "Ceil": "ceil",
    "Floor": "floor", "Round": "round", "Sqrt": "sqrt", "Exp": "exp", "Log": "log", "Reciprocal": "reciprocal", "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan", "Asin": "asin", "Acos": "acos", "Atan": "atan", "Sinh": "sinh", "Cosh": "cosh", "Asinh": "asinh", "Acosh": "acosh",
    "Atanh": "atanh", "Erf": "erf", "Not": "logical_not", "And": "logical_and", "Or": "logical_or", "Xor": "logical_xor", "Equal": "eq",
    "Less": "lt", "LessOrEqual": "le", "Greater": "gt", "GreaterOrEqual": "ge", "IsNaN": "isnan", "IsInf": "isinf",
    "BitwiseAnd": "bitwise_and",
    "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor", "BitwiseNot": "bitwise_not",
    "Relu": "relu", "LeakyRelu": "leaky_relu", "PRelu": "prelu", "Elu": "elu", "Celu": "celu", "Selu": "selu", "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "HardSigmoid": "hardsigmoid", "HardSwish": "hardswish", "Softplus": "softplus", "Softsign": "softsign", "Mish": "mish",
    "Swish": "silu",
    "ThresholdedRelu": "threshold", "Shrink": "softshrink", "Cast": "to", "CastLike": "to", "BitCast": "to", "Where": "where",
})  # fmt: skip


@lowers("BitShift")
def bit_shift(call: Call) -> None:
    """``z = x << y``."""
    kind = "bitwise_left_shift" if call.attr("direction") == "LEFT" else "bitwise_right_shift"
    call.add(kind, call.out, input=call[0], other=call[1])


@lowers("Mod")
def modulo(call: Call) -> None:
    """``z = x mod y``."""
    call.add("fmod" if call.attr("fmod", 0) else "remainder", call.out, input=call[0], other=call[1])


@lowers("Gelu")
def gelu(call: Call) -> None:
    """``z = gelu(x)``, exact or with a tanh."""
    call.add("gelu", call.out, input=call[0], approximate=call.attr("approximate", "none"))


@lowers("Clip")
def clip(call: Call) -> None:
    """``z = min(max(x, low), high)``: bounds are attributes in early versions, inputs later."""
    low, high = (call.attr(name) if call.get(position) is None else call.get(position) for name, position in (("min", 1), ("max", 2)))
    call.add("clamp", call.out, input=call[0], min=low, max=high)


@lowers("Max", "Min", "Sum", "Mean")
def variadic(call: Call) -> None:
    """``z = max(x, y, ...)``: operands are combined two by two; a mean is divided at the end."""
    kind = {"Max": "maximum", "Min": "minimum"}.get(call.op, "add")
    operands = [slot for slot in call.inputs if slot is not None]
    last = call.out if call.op != "Mean" else call.between(call.out.shape, call.out.dtype)
    total = operands[0]
    for position, operand in enumerate(operands[1:], 2):
        result = last if position == len(operands) else call.between(call.out.shape, call.out.dtype)
        call.add(kind, result, input=total, other=operand)
        total = result
    if call.op == "Mean":
        call.add("div", call.out, input=total)
    elif len(operands) == 1:
        call.add("alias", call.out, view=True, input=total)


@lowers("Dropout")
def dropout(call: Call) -> None:
    """``z, mask = dropout(x)``: nothing, unless a training mode that is known says otherwise."""
    mode = call.get(2)
    train = mode is not None and mode.data is not None and bool(mode.data.any())
    call.add("dropout", call.outputs, view=not train, input=call[0], train=train)


@lowers("SwiGLU")
def swiglu(call: Call) -> None:
    """``z = a sigmoid(alpha a) b``."""
    gate, gated = call[0], call.between(call.out.shape, call.out.dtype)
    if call.attr("alpha", 1.0) != 1.0:
        scaled = call.between(gate.shape, gate.dtype)
        call.add("mul", scaled, input=gate)
        gate = scaled
    call.add("silu", gated, input=gate)
    call.add("mul", call.out, input=gated, other=call[1])


_EXPERIMENTS = {
    "ImageScaler": ("mul", "add"), "Affine": ("mul", "add"), "Scale": ("mul",), "ScaledTanh": ("mul", "tanh", "mul"),
    "ParametricSoftplus": ("mul", "softplus", "mul"),
}  # fmt: skip


@lowers(*_EXPERIMENTS)
def experiment(call: Call) -> None:
    """Ops that ONNX had as experiments before version 10: a few steps in place of one."""
    x, steps = call[0], _EXPERIMENTS[call.op]
    for position, kind in enumerate(steps, 1):
        result = call.out if position == len(steps) else call.between(call.out.shape, call.out.dtype)
        call.add(kind, result, input=x)
        x = result
