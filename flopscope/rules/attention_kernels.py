"""Attention as its kernels call it, on every device, and the gradients of attention.

The kernels below the public function take other layouts: ``[b, l, h, e]``, or ``[t, h, e]`` where sequences of all lengths lie one after the
other. Of those each query is counted as if it met the longest sequence of keys, because the lengths are data: an upper bound.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature, TensorType
from flopscope.rules.registry import count, prod, rule
from flopscope.rules.sizes import quotient
from flopscope.rules.softmax import SOFTMAX_FLOPS

_SOURCE = "Vaswani et al. 2017, arXiv:1706.03762, eq. 1"
_BACKWARD_PER_SCORE = 3 + 3
"""The probability again from the stored log-sum (scale, subtract, exp), and its gradient p (dp - d) times the scale."""


def _is_masked(op: Signature) -> bool:
    given = any(op.get(name) is not None for name in ("attn_mask", "attn_bias", "bias"))
    return given or bool(op.get("is_causal", False)) or bool(op.get("custom_mask_type", 0))


def _sequence_first(query: TensorType, key: TensorType, longest: int | None, packed: bool) -> tuple[int, int]:
    """Rows (queries of all heads) and the keys that each meets, in the layouts ``[b, l, h, e]`` and ``[t, h, e]``."""
    rows = prod(query.shape[:-1])
    if packed and longest is not None:
        return rows, longest
    return rows, key.shape[-3]


def _forward(op: Signature, rows: int, keys: int) -> Cost:
    scores = rows * keys
    per_score = 1 + _is_masked(op) + (3 if op.get("dropout_p", 0.0) else 0) + SOFTMAX_FLOPS
    return count(op, macs=scores * (op["query"].shape[-1] + op["value"].shape[-1]), other=scores * per_score)


def _backward(op: Signature, rows: int, keys: int) -> Cost:
    scores, values = rows * keys, rows * op["value"].shape[-1]
    width, value_width = op["query"].shape[-1], op["value"].shape[-1]
    per_score = _BACKWARD_PER_SCORE + _is_masked(op) + (2 if op.get("dropout_p", 0.0) else 0)
    return count(op, macs=scores * (3 * width + 2 * value_width), other=scores * per_score + 2 * values)


def _is_packed(op: Signature) -> bool:
    return any(op.get(name) is not None for name in ("cum_seq_q", "cu_seqlens_q", "cum_seq_k", "cu_seqlens_k"))


def _longest(op: Signature) -> int | None:
    for name in ("max_k", "max_seqlen_k"):
        if isinstance(op.get(name), int) and op[name] > 0:
            return int(op[name])
    return None


@rule(
    "_flash_attention_forward", "_efficient_attention_forward", "_flash_attention_forward_no_dropout_inplace",
    flops="2 per MAC of q.k and p.v; per score 1 for the scale, 1 for a mask, 5 for the softmax, 3 for dropout", source=_SOURCE,
)  # fmt: skip
def kernel_forward(op: Signature) -> Cost:
    """``[b, l, h, v] = attention([b, l, h, e], [b, s, h', e], [b, s, h', v])``, or packed ``[t, h, e]``."""
    rows, keys = _sequence_first(op["query"], op["key"], _longest(op), _is_packed(op))
    return _forward(op, rows, keys)


@rule(
    "_cudnn_attention_forward", "_cudnn_attention_forward_no_dropout_inplace",
    flops="2 per MAC of q.k and p.v; per score 1 for the scale, 1 for a mask, 5 for the softmax, 3 for dropout", source=_SOURCE,
)  # fmt: skip
def heads_first_forward(op: Signature) -> Cost:
    """``[b, h, l, v] = attention([b, h, l, e], [b, h', s, e], [b, h', s, v])``, or packed ``[t, h, e]``."""
    if _is_packed(op):
        return kernel_forward(op)
    return _forward(op, prod(op["query"].shape[:-1]), op["key"].shape[-2])


_BACKWARD_FLOPS = (
    "2 per MAC of the scores again, and of the gradients of values, probabilities, queries and keys; per score 6, 1 for a mask, 2 for dropout; "
    "2 per element of g"
)
_BACKWARD_SOURCE = "Dao et al. 2022, arXiv:2205.14135, algorithm 4"


@rule("_flash_attention_backward", "_efficient_attention_backward", flops=_BACKWARD_FLOPS, source=_BACKWARD_SOURCE)
def kernel_backward(op: Signature) -> Cost:
    """``dq, dk, dv = attention_backward(g, [b, l, h, e], [b, s, h', e], [b, s, h', v])``, or packed ``[t, h, e]``."""
    rows, keys = _sequence_first(op["query"], op["key"], _longest(op), _is_packed(op))
    return _backward(op, rows, keys)


@rule(
    "_scaled_dot_product_flash_attention_backward", "_scaled_dot_product_flash_attention_for_cpu_backward",
    "_scaled_dot_product_efficient_attention_backward", "_scaled_dot_product_cudnn_attention_backward",
    "_scaled_dot_product_fused_attention_overrideable_backward", "_cudnn_attention_backward",
    flops=_BACKWARD_FLOPS, source=_BACKWARD_SOURCE,
)  # fmt: skip
def attention_backward(op: Signature) -> Cost:
    """``dq, dk, dv = attention_backward(g, [b, h, l, e], [b, h', s, e], [b, h', s, v])``."""
    if len(op["query"].shape) == 3:
        return kernel_backward(op)
    return _backward(op, prod(op["query"].shape[:-1]), op["key"].shape[-2])


@rule("_transform_bias_rescale_qkv", flops="1 per element for the bias, 1 per element of the queries for the scale", source=_SOURCE)
def split_heads(op: Signature) -> Cost:
    """``[b, h, l, e] x 3 = transform([b, l, 3 d], [3 d])``."""
    return count(op, other=op["qkv"].elements + quotient(op["qkv"].elements, 3))


@rule(
    "onnx::Attention",
    flops="2 per MAC of q.k and p.v; per score 1 for the scale, 1 for a mask, 3 for a soft cap, 5 for the softmax",
    source="ONNX operator Attention, version 23",
)
def onnx_attention(op: Signature) -> Cost:
    """``y, [b, h', s, e], [b, h', s, v], [b, h, l, s] = attention(q, k, v, mask?, past keys?, past values?)``: s counts the past too."""
    _, keys, values, scores = op.outputs
    masked = op.get("attn_mask") is not None or bool(op.get("is_causal", False))
    per_score = 1 + masked + (3 if op.get("softcap", 0.0) else 0) + SOFTMAX_FLOPS
    return count(op, macs=scores.elements * (keys.shape[-1] + values.shape[-1]), other=per_score * scores.elements)


@rule(
    "onnx::RotaryEmbedding",
    flops="3 per element that is rotated: two products and an addition",
    source="Su et al. 2021, arXiv:2104.09864, eq. 34",
)
def onnx_rotary(op: Signature) -> Cost:
    """``x = rotary(x, cos, sin)``: of a head as many elements as the tables have columns, twice."""
    x = op["x"]
    heads = x.elements // x.shape[-1] if len(x.shape) == 4 else x.elements // x.shape[-1] * (op.get("num_heads", 0) or 1)
    return count(op, other=3 * heads * 2 * op["cos_cache"].shape[-1])
