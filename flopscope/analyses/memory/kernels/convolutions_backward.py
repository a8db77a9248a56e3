"""Scratch memory of the gradients of convolutions on the CPU, from aten/src/ATen/native/mkldnn/Conv.cpp and native/Convolution.cpp."""

from __future__ import annotations

import math

from flopscope.analyses.memory.kernels.convolutions import Convolution, blocked, padded
from flopscope.analyses.memory.kernels.host import Host
from flopscope.analyses.memory.kernels.registry import bytes_of, kernel, outputs_bytes, peak
from flopscope.graph import Signature


@kernel("aten::convolution_backward", "convolution_backward")
def convolution_backward(op: Signature, host: Host) -> int | None:
    """First the gradient of the input, then those of weight and bias, each through blocked copies."""
    gradient, source, weight = op["grad_output"], op["input"], op["weight"]
    if op.get("transposed", False):
        return outputs_bytes(op) + bytes_of(gradient) + bytes_of(source) + 2 * bytes_of(weight)
    conv = Convolution.of(op, source, gradient, weight)
    if not conv.uses_onednn(host):
        columns = 0 if conv.is_pointwise and not conv.is_strided else conv.space(conv.channels * math.prod(conv.window), conv.result)
        return outputs_bytes(op) + columns
    mask = tuple(op.get("output_mask", (True, True, True)))
    copies = blocked(conv, host)
    in_blocks = conv.space(padded(conv.channels, host.lanes) if conv.groups == 1 else conv.channels, conv.source)
    inputs: int = bytes_of(source) if mask[0] else 0
    bias, wide_bias = conv.filters * conv.item, padded(conv.filters, host.lanes) * conv.item
    bias, wide_bias = (bias, wide_bias) if mask[2] else (0, 0)
    if conv.last:
        weights = bytes_of(weight) if mask[1] else 0
        return inputs + copies.weight + 2 * weights + 2 * bias
    most = 0
    if mask[0]:
        taken = copies.result + copies.weight
        most = peak(taken, in_blocks, -taken, inputs)
    if mask[1] or mask[2]:
        taken = copies.result + copies.source
        most = max(most, inputs + peak(taken + copies.weight + wide_bias, -taken, bias, bytes_of(weight)))
    return most
