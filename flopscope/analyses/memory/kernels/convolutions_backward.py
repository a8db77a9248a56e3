"""Scratch memory of the gradients of convolutions on the CPU, from aten/src/ATen/native/mkldnn/Conv.cpp and native/Convolution.cpp.

First comes the gradient of the input, which is held from then on, and then those of weight and bias together.
"""

from __future__ import annotations

import math

from flopscope.analyses.memory.kernels.convolutions import PAGE, Blocked, Convolution, batched, blocked, padded
from flopscope.analyses.memory.kernels.host import Host
from flopscope.analyses.memory.kernels.registry import bytes_of, is_contiguous, kernel, lies_channels_last, outputs_bytes, peak
from flopscope.graph import Signature, TensorType

SMALL_WINDOW, LARGE_WINDOW = 3, 14
"""oneDNN has kernels for the weights of depthwise windows up to the one, and of others up to the other."""
PARTS = 4
"""How many sums of the gradient of a weight its general way by matrix products keeps (measured)."""


@kernel("aten::convolution_backward")
def convolution_backward(op: Signature, host: Host) -> int | None:
    """The gradients, and the copies and buffers that they are made through."""
    gradient, source, weight = op["grad_output"], op["input"], op["weight"]
    if op.get("transposed", False):
        return outputs_bytes(op) + bytes_of(gradient) + bytes_of(source) + 2 * bytes_of(weight)
    conv = Convolution.of(op, source, gradient, weight)
    wanted = tuple(op.get("output_mask", (True, True, True)))
    copies = _in_form(conv, gradient) + _in_form(conv, source)
    if not conv.uses_onednn(host):
        columns = 0 if conv.is_pointwise and not conv.is_strided else conv.space(conv.channels * math.prod(conv.window), conv.result)
        return copies + outputs_bytes(op) + columns
    held: int = bytes_of(source) if wanted[0] else 0
    if conv.last:
        return copies + _channels_last(conv, weight, wanted, held, host)
    forms = blocked(conv, host)
    most = _of_input(conv, forms, held, host) if wanted[0] else 0
    if wanted[1] or wanted[2]:
        most = max(most, held + _of_weight(conv, forms, bytes_of(weight), wanted[2], host))
    return copies + most


def _in_form(conv: Convolution, type: TensorType) -> int:
    """The copy of an operand that lies otherwise than the convolution wants."""
    lies = lies_channels_last(type) if conv.last else is_contiguous(type)
    return 0 if lies else bytes_of(type)


def _of_input(conv: Convolution, forms: Blocked, result: int, host: Host) -> int:
    """Strided ones run channels last, whose result torch copies twice."""
    if forms.by_gemm:
        columns = _columns(conv, host) + PAGE
        return peak(result, columns, -columns, result)
    if conv.is_strided and (conv.groups == 1 or min(conv.channels, conv.filters) > conv.groups * host.lanes):
        weight = conv.weight_bytes(padded(conv.filters, host.lanes), conv.channels // conv.groups)
        return max(conv.space(conv.filters, conv.result) + weight + result + _batched(conv, host), 3 * result)
    channels = padded(conv.channels, host.lanes) if conv.groups == 1 or conv.is_depthwise else conv.channels
    taken = forms.result + max(forms.weight, conv.weight_bytes(conv.filters, channels // conv.groups))
    return peak(taken, conv.space(channels, conv.source), -taken, result)


def _batched(conv: Convolution, host: Host) -> int:
    """Buffers of batched matrix products: those of strided ones hold an image of the gradient."""
    image = host.threads * conv.space(conv.filters, conv.result) // max(conv.batch, 1)
    return 2 * batched(host) + image if conv.is_strided else batched(host)


def _of_weight(conv: Convolution, forms: Blocked, weight: int, has_bias: bool, host: Host) -> int:
    bias = conv.filters * conv.item if has_bias else 0
    wide_bias = padded(conv.filters, host.lanes) * conv.item if has_bias else 0
    if _is_by_products(conv, host):
        scratch = PARTS * weight + _columns(conv, host) + 2 * PAGE
        return peak(weight, bias, scratch, -scratch, bias, weight)
    taken = forms.result + forms.source + forms.scratch
    return peak(taken, forms.weight, wide_bias, -taken, bias, weight)


def _columns(conv: Convolution, host: Host) -> int:
    """The elements under each place of the window, of one group, per thread."""
    return host.threads * conv.channels // conv.groups * math.prod(conv.window) * math.prod(conv.result) * conv.item


def _is_by_products(conv: Convolution, host: Host) -> bool:
    if conv.is_depthwise:
        return conv.window[-1] > SMALL_WINDOW
    sizes = conv.channels // conv.groups, conv.filters // conv.groups
    if conv.is_dilated and conv.reach > conv.source[-1]:
        return True
    return conv.window[-1] > LARGE_WINDOW or (conv.groups > 1 and any(size % (host.lanes // 2) for size in sizes))


def _channels_last(conv: Convolution, weight: TensorType, wanted: tuple[bool, ...], held: int, host: Host) -> int:
    own = bytes_of(weight)
    copy = 0 if conv.weight_lies_last else own
    first = held + own + (0 if conv.is_depthwise else _batched(conv, host)) if wanted[0] else 0
    if not wanted[1]:
        return copy + max(first, held)
    bias = 2 * conv.filters * conv.item if wanted[2] else 0
    made = own
    if conv.is_depthwise and conv.window[-1] > SMALL_WINDOW:  # each group is a block of its own, of which one element is used
        made = own * host.lanes * host.lanes
    return copy + max(first, held + made + bias + 2 * own)
