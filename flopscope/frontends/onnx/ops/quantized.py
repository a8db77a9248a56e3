"""Quantised ops of ONNX itself: what shifts integers to their zero points, multiplies them, and scales the result back.

An integer multiply-accumulate counts as one. The operands of a contraction keep their small dtypes, and its sums are int32.
"""

from __future__ import annotations

from flopscope.frontends.onnx.ops.contractions import convolution
from flopscope.frontends.onnx.ops.table import lowers
from flopscope.frontends.onnx.values import Call, Slot

SUMS = "int32"
"""The element type in which integer products are added up."""


def shifted(call: Call, x: Slot, zero_point: Slot | None) -> Slot:
    """An integer operand less its zero point: one subtraction per element, where there is a zero point."""
    if zero_point is None:
        return x
    result = call.between(x.shape, x.dtype)
    call.add("sub", result, input=x, other=zero_point)
    return result


def scaled_back(call: Call, sums: Slot, scale: Slot, zero_point: Slot | None) -> None:
    """The sums of a contraction as small integers again."""
    call.add("quantize_per_tensor", call.out, input=sums, scale=scale, zero_point=zero_point)


@lowers("QuantizeLinear")
def quantize(call: Call) -> None:
    """``q = clamp(round(x / s) + z)``, with a scale per tensor, per channel or per block."""
    call.add("quantize_per_tensor", call.out, input=call[0], scale=call[1], zero_point=call.get(2))


@lowers("DequantizeLinear")
def dequantize(call: Call) -> None:
    """``x = (q - z) s``, with a scale per tensor, per channel or per block."""
    call.add("dequantize", call.out, input=call[0], scale=call[1], zero_point=call.get(2))


@lowers("DynamicQuantizeLinear")
def quantize_by_range(call: Call) -> None:
    """``q, s, z = quantize(x)`` with a scale from the range of x."""
    call.add("quantize_per_tensor_dynamic", call.outputs, input=call[0])


@lowers("ConvInteger")
def integer_conv(call: Call) -> None:
    """``[n, o, *s'] = conv([n, c, *s] - z, [o, c/g, *k] - z)``, in int32."""
    convolution(call, shifted(call, call[0], call.get(2)), shifted(call, call[1], call.get(3)), None, call.out)


@lowers("MatMulInteger")
def integer_matmul(call: Call) -> None:
    """``[*, n, p] = ([*, n, m] - z) ([*, m, p] - z)``, in int32."""
    call.add("matmul", call.out, a=shifted(call, call[0], call.get(2)), b=shifted(call, call[1], call.get(3)))


@lowers("QLinearConv")
def quantized_conv(call: Call) -> None:
    """A convolution of integers, whose sums are scaled back: inputs x, weight and output each with a scale and a zero point."""
    sums = call.between(call.out.shape, SUMS)
    convolution(call, shifted(call, call[0], call.get(2)), shifted(call, call[3], call.get(5)), call.get(8), sums)
    scaled_back(call, sums, call[6], call.get(7))


@lowers("QLinearMatMul")
def quantized_matmul(call: Call) -> None:
    """A matrix product of integers, whose sums are scaled back: a, b and output each with a scale and a zero point."""
    sums = call.between(call.out.shape, SUMS)
    call.add("matmul", sums, a=shifted(call, call[0], call.get(2)), b=shifted(call, call[3], call.get(5)))
    scaled_back(call, sums, call[6], call.get(7))
