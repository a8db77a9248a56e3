"""Gradients of contractions: each wanted gradient is a contraction with as many multiply-accumulates as the forward one.

A multiply-accumulate ``y += a b`` of the forward pass is met once by ``ga += gy b`` and once by ``gb += gy a``. The gradient of a bias is a
sum of g over all but its own dimension, one addition per element.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.complex_numbers import contraction
from flopscope.rules.registry import count, expect, prod, rule
from flopscope.rules.sizes import quotient

_SOURCE = "the chain rule; Goodfellow et al. 2016, Deep Learning, section 6.5.6"
_CONVOLUTION_SOURCE = "Goodfellow et al. 2016, Deep Learning, section 9.5, eqs. 9.11 and 9.13"


def _wanted(op: Signature) -> tuple[bool, bool, bool]:
    """Which of the gradients of input, weight and bias are computed."""
    of_input, of_weight, *of_bias = op.get("output_mask", (True, True, True))
    return bool(of_input), bool(of_weight), any(of_bias)


@rule(
    "convolution_backward", "convolution_backward_overrideable", "mps_convolution_backward", "mps_convolution_transpose_backward",
    "_slow_conv2d_backward",
    flops="2 per MAC, as many as the convolution for each of the gradients of input and weight; 1 per element of g for a bias",
    source=_CONVOLUTION_SOURCE,
)  # fmt: skip
def convolution_backward(op: Signature) -> Cost:
    """``[n, c, *s], [o, c/g, *k], [o] = convolution_backward([n, o, *s'], [n, c, *s], [o, c/g, *k])``, or of a transposed one."""
    gradient, weight = op["grad_output"], op["weight"]
    transposed = op.get("transposed", "transpose" in op.kind)
    spread = op.get("input", op.get("self")) if transposed else gradient
    channels = spread.shape[-len(weight.shape) + 1]
    expect(channels == weight.shape[0], "gradient [n, o, *s'] (of a transposed one the input [n, o, *s]) of a weight [o, c/g, *k]")
    of_input, of_weight, of_bias = _wanted(op)
    macs = spread.elements * prod(weight.shape[1:])
    return contraction(op, macs=(of_input + of_weight) * macs, additions=gradient.elements if of_bias else 0)


@rule(
    "conv_tbc_backward",
    flops="2 per MAC, as many as the convolution for each of two gradients; 1 per element of g for the bias",
    source=_CONVOLUTION_SOURCE,
)
def conv_tbc_backward(op: Signature) -> Cost:
    """``[t, n, c], [k, c, o], [o] = conv_tbc_backward([t', n, o], [t, n, c], [k, c, o], [o])``."""
    kernel, channels, _ = op["weight"].shape
    return contraction(op, macs=2 * op["self"].elements * kernel * channels, additions=op["self"].elements)


@rule(
    "_convolution_double_backward",
    flops="2 per MAC, as many as the convolution per pair of a second gradient and what it meets; 1 per output element for a bias",
    source="the gradients of the two gradients of a convolution, which are convolutions",
)
def convolution_double_backward(op: Signature) -> Cost:
    """``ggO, gI, gW = double_backward(ggI, ggW, ggb, gO, W, I)``: ggO = ggI * W + I * ggW, gI from ggW and gO, gW from ggI and gO."""
    gradient, weight = op["gO"], op["weight"]
    spread = op["self"] if op.get("transposed", False) else gradient
    with_input, with_weight, with_bias = (op.get(name) is not None for name in ("ggI", "ggW", "ggb"))
    of_gradient, of_input, of_weight = _wanted(op)
    times = (with_input + with_weight) * of_gradient + with_weight * of_input + with_input * of_weight
    sums = with_bias + (with_input and with_weight) if of_gradient else 0
    return contraction(op, macs=times * spread.elements * prod(weight.shape[1:]), additions=sums * gradient.elements)


@rule(
    "linear_backward", "mkldnn_linear_backward", "mkldnn_linear_backward_input", "mkldnn_linear_backward_weights",
    flops="2 per MAC, as many as the linear layer for each of the gradients of input and weight; 1 per element of g for the bias", source=_SOURCE,
)  # fmt: skip
def linear_backward(op: Signature) -> Cost:
    """``[*, i], [o, i], [o] = linear_backward([*, i], [*, o], [o, i])``."""
    gradient, weight = op["grad_output"], op["weight"]
    if op.kind.endswith("_input"):
        of_input, of_weight, of_bias = True, False, False
    elif op.kind.endswith("_weights"):
        of_input, of_weight, of_bias = False, True, bool(op.get("bias_defined", False))
    else:
        of_input, of_weight, of_bias = _wanted(op)
    macs = gradient.elements * weight.shape[-1]
    return contraction(op, macs=(of_input + of_weight) * macs, additions=gradient.elements if of_bias else 0)


@rule("matmul_backward", flops="2 per MAC, as many as the product for each of two gradients", source=_SOURCE)
def matmul_backward(op: Signature) -> Cost:
    """``[*, n, m], [*, m, p] = matmul_backward([*, n, p], [*, n, m], [*, m, p])``."""
    return contraction(op, macs=sum(map(bool, op["mask"])) * op["grad"].elements * op["self"].shape[-1])


@rule(
    "affine_grid_generator_backward",
    "cudnn_affine_grid_generator_backward",
    flops="2 per MAC",
    source="Jaderberg et al. 2015, arXiv:1506.02025, eq. 1",
)
def affine_grid_backward(op: Signature) -> Cost:
    """``[n, d, d+1] = affine_grid_backward([n, *s, d])``: one gradient, as the base grid is fixed."""
    gradient = op["grad"]
    return count(op, macs=gradient.elements * (gradient.shape[-1] + 1))


@rule(
    "torchvision::_deform_conv2d_backward",
    flops="2 per MAC of two gradients; per sampled element 7 to interpolate again, 8 for its four corners, 9 for its offset, 2 for its mask; 1 per element of g for the bias",
    source="Zhu et al. 2019, arXiv:1811.11168, eq. 1, derived; Dai et al. 2017, arXiv:1703.06211, appendix A",
)
def deform_conv_backward(op: Signature) -> Cost:
    """The gradients of input, weight, offset, mask and bias of `deform_conv`."""
    gradient, weight = op["grad"], op["weight"]
    batch, _, height, width = gradient.shape
    sampled = batch * op["input"].shape[1] * prod(weight.shape[2:]) * height * width
    per_sample = 7 + 8 + 9 + (2 if op.get("use_mask", False) else 0)
    return count(op, macs=2 * gradient.elements * prod(weight.shape[1:]), other=per_sample * sampled + gradient.elements)


@rule("_cdist_backward", flops="3 per pair and coordinate (subtract, scale, add), 1 per pair", source="derivative of a p-norm")
def cdist_backward(op: Signature) -> Cost:
    """``[*, n, d] = cdist_backward([*, n, m], [*, n, d], [*, m, d])``."""
    return count(op, other=op["grad_output"].elements * (3 * op["x1"].shape[-1] + 1))


@rule(
    "_pdist_backward",
    flops="4 per pair and coordinate (subtract, scale, add to one, take from the other), 1 per pair",
    source="derivative of a p-norm",
)
def pdist_backward(op: Signature) -> Cost:
    """``[n, d] = pdist_backward([n (n - 1) / 2], [n, d])``."""
    n, d = op["self"].shape
    return count(op, other=quotient(n * (n - 1), 2) * (4 * d + 1))
