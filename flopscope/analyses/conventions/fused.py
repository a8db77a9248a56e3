"""Fused layers as the ops that they stand for.

In evaluation without gradients, torch runs ``nn.MultiheadAttention`` and ``nn.TransformerEncoderLayer`` as one op each. With gradients, or
with hooks on the modules, it runs their parts, and these are what other tools see.
"""

from __future__ import annotations

from collections.abc import Iterator

from flopscope.graph import Signature, TensorType

Part = tuple[str, Signature]
"""The class of the layer that runs an op, and the op."""


def parts(op: Signature) -> list[Part]:
    """The ops that a fused op stands for, each with the class of the layer that runs it; nothing for an op that is not fused."""
    if op.kind == "multi_head_attention":
        return list(_attention_parts(op))
    if op.kind == "transformer_encoder_layer":
        return list(_encoder_parts(op))
    return []


def _linear(x: TensorType, width: int, bias: bool) -> Signature:
    arguments = {"input": x, "weight": _like(x, width, x.shape[-1]), "bias": _like(x, width) if bias else None}
    return Signature("aten::linear", "linear", arguments, (_like(x, *x.shape[:-1], width),))


def _like(x: TensorType, *shape: int) -> TensorType:
    return TensorType.of(shape, x.dtype)


def _attention_parts(op: Signature) -> Iterator[Part]:
    query, keys = op["query"], op["key"]
    width, biased = query.shape[-1], op.get("qkv_bias") is not None
    yield from _projections(query, keys, biased)
    if op.get("need_weights", True):
        yield from _unfused_products(query, keys, op["num_head"], masked=op.get("mask") is not None)
    else:
        yield _products(query, keys, op["num_head"])
    yield "MultiheadAttention", _linear(query, width, op.get("proj_bias") is not None)


def _projections(query: TensorType, keys: TensorType, biased: bool) -> Iterator[Part]:
    width = query.shape[-1]
    if query.shape == keys.shape:
        yield "MultiheadAttention", _linear(query, 3 * width, biased)
    else:
        yield "MultiheadAttention", _linear(query, width, biased)
        yield "MultiheadAttention", _linear(keys, 2 * width, biased)


def _products(query: TensorType, keys: TensorType, heads: int) -> Part:
    batch, length, width = query.shape
    q = _like(query, batch, heads, length, width // heads)
    k = _like(query, batch, heads, keys.shape[1], width // heads)
    target = "aten::scaled_dot_product_attention"
    return "MultiheadAttention", Signature(target, "attention", {"query": q, "key": k, "value": k}, (q,))


def _unfused_products(query: TensorType, keys: TensorType, heads: int, *, masked: bool) -> Iterator[Part]:
    batch, length, width = query.shape
    q = _like(query, batch * heads, length, width // heads)
    k = _like(query, batch * heads, width // heads, keys.shape[1])
    v = _like(query, batch * heads, keys.shape[1], width // heads)
    scores = _like(query, batch * heads, length, keys.shape[1])
    name = "MultiheadAttention"
    if masked:
        yield name, Signature("aten::baddbmm", "addmm", {"self": scores, "a": q, "b": k}, (scores,))
    else:
        yield name, Signature("aten::bmm", "matmul", {"a": q, "b": k}, (scores,))
    yield name, Signature("aten::softmax", "softmax", {"self": scores, "dim": -1}, (scores,))
    yield name, Signature("aten::bmm", "matmul", {"a": scores, "b": v}, (q,))


def _encoder_parts(op: Signature) -> Iterator[Part]:
    source = op["src"]
    width, hidden = source.shape[-1], op["ffn_weight_1"].shape[0]
    inner = _like(source, *source.shape[:-1], hidden)
    norm = {"input": source, "normalized_shape": (width,), "weight": _like(source, width), "bias": _like(source, width)}
    activation = "gelu" if op.get("use_gelu", False) else "relu"
    yield from _projections(source, source, biased=True)
    yield _products(source, source, op["num_heads"])
    yield "MultiheadAttention", _linear(source, width, bias=True)
    yield "LayerNorm", Signature("aten::layer_norm", "layer_norm", norm, (source,))
    yield "Linear", _linear(source, hidden, bias=True)
    yield "TransformerEncoderLayer", Signature(f"aten::{activation}", activation, {"self": inner}, (inner,))
    yield "Linear", _linear(inner, width, bias=True)
    yield "LayerNorm", Signature("aten::layer_norm", "layer_norm", norm, (source,))
