"""Scratch memory of normalisations and softmax on the CPU, from aten/src/ATen/native/{Normalization,layer_norm,group_norm,SoftMax}.cpp."""

from __future__ import annotations

import math

from flopscope.analyses.memory.kernels.host import Host
from flopscope.analyses.memory.kernels.registry import bytes_of, copy_as_suggested, copy_bytes, is_channels_last, kernel
from flopscope.graph import Signature


def _outputs(op: Signature, count: int) -> int:
    return sum(bytes_of(type) for type in op.outputs[:count])


@kernel("batch_norm", "batch_norm_inference")
def batch_norm(op: Signature, _: Host) -> int | None:
    """The result and two numbers per channel, a factor and a summand; in training its mean and deviation as well."""
    source = op["input"]
    channels: int = source.shape[1] * 4
    training = op.get("training", op.get("train", False))
    stays = 2 * channels if training else 0
    return bytes_of(op.outputs[0]) + stays + 2 * channels + copy_as_suggested(source)


@kernel("native_batch_norm_backward")
def batch_norm_backward(op: Signature, _: Host) -> int | None:
    """The gradients, and one more of the size of the input while they are made."""
    return sum(bytes_of(type) for type in op.outputs) + bytes_of(op["input"])


@kernel("aten::native_layer_norm")
def layer_norm(op: Signature, _: Host) -> int | None:
    """The result, mean and deviation per row, and a copy of an input that does not lie in order."""
    return _outputs(op, 3) + copy_bytes(op["input"])


@kernel("aten::native_layer_norm_backward")
def layer_norm_backward(op: Signature, host: Host) -> int | None:
    """The gradients, and per thread a buffer for those of weight and bias."""
    source, gradient = op["input"], op["grad_out"]
    weight = op.get("weight")
    columns = bytes_of(weight) if weight is not None else 0
    return sum(map(bytes_of, op.outputs)) + 2 * host.threads * columns + copy_bytes(source) + copy_bytes(gradient)


LARGE_SPACE = 1024
"""From so many places on, channels-last group norm sums per thread."""


@kernel("aten::native_group_norm")
def group_norm(op: Signature, host: Host) -> int | None:
    """The result, mean and deviation per group; channels last, two more numbers per sample and channel, and their sums by thread."""
    source = op["input"]
    channels = source.shape[1]
    sums: int = 2 * source.shape[0] * channels * 4
    if math.prod(source.shape[2:]) >= LARGE_SPACE:
        sums += 2 * host.threads * channels * 4
    return _outputs(op, 3) + (sums if is_channels_last(source) else 0) + copy_as_suggested(source)


@kernel("aten::native_group_norm_backward")
def group_norm_backward(op: Signature, _: Host) -> int | None:
    """The gradients, and two sums per sample and channel."""
    source = op["input"]
    sums: int = 2 * source.shape[0] * source.shape[1] * 4
    return sum(map(bytes_of, op.outputs)) + sums


@kernel("softmax", "log_softmax")
def softmax(op: Signature, _: Host) -> int | None:
    """The result, and a copy of an input that does not lie in order or has another type."""
    source = op["input"] if "input" in op.arguments else op["self"]
    out = bytes_of(op.output)
    return out + (out if source.dtype != op.output.dtype else copy_bytes(source))
