"""``torch.utils.flop_counter.FlopCounterMode``, which sees ops as they are dispatched."""

from __future__ import annotations

from flopscope.analyses.conventions.base import Call, Convention, Line, every, nothing
from flopscope.analyses.conventions.shared import dispatched_einsum
from flopscope.cost import FLOPS_PER_MAC
from flopscope.rules.complex_numbers import MACS, is_complex


def _real_ones(call: Call) -> int:
    """How many multiply-accumulates of real numbers one that is counted stands for: of complex numbers, several are one."""
    return MACS if is_complex(call.signature) else 1


def _macs(call: Call) -> int:
    return call.macs // _real_ones(call)


def _doubled(call: Call) -> int:
    return FLOPS_PER_MAC * _macs(call)


def _convolution(call: Call) -> int:
    """Complex numbers: torch makes three convolutions of real numbers of one."""
    return (3 if is_complex(call.signature) else 1) * _doubled(call)


def _matmul(call: Call) -> int:
    """A product with a vector becomes ``mv`` or ``dot``, which have no formula."""
    a, b = call.signature["a"], call.signature["b"]
    ranks = sorted((len(a.shape), len(b.shape)))
    return 0 if ranks[0] < 2 and ranks[1] < 3 else FLOPS_PER_MAC * _macs(call)


def _addmm(call: Call) -> int:
    return 0 if call.signature.target == "aten::addmv" else FLOPS_PER_MAC * _macs(call)


def _einsum(call: Call) -> int:
    return FLOPS_PER_MAC * dispatched_einsum(call) // _real_ones(call)


def _convolution_backward(call: Call) -> int:
    """Its gradient of a weight takes each input channel to meet each output channel, whatever the groups."""
    of_input, of_weight, *_ = call.signature.get("output_mask", (True, True, True))
    each = _macs(call) // max(1, bool(of_input) + bool(of_weight))
    return FLOPS_PER_MAC * each * (bool(of_input) + bool(of_weight) * int(call.signature.get("groups", 1)))


_ATTENTION = (
    "_flash_attention_forward _flash_attention_backward _efficient_attention_forward _efficient_attention_backward "
    "_scaled_dot_product_flash_attention_backward _scaled_dot_product_flash_attention_for_cpu_backward "
    "_scaled_dot_product_efficient_attention_backward _scaled_dot_product_cudnn_attention_backward"
)
_DOUBLED = Line(_doubled, "2 per multiply-accumulate")

TORCH = Convention(
    "torch", 1, "FLOPs", "torch.utils.flop_counter of torch 2.15",
    "what FlopCounterMode counts of a model that runs with gradients: 2 per multiply-accumulate of convolutions, matrix products and "
    "attention, and nothing for products with vectors, grouped products, recurrent layers on the CPU and deformable convolutions. "
    "Without gradients it sees nothing inside the fast path of nn.MultiheadAttention and nn.TransformerEncoderLayer",
    kinds={
        **every(_ATTENTION, _DOUBLED),
        "convolution_backward": Line(_convolution_backward, "2 per multiply-accumulate, those of a weight once per group"),
        **every("conv conv_transpose", Line(_convolution, "2 per multiply-accumulate")),
        **every("linear addbmm attention multi_dot chain_matmul tensordot", _DOUBLED),
        "addmm": Line(_addmm, "2 per multiply-accumulate; no formula for addmv"),
        "matmul": Line(_matmul, "2 per multiply-accumulate; no formula for a product with a vector"),
        "einsum": Line(_einsum, "2 per multiply-accumulate; no formula for a product that sums nothing"),
    },
    otherwise=nothing("FlopCounterMode has no formula for this op"),
    unfolds=True,
)  # fmt: skip
