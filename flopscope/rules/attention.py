"""Attention: scaled dot products and the fused layers built on them.

Masks do not make a dense kernel cheaper, so attention is counted dense: every query meets every key. An op may carry ``allowed_pairs``, the
pairs that its mask allows over batch and heads (``attention="effective"``); then these are counted instead.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.activation import FLOPS_PER_ELEMENT
from flopscope.rules.normalisation import layer_norm_flops
from flopscope.rules.registry import count, expect, prod, rule
from flopscope.rules.softmax import SOFTMAX_FLOPS

_SOURCE = "Vaswani et al. 2017, arXiv:1706.03762, eq. 1"


@rule(
    "attention",
    flops="2 per MAC of q.k and p.v; per score 1 for the scale, 1 for a mask, 5 for the softmax, 3 for dropout in training",
    source=_SOURCE,
)
def attention(op: Signature) -> Cost:
    """``[*, h, l, v] = attention([*, h, l, e], [*, h', s, e], [*, h', s, v], mask?)``; h' < h are grouped key and value heads."""
    query, key, value, out = op["query"], op["key"], op["value"], op.output
    expect(query.shape[-1] == key.shape[-1] and key.shape[-2] == value.shape[-2], "attention([.., l, e], [.., s, e], [.., s, v])")
    length, width = query.shape[-2], query.shape[-1]
    heads = prod(out.shape[:-2])
    scores = op.get("allowed_pairs", heads * length * key.shape[-2])
    masked = op.get("attn_mask") is not None or op.get("is_causal", False)
    dropped = 3 if op.get("dropout_p", 0.0) else 0
    return count(op, macs=scores * (width + value.shape[-1]), other=scores * (1 + masked + dropped + SOFTMAX_FLOPS))


@rule(
    "attention_by_token",
    flops="2 per MAC of q.k and p.v; per score 1 for the scale, 1 for a mask, 5 for the softmax, 3 for dropout in training",
    source=_SOURCE,
)
def attention_by_token(op: Signature) -> Cost:
    """``[b, l, h, v] = attention([b, l, h, e], [b, s, h', e], [b, s, h', v])``: heads after positions, as GPU kernels want them.

    Sequences of different lengths in a row (``cum_seq``) are counted dense: every query of the row meets the longest sequence.
    """
    query, key, out = op["query"], op["key"], op.output
    heads, width = query.shape[-2:]
    packed = op.get("cum_seq_k", op.get("cu_seqlens_k")) is not None
    keys = op.get("max_k", op.get("max_seqlen_k")) if packed else key.shape[-3]
    scores = prod(query.shape[:-2]) * heads * keys
    masked = op.get("attn_mask") is not None or op.get("is_causal", False) or bool(op.get("custom_mask_type", 0))
    dropped = 3 if op.get("dropout_p", 0.0) else 0
    return count(op, macs=scores * (width + out.shape[-1]), other=scores * (1 + masked + dropped + SOFTMAX_FLOPS))


def _projected(op: Signature, batch: int, heads: int, length: int, keys: int, width: int) -> tuple[int, int]:
    """Multiply-accumulates and other operations of the four projections and the two products."""
    rows = 2 * batch * length + 2 * batch * keys  # query and output, key and value
    scores = op.get("allowed_pairs", batch * heads * length * keys)
    masked = op.get("mask") is not None
    return rows * width * width + 2 * scores * (width // heads), rows * width + scores * (1 + masked + SOFTMAX_FLOPS)


@rule(
    "multi_head_attention",
    flops="2 per MAC, 1 per element of each bias; per score 1 for the scale, 1 for a mask, 5 for the softmax",
    source=_SOURCE,
)
def multi_head_attention(op: Signature) -> Cost:
    """The fast path of ``nn.MultiheadAttention``: ``[b, l, d] = mha([b, l, d], [b, s, d], [b, s, d])`` with all four projections."""
    batch, length, width = op["query"].shape
    macs, other = _projected(op, batch, op["num_head"], length, op["key"].shape[1], width)
    return count(op, macs=macs, other=other)


@rule(
    "transformer_encoder_layer",
    flops="as its parts: self-attention, two linear layers, activation, two residual additions, two layer norms",
    source="Vaswani et al. 2017, arXiv:1706.03762, section 3.1",
)
def transformer_encoder_layer(op: Signature) -> Cost:
    """The fast path of ``nn.TransformerEncoderLayer``: ``[b, l, d] = layer([b, l, d])`` with a hidden width f."""
    source = op["src"]
    batch, length, width = source.shape
    hidden = op["ffn_weight_1"].shape[0]
    macs, other = _projected(op, batch, op["num_heads"], length, length, width)
    tokens = batch * length
    macs += 2 * tokens * width * hidden
    activation = FLOPS_PER_ELEMENT["gelu" if op.get("use_gelu", False) else "relu"]
    other += tokens * (hidden + width) + tokens * hidden * activation + 2 * tokens * width
    return count(op, macs=macs, other=other + 2 * layer_norm_flops(tokens * width, tokens, affine=2))
