"""ptflops with its back end "aten", which sees ops as they are dispatched."""

from __future__ import annotations

from flopscope.analyses.conventions.base import Call, Convention, Line, nothing
from flopscope.analyses.conventions.shared import WITH_BIAS, dispatched_einsum
from flopscope.graph import TensorType


def _is_contiguous(type: TensorType) -> bool:
    if type.strides is None:
        return True
    expected = 1
    for size, stride in zip(reversed(type.shape), reversed(type.strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _linear(call: Call) -> int:
    """With a bias, an input of two or three dimensions that lies in one piece becomes ``addmm``, which counts the bias; others do not."""
    x = call.signature["input"]
    flat = len(x.shape) == 2 or (len(x.shape) >= 3 and _is_contiguous(x))
    return call.macs + (call.biased if flat else 0)


def _attention(call: Call) -> int:
    """Where a mask needs gradients, no kernel does and torch runs the products one by one."""
    mask = call.op.inputs[3] if call.signature.get("attn_mask") is not None and len(call.op.inputs) > 3 else None
    return call.macs if mask is not None and call.scene.needs_gradients(mask) else 0


def _matmul(call: Call) -> int:
    a, b = call.signature["a"], call.signature["b"]
    ranks = sorted((len(a.shape), len(b.shape)))
    return 0 if ranks[0] < 2 and ranks[1] < 3 else call.macs


def _addmm(call: Call) -> int:
    return call.macs + call.elements_out if call.signature.target == "aten::addmm" else 0


PTFLOPS_ATEN = Convention(
    "ptflops-aten", 1, "MACs", "ptflops 0.7.5, back end aten",
    "what ptflops prints as MACs with backend='aten': mm, bmm, addmm and convolutions as they are dispatched, with bias (that of a "
    "linear layer "
    "only where torch turns it into addmm); attention kernels are not seen, nor anything else",
    kinds={
        "conv": WITH_BIAS,
        "conv_transpose": WITH_BIAS,
        "linear": Line(_linear, "multiply-accumulates, and the bias where a linear layer becomes addmm"),
        "matmul": Line(_matmul, "multiply-accumulates; nothing for products with vectors"),
        "addmm": Line(_addmm, "addmm with the addition; baddbmm is not seen"),
        "einsum": Line(dispatched_einsum, "products of einsum that sum something"),
        "attention": Line(_attention, "no count for attention kernels; products are seen only where a mask is made of parameters"),
    },
    otherwise=nothing("no count for this op in the back end aten"),
    unfolds=True,
)  # fmt: skip
