"""Convolutions, matrix products and attention."""

from __future__ import annotations

from typing import Any

from flopscope.errors import InputError
from flopscope.frontends.onnx.ops.table import lowers
from flopscope.frontends.onnx.values import Call, Slot


def _numbers(values: Any, dims: int, default: int) -> tuple[int, ...]:
    return tuple(values) if values else (default,) * dims


@lowers("Conv")
def conv(call: Call) -> None:
    """``[n, o, *s'] = Conv([n, c, *s], [o, c/g, *k], [o]?)``."""
    convolution(call, call[0], call[1], call.get(2), call.out)


def convolution(call: Call, x: Slot, weight: Slot, bias: Slot | None, out: Slot) -> None:
    """A convolution between given values, once its shapes are found to fit.

    Raises:
        InputError: they do not.
    """
    dims, groups = len(weight.shape) - 2, call.attr("group", 1)
    if dims < 1 or len(x.shape) != len(weight.shape):
        raise InputError(f"an input of {len(x.shape)} dimensions meets a kernel of {len(weight.shape)}")
    if groups < 1 or x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise InputError(f"{x.shape[1]} input channels do not fit a kernel {list(weight.shape)} in {groups} groups")
    kernel = call.attr("kernel_shape")
    if kernel and tuple(kernel) != weight.shape[2:]:
        raise InputError(f"kernel_shape says {list(kernel)}, but the kernel is {list(weight.shape[2:])}")
    if any(size < 1 for size in out.shape[2:]) and all(size > 0 for size in x.shape):
        raise InputError(f"a kernel of {list(weight.shape[2:])} is larger than its padded input of {list(x.shape[2:])}")
    if bias is not None and bias.type.elements != weight.shape[0]:
        raise InputError(f"a bias of {bias.type.elements} elements meets {weight.shape[0]} output channels")
    call.add(
        "conv", out, input=x, weight=weight, bias=bias, stride=_numbers(call.attr("strides"), dims, 1), padding=call.attr("pads"),
        dilation=_numbers(call.attr("dilations"), dims, 1), groups=groups,
    )  # fmt: skip


@lowers("ConvTranspose")
def conv_transpose(call: Call) -> None:
    """``[n, o, *s'] = ConvTranspose([n, c, *s], [c, o/g, *k], [o]?)``.

    Raises:
        InputError: the shapes do not fit.
    """
    x, weight, groups = call[0].shape, call[1].shape, call.attr("group", 1)
    dims = len(weight) - 2
    if dims < 1 or len(x) != len(weight) or x[1] != weight[0] or groups < 1 or x[1] % groups:
        raise InputError(f"an input {list(x)} does not fit a kernel {list(weight)} in {groups} groups")
    call.add(
        "conv_transpose", call.out, input=call[0], weight=call[1], bias=call.get(2), stride=_numbers(call.attr("strides"), dims, 1),
        padding=call.attr("pads"), dilation=_numbers(call.attr("dilations"), dims, 1), groups=call.attr("group", 1),
    )  # fmt: skip


@lowers("DeformConv")
def deform_conv(call: Call) -> None:
    """``[n, o, h', w'] = DeformConv([n, c, h, w], [o, c/g, kh, kw], offset, [o]?, mask?)``."""
    mask = call.get(4)
    call.add("deform_conv", call.out, input=call[0], weight=call[1], offset=call[2], mask=mask, bias=call.get(3), use_mask=mask is not None)


@lowers("MatMul")
def matmul(call: Call) -> None:
    """``[*, n, p] = MatMul([*, n, m], [*, m, p])``."""
    call.add("matmul", call.out, a=call[0], b=call[1])


@lowers("Gemm")
def gemm(call: Call) -> None:
    """``[n, p] = alpha [n, m] [m, p] + beta C``, each factor perhaps transposed: a linear layer where the second one is."""
    general_product(call, call[0], call[1], call.get(2), call.out)


def general_product(call: Call, a: Slot, b: Slot, c: Slot | None, out: Slot) -> None:
    """The product of `gemm` between given values."""
    transposed_a, transposed_b = call.attr("transA", 0), call.attr("transB", 0)
    if transposed_b and not transposed_a:
        call.add("linear", out, input=a, weight=b, bias=c)
        return
    if transposed_a:
        turned = call.between(a.shape[::-1], a.dtype)
        call.add("permute", turned, view=True, input=a)
        a = turned
    if transposed_b:
        turned = call.between(b.shape[::-1], b.dtype)
        call.add("permute", turned, view=True, input=b)
        b = turned
    if c is None:
        call.add("matmul", out, a=a, b=b)
    else:
        call.add("addmm", out, input=c, a=a, b=b)


@lowers("Einsum")
def einsum(call: Call) -> None:
    """``Einsum(equation, operands)``."""
    equation = call.attr("equation", "")
    equation = equation.decode() if isinstance(equation, bytes) else equation
    call.add("einsum", call.out, equation=equation, operands=tuple(slot for slot in call.inputs if slot is not None))


ACTIVATIONS = {
    "Relu": "relu", "LeakyRelu": "leaky_relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "Clip": "hardtanh", "HardSigmoid": "hardsigmoid",
    "Elu": "elu", "Selu": "selu", "Gelu": "gelu", "HardSwish": "hardswish", "Softplus": "softplus", "ThresholdedRelu": "threshold",
}  # fmt: skip


def activated(call: Call, name: str, x: Slot) -> None:
    """The activation at the end of a fused op.

    Raises:
        InputError: the table has no such activation.
    """
    if name not in ACTIVATIONS:
        raise InputError(f"it ends in the unknown activation {name!r}")
    call.add(ACTIVATIONS[name], call.out, input=x)
