"""How the model tables of pytorchcv and its sisters (osmr/imgclsmob) count; they print half of it as MACs."""

from __future__ import annotations

from math import prod

from flopscope.analyses.conventions.base import Call, Convention, Line, every, nothing
from flopscope.cost import FLOPS_PER_MAC


def _layer(call: Call) -> int:
    """A layer without bias is credited with one addition less per weight of a 1x1 kernel, once and not once per position."""
    missing = 0 if call.signature.get("bias") is not None else prod(call.signature["weight"].shape[:2])
    return FLOPS_PER_MAC * call.macs - missing


def _clipped(call: Call) -> int:
    return call.elements_in if (call.signature["min_val"], call.signature["max_val"]) == (0, 6) else 0


def _windows(call: Call) -> int:
    kernel = call.signature["kernel_size"]
    height, width = kernel if len(kernel) == 2 else kernel * 2
    return int(height * width * call.elements_out)


def _adaptive(call: Call) -> int:
    return 0 if call.signature.inputs[0].shape == call.signature.output.shape else call.elements_in


def _mean(call: Call) -> int:
    """A mean over height and width is a global pooling."""
    rank = len(call.signature.inputs[0].shape)
    dims = call.signature.get("dim", ())
    return call.elements_in if rank == 4 and sorted(dim % rank for dim in dims) == [2, 3] else 0


def _shuffled(call: Call) -> int:
    """A copy of channels in groups that were exchanged is a channel shuffle."""
    before = call.producer
    shuffles = before is not None and before.kind == "transpose" and len(call.op.inputs[0].shape) == 5
    return call.elements_in if shuffles else 0


def _times(factor: int, text: str) -> Line:
    return Line(lambda call: factor * call.elements_in, f"{text}: {factor} per element")


PYTORCHCV = Convention(
    "pytorchcv", 1, "FLOPs", "model tables of pytorchcv 0.0.74 and imgclsmob",
    "twice what these tables print as MACs: 2 per multiply-accumulate of convolutions and linear layers (less one per channel pair where "
    "there is no bias), norms 4, ReLU 1, leaky ReLU 2, sigmoid 4, SiLU 5, softmax 4, nearest upsampling 4 per element, pooling 1 per "
    "element of each window, channel shuffle 1; attention, additions and products nothing",
    kinds={
        **every("conv conv_transpose linear", Line(_layer, "2 per multiply-accumulate, less one per channel pair without bias")),
        **every("batch_norm group_norm instance_norm", _times(4, "norm")),
        **every("relu relu6", _times(1, "activation")),
        "hardtanh": Line(_clipped, "activation: 1 per element"),
        "leaky_relu": _times(2, "activation"),
        "sigmoid": _times(4, "activation"),
        "silu": _times(5, "activation"),
        "softmax": _times(4, "softmax"),
        "upsample_nearest": _times(4, "upsampling"),
        **every("max_pool avg_pool", Line(_windows, "pooling: 1 per element of each window")),
        **every("adaptive_avg_pool adaptive_max_pool", Line(_adaptive, "adaptive pooling: 1 per input")),
        "mean": Line(_mean, "global pooling: 1 per input"),
        "contiguous": Line(_shuffled, "channel shuffle: 1 per element"),
    },
    otherwise=nothing("not counted in these tables"),
)  # fmt: skip
