"""Convolutions: any number of dimensions, strides, paddings, dilations and groups, and their transposes.

Letters: n batch, c channels, o output channels, g groups, k kernel sizes, s positions. Positions in the padding are counted like all
others, as dense kernels compute them (Sze et al. 2017, "Efficient Processing of Deep Neural Networks", eq. 1).
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.complex_numbers import contraction
from flopscope.rules.registry import count, expect, prod, rule

_SOURCE = "Sze et al. 2017, arXiv:1703.09039, eq. 1"


@rule("conv", flops="2 per MAC, 1 per output element for the bias", source=_SOURCE)
def conv(op: Signature) -> Cost:
    """``[n, o, *s'] = conv([n, c, *s], [o, c/g, *k], [o]?)``: every output element is a sum over ``c/g * k`` products."""
    weight, out = op["weight"], op.output
    expect(weight.shape[0] == out.shape[1 if len(out.shape) == len(weight.shape) else 0], "[n, o, *s'] = conv([n, c, *s], [o, c/g, *k])")
    expect(op["input"].shape[-len(weight.shape) + 1] == weight.shape[1] * op.get("groups", 1), "c = g * (c/g)")
    return contraction(op, macs=out.elements * prod(weight.shape[1:]), additions=out.elements if op.get("bias") is not None else 0)


@rule("conv_transpose", flops="2 per MAC, 1 per output element for the bias", source="Dumoulin & Visin 2016, arXiv:1603.07285, section 4")
def conv_transpose(op: Signature) -> Cost:
    """``[n, o, *s'] = conv_transpose([n, c, *s], [c, o/g, *k], [o]?)``: every input element is spread over ``o/g * k`` outputs."""
    x, weight = op["input"], op["weight"]
    expect(x.shape[-len(weight.shape) + 1] == weight.shape[0], "[n, o, *s'] = conv_transpose([n, c, *s], [c, o/g, *k])")
    return contraction(op, macs=x.elements * prod(weight.shape[1:]), additions=op.output.elements if op.get("bias") is not None else 0)


@rule("conv_tbc", flops="2 per MAC, 1 per output element for the bias", source=_SOURCE)
def conv_tbc(op: Signature) -> Cost:
    """``[t', n, o] = conv_tbc([t, n, c], [k, c, o], [o])``."""
    kernel, channels, _ = op["weight"].shape
    return contraction(op, macs=op.output.elements * kernel * channels, additions=op.output.elements)


@rule(
    "deform_conv",
    flops="2 per MAC; per sampled element 4 products and 3 additions of bilinear interpolation, 1 for the mask; 1 per output for the bias",
    source="Zhu et al. 2019, arXiv:1811.11168, eq. 1 and section 3.2",
)
def deform_conv(op: Signature) -> Cost:
    """``[n, o, h', w'] = deform_conv2d([n, c, h, w], [o, c/g, kh, kw], offset, mask?, [o]?)``."""
    x, weight, out = op["input"], op["weight"], op.output
    batch, _, height, width = out.shape
    sampled = batch * x.shape[1] * prod(weight.shape[2:]) * height * width
    per_sample = 8 if op.get("use_mask", False) else 7
    return count(op, macs=out.elements * prod(weight.shape[1:]), other=per_sample * sampled + out.elements)
