"""DeepSpeed's flops profiler and calflops, which came from it: functions of torch are replaced by counting ones."""

from __future__ import annotations

from math import prod

from flopscope.analyses.conventions.base import Call, Convention, Line, nothing
from flopscope.analyses.conventions.shared import MACS, PRODUCT, first_by_last, is_operator


def _added(call: Call) -> int:
    return first_by_last(call) if call.signature.target in ("aten::addmm", "aten::baddbmm") else 0


def _only_matmul(call: Call) -> int:
    return PRODUCT.count(call) if call.signature.target == "aten::matmul" and not is_operator(call) else 0


def _transposed_twice(call: Call) -> int:
    """The filters per group, which the weight holds, are divided by the groups once more."""
    op, weight = call.signature, call.signature["weight"]
    filters = weight.shape[1] // op.get("groups", 1)
    return int(op["input"].elements * filters * prod(weight.shape[2:]))


_ADDED = Line(_added, "products of torch.addmm and baddbmm")
_NO_EINSUM = nothing("einsum counts as operations only, never as MACs")
_NO_RNN = nothing("recurrent layers count as operations only, never as MACs")
_RECURRENT = {"rnn": _NO_RNN, "gru": _NO_RNN, "lstm": _NO_RNN}

DEEPSPEED = Convention(
    "deepspeed", 1, "MACs", "DeepSpeed 0.19.8",
    "what DeepSpeed's flops profiler prints as MACs: convolutions, linear layers, matrix products and attention that are called by "
    "their names in "
    "torch; nothing for einsum and recurrent layers (which it has in its FLOPs), nor for grouped products",
    kinds={
        "conv": MACS, "conv_transpose": MACS, "linear": MACS, "attention": MACS, "matmul": PRODUCT, "addmm": _ADDED,
        "einsum": _NO_EINSUM, **_RECURRENT,
    },
    otherwise=nothing("no function of this name is replaced"),
    unfolds=True,
)  # fmt: skip

CALFLOPS = Convention(
    "calflops", 1, "MACs", "calflops 0.3.2",
    "what calflops prints as MACs: convolutions, linear layers, and products that are called torch.matmul; neither a @ b nor mm nor "
    "bmm, no "
    "attention kernel, nothing for einsum and recurrent layers (which it has in its FLOPs); transposed convolutions divide by the "
    "groups twice",
    kinds={
        "conv": MACS, "linear": MACS, "addmm": _ADDED, "einsum": _NO_EINSUM, **_RECURRENT,
        "conv_transpose": Line(_transposed_twice, "a transposed convolution with groups divides by them twice"),
        "attention": nothing("scaled_dot_product_attention is not replaced"),
        "matmul": Line(_only_matmul, "products called torch.matmul; not a @ b, mm or bmm"),
    },
    otherwise=nothing("no function of this name is replaced"),
    again=1,
    unfolds=True,
)  # fmt: skip
