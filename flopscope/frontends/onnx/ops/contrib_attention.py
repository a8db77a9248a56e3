"""Attention layers of the contrib domain: projections, rotations, caches, and the two products between positions.

Letters: b batch, l positions of the queries, s positions of the keys, h heads, g heads of keys and values, e width of a head.
"""

from __future__ import annotations

from flopscope.errors import InputError
from flopscope.frontends.onnx.ops.quantized import SUMS, shifted
from flopscope.frontends.onnx.ops.table import CONTRIB, lowers
from flopscope.frontends.onnx.values import Call, Slot

DENSE = "attention over a cache or over sequences of different lengths is counted over all positions that the shapes allow"


def in_heads(call: Call, x: Slot, heads: int) -> Slot:
    """``[b, h, l, e]`` from ``[b, l, h*e]``: a view; what has heads already is left as it is."""
    if len(x.shape) == 4:
        return x
    batch, length, width = x.shape
    parts = call.between((batch, length, heads, width // heads), x.dtype)
    call.add("view", parts, view=True, input=x)
    result = call.between((batch, heads, length, width // heads), x.dtype)
    call.add("permute", result, view=True, input=parts)
    return result


def split(call: Call, x: Slot, sizes: tuple[int, ...]) -> list[Slot]:
    """Parts of the last dimension: views."""
    parts = [call.between((*x.shape[:-1], size), x.dtype) for size in sizes]
    call.add("split", parts, view=True, input=x)
    return parts


def biased(call: Call, x: Slot, bias: Slot | None) -> Slot:
    """``x + bias`` where there is one."""
    if bias is None:
        return x
    result = call.between(x.shape, x.dtype)
    call.add("add", result, input=x, other=bias)
    return result


def rotated(call: Call, x: Slot, tables: tuple[Slot | None, ...], out: Slot | None = None, width: int | None = None) -> Slot:
    """Positions are turned into angles: two products and an addition for each element of the part that is rotated."""
    cos, sin = tables or (None, None)
    shape = (*x.shape[:-1], width) if width else x.shape
    result = out if out is not None else call.between(x.shape, x.dtype)
    part = x
    if shape != x.shape:
        part = call.between(shape, x.dtype)
        call.add("slice", part, view=True, input=x)
    direct, crossed = call.between(shape, x.dtype), call.between(shape, x.dtype)
    call.add("mul", direct, input=part, other=cos)
    call.add("mul", crossed, input=part, other=sin)
    if shape == x.shape:
        call.add("add", result, input=direct, other=crossed)
        return result
    total = call.between(shape, x.dtype)
    call.add("add", total, input=direct, other=crossed)
    call.add("slice_scatter", result, input=x, src=total)
    return result


def extended(call: Call, past: Slot | None, new: Slot, present: Slot | None, keys: int) -> Slot:
    """The keys or values of a cache and the new ones behind them; a cache that is written in place is read as far as it is filled."""
    if past is None:
        if present is not None:
            call.add("clone", present, input=new)
        return new
    whole = present if present is not None else call.between((*new.shape[:2], keys, past.shape[3]), past.dtype)
    if past.shape[2] == whole.shape[2]:
        call.add("slice_scatter", whole, input=past, src=new)
    else:
        call.add("cat", whole, tensors=(past, new))
    shape = (*new.shape[:2], min(keys, whole.shape[2]), whole.shape[3])
    if shape == whole.shape:
        return whole
    filled = call.between(shape, whole.dtype)
    call.add("slice", filled, view=True, input=whole)
    return filled


def attend(call: Call, query: Slot, key: Slot, value: Slot, mask: Slot | None, *, causal: bool = False) -> None:
    """``[b, h, l, e], [b, g, s, e], [b, g, s, v] -> [b, l, h*v]``."""
    batch, heads, length, _ = query.shape
    if key.shape[2] != value.shape[2] or heads % key.shape[1] or query.shape[3] != key.shape[3]:
        raise InputError(f"queries {list(query.shape)}, keys {list(key.shape)} and values {list(value.shape)} do not fit")
    result = call.between((batch, heads, length, value.shape[3]), call.out.dtype)
    call.add("attention", result, query=query, key=key, value=value, attn_mask=mask, is_causal=causal or None)
    turned = call.between((batch, length, heads, value.shape[3]), call.out.dtype)
    call.add("permute", turned, view=True, input=result)
    call.add("view", call.out, view=True, input=turned)


def _output(call: Call, position: int) -> Slot | None:
    return call.outputs[position] if position < len(call.outputs) else None


@lowers("Attention", "DecoderMaskedSelfAttention", domain=CONTRIB)
def attention(call: Call) -> None:
    """A projection to queries, keys and values, and attention: no projection after it."""
    x, weight, bias = call[0], call[1], call.get(2)
    projected = call.between((*x.shape[:2], weight.shape[1]), x.dtype)
    if bias is None:
        call.add("matmul", projected, a=x, b=weight)
    else:
        call.add("addmm", projected, input=bias, a=x, b=weight)
    _projected_attention(call, projected, call.get(4), call.get(6), call.get(3) or call.get(5))


@lowers("QAttention", domain=CONTRIB)
def quantised_attention(call: Call) -> None:
    """`attention` with a projection of integers, whose sums are scaled to floating point."""
    x, weight, bias = shifted(call, call[0], call.get(6)), shifted(call, call[1], call.get(7)), call[2]
    sums = call.between((*x.shape[:2], weight.shape[1]), SUMS)
    call.add("matmul", sums, a=x, b=weight)
    scaled = call.between(sums.shape, bias.dtype)
    call.add("mul", scaled, input=sums, other=call[4])
    _projected_attention(call, biased(call, scaled, bias), call.get(8), None, call.get(5))


def _projected_attention(call: Call, projected: Slot, past: Slot | None, length: Slot | None, mask: Slot | None) -> None:
    heads = call.attr("num_heads", 1)
    sizes = tuple(call.attr("qkv_hidden_sizes") or (projected.shape[-1] // 3,) * 3)
    if sum(sizes) != projected.shape[-1]:
        raise InputError(f"a projection to {projected.shape[-1]} does not hold queries, keys and values of {list(sizes)}")
    query, key, value = (in_heads(call, part, heads) for part in split(call, projected, sizes))
    if call.attr("do_rotary", 0):
        width = call.attr("rotary_embedding_dim", 0) or None
        query, key = rotated(call, query, (), width=width), rotated(call, key, (), width=width)
    present = _output(call, 1)
    if past is not None:
        key, value = _stacked_cache(call, past, key, value, present, length)
    elif present is not None:
        call.add("stack", present, tensors=(key, value))
    attend(call, query, key, value, mask, causal=bool(call.attr("unidirectional", 0)))


def _stacked_cache(call: Call, past: Slot, key: Slot, value: Slot, present: Slot | None, length: Slot | None) -> tuple[Slot, Slot]:
    """Keys and values of a cache ``[2, b, h, p, e]`` that holds both."""
    shape = past.shape[1:]
    if len(shape) != 4 or shape[:2] != key.shape[:2] or shape[3] != key.shape[3]:
        raise InputError(f"a cache {list(past.shape)} does not hold keys {list(key.shape)} with another such for the values")
    shared = length is not None or bool(call.attr("past_present_share_buffer", 0))
    known = length.ints() if length is not None else None
    held = known[0] if known else shape[2] - key.shape[2] if shared else shape[2]
    if shared and not known:
        call.notes.append(DENSE)
    keys = max(held, 0) + key.shape[2]
    whole = present if present is not None else call.between((2, *shape[:2], keys, shape[3]), past.dtype)
    if shared:
        call.add("slice_scatter", whole, input=past, src=key, values=value)
    else:
        call.add("cat", whole, tensors=(past, key, value))
    parts = [call.between((*shape[:2], keys, shape[3]), past.dtype) for _ in range(2)]
    call.add("unbind", parts, view=True, input=whole)
    return parts[0], parts[1]


@lowers("MultiHeadAttention", domain=CONTRIB)
def multi_head_attention(call: Call) -> None:
    """Attention between queries, keys and values that are projected already; biases are added here."""
    query, key, value = _three(call, call.attr("num_heads", 1), call.get(3))
    keys = call.get(6), call.get(7)
    if keys[0] is not None and not _has_heads(call.get(1)):
        total = keys[0].shape[2] + key.shape[2]
        held = call.get(8)
        known = held.ints() if held is not None else None
        if held is not None:
            total = known[0] + key.shape[2] if known else keys[0].shape[2]
        key = extended(call, keys[0], key, _output(call, 1), total)
        value = extended(call, keys[1], value, _output(call, 2), total)
    else:
        extended(call, None, key, _output(call, 1), key.shape[2])
        extended(call, None, value, _output(call, 2), value.shape[2])
    attend(call, query, key, value, call.get(4) or call.get(5), causal=bool(call.attr("unidirectional", 0)))
    _scores(call, 3)


@lowers("DecoderMaskedMultiHeadAttention", domain=CONTRIB)
def decoder_attention(call: Call) -> None:
    """`multi_head_attention` of one new position, with a cache after the masks."""
    query, key, value = _three(call, call.attr("num_heads", 1), call.get(10))
    past, held = call.get(5), call.get(7)
    if past is not None and not _has_heads(call.get(1)):
        known = held.ints() if held is not None else None
        shared = bool(call.attr("past_present_share_buffer", 0))
        total = known[0] + key.shape[2] if known else past.shape[2] if shared else past.shape[2] + key.shape[2]
        if shared and not known:
            call.notes.append(DENSE)
        key = extended(call, past, key, _output(call, 1), total)
        value = extended(call, call.get(6), value, _output(call, 2), total)
    attend(call, query, key, value, call.get(3) or call.get(4))
    _scores(call, 3)


def _scores(call: Call, position: int) -> None:
    """The scores where they are asked for: written once more."""
    asked = _output(call, position)
    if asked is not None:
        call.add("clone", asked)


def _has_heads(slot: Slot | None) -> bool:
    return slot is not None and len(slot.shape) == 4


def _three(call: Call, heads: int, bias: Slot | None) -> tuple[Slot, Slot, Slot]:
    """Queries, keys and values with heads, however they are packed."""
    query, key, value = call[0], call.get(1), call.get(2)
    if len(query.shape) == 5:
        batch, length, heads, _, width = query.shape
        return _unpacked(call, query, (batch, heads, length, width), 3, bias)  # type: ignore[return-value]
    if key is None:
        parts = split(call, biased(call, query, bias), (query.shape[2] // 3,) * 3)
        return tuple(in_heads(call, part, heads) for part in parts)  # type: ignore[return-value]
    offsets = _bias_parts(call, bias, query, key, value)
    query = in_heads(call, biased(call, query, offsets[0]), heads)
    if len(key.shape) == 5:
        batch, length, heads, _, width = key.shape
        return query, *_unpacked(call, key, (batch, heads, length, width), 2, None)  # type: ignore[return-value]
    if value is None:
        raise InputError("it has keys and no values")
    return query, in_heads(call, biased(call, key, offsets[1]), heads), in_heads(call, biased(call, value, offsets[2]), heads)


def _bias_parts(call: Call, bias: Slot | None, query: Slot, key: Slot, value: Slot | None) -> list[Slot | None]:
    """The biases of queries, keys and values, which lie behind one another; keys with heads come from a cache and have none."""
    if bias is None:
        return [None] * 3
    if value is None or len(key.shape) != 3:
        width = query.shape[2]
        return [split(call, bias, (width, bias.shape[0] - width))[0], None, None]
    return list(split(call, bias, (query.shape[2], key.shape[2], bias.shape[0] - query.shape[2] - key.shape[2])))


def _unpacked(call: Call, x: Slot, shape: tuple[int, ...], parts: int, bias: Slot | None) -> tuple[Slot, ...]:
    """The parts of ``[b, l, h, parts, e]``."""
    if bias is not None:
        x = biased(call, x, bias)
    found = tuple(call.between(shape, x.dtype) for _ in range(parts))
    call.add("unbind", found, view=True, input=x)
    return found


@lowers("GroupQueryAttention", "SparseAttention", domain=CONTRIB)
def grouped_attention(call: Call) -> None:
    """Attention whose heads share keys and values in groups, with a cache, and perhaps rotated positions."""
    heads, groups = call.attr("num_heads", 1), call.attr("kv_num_heads", 1)
    sparse = call.op == "SparseAttention"
    query, key, value = call[0], call.get(1), call.get(2)
    if key is None or value is None:
        width = query.shape[2] // (heads + 2 * groups)
        query, key, value = split(call, query, (heads * width, groups * width, groups * width))
    query, key, value = in_heads(call, query, heads), in_heads(call, key, groups), in_heads(call, value, groups)
    if call.attr("do_rotary", 0):
        tables = (call.get(9), call.get(10)) if sparse else (call.get(7), call.get(8))
        width = 2 * tables[0].shape[-1] if tables[0] is not None else None
        width = None if width == query.shape[3] else width
        query, key = rotated(call, query, tables, width=width), rotated(call, key, tables, width=width)
    past = call.get(3)
    said = call.get(7 if sparse else 6)
    known = said.ints() if said is not None else None
    total = max(known) if known else (past.shape[2] if past is not None else 0) + key.shape[2]
    if not known or sparse:
        call.notes.append(DENSE)
    key = extended(call, past, key, _output(call, 1), total)
    value = extended(call, call.get(4), value, _output(call, 2), total)
    key, value = (_floating(call, x, query.dtype, query.shape[3]) for x in (key, value))
    attend(call, query, key, value, None if sparse else call.get(10), causal=not sparse)
    _scores(call, 3)


def _floating(call: Call, x: Slot, dtype: str, width: int) -> Slot:
    """A cache of small integers as the floating-point numbers that the products take."""
    if x.dtype == dtype:
        return x
    result = call.between((*x.shape[:3], width), dtype)
    call.add("dequantize", result, input=x)
    return result


@lowers("PackedAttention", domain=CONTRIB)
def packed_attention(call: Call) -> None:
    """`attention` of sequences that lie behind one another without padding."""
    x, weight, heads = call[0], call[1], call.attr("num_heads", 1)
    sizes = tuple(call.attr("qkv_hidden_sizes") or (weight.shape[1] // 3,) * 3)
    projected = call.between((x.shape[0], weight.shape[1]), x.dtype)
    call.add("addmm", projected, input=call[2], a=x, b=weight)
    _packed(call, split(call, projected, sizes), heads, call[3], call[4], call.get(5))


@lowers("PackedMultiHeadAttention", domain=CONTRIB)
def packed_heads(call: Call) -> None:
    """The same without a projection."""
    query, heads, bias = call[0], call.attr("num_heads", 1), call.get(3)
    if len(query.shape) == 4:
        tokens, heads, _, width = query.shape
        parts = list(_unpacked(call, query, (tokens, heads * width), 3, bias))
    else:
        offsets = _bias_parts_flat(call, bias, call[1], call[2])
        parts = [biased(call, x, offset) for x, offset in zip((query, call[1], call[2]), offsets, strict=True)]
    _packed(call, parts, heads, call[4], call[5], call.get(6))


def _bias_parts_flat(call: Call, bias: Slot | None, key: Slot, value: Slot) -> list[Slot | None]:
    if bias is None:
        return [None] * 3
    return list(split(call, bias, (bias.shape[0] - key.shape[1] - value.shape[1], key.shape[1], value.shape[1])))


def _packed(call: Call, parts: list[Slot], heads: int, offset: Slot, lengths: Slot, mask: Slot | None) -> None:
    """Every token meets as many keys as the longest sequence may have: the lengths are data."""
    split_up = []
    for part in parts:
        tokens, width = part.shape
        split_up.append(call.between((tokens, heads, width // heads), part.dtype))
        call.add("view", split_up[-1], view=True, input=part)
    query, key, value = split_up
    result = call.between((query.shape[0], heads, value.shape[2]), call.out.dtype)
    call.add(
        "attention_by_token", result, query=query, key=key, value=value, attn_mask=mask, cum_seq_k=lengths, max_k=offset.shape[1]
    )  # fmt: skip
    call.add("view", call.out, view=True, input=result)
    call.notes.append(DENSE)


@lowers("RotaryEmbedding", "MRotaryEmbedding", domain=CONTRIB)
def rotary(call: Call) -> None:
    """``x cos + turned(x) sin`` with tables that positions look up; perhaps only of the first part of every head."""
    x, heads, width = call[0], call.attr("num_heads", 0), call.attr("rotary_embedding_dim", 0)
    tables = call.get(2), call.get(3)
    if width and len(x.shape) == 3 and heads:
        split_up = call.between((*x.shape[:2], heads, x.shape[2] // heads), x.dtype)
        call.add("view", split_up, view=True, input=x)
        width = None if width == split_up.shape[-1] else width
        call.add("view", call.out, view=True, input=rotated(call, split_up, tables, width=width))
        return
    rotated(call, x, tables, call.out, width=width if width and width != x.shape[-1] else None)


@lowers("RelativePositionBias", domain=CONTRIB)
def relative_bias(call: Call) -> None:
    """``[1, h, l, s]``: rows of a table, by the distance of two positions."""
    call.add("embedding", call.out, weight=call[0])


@lowers("GatedRelativePositionBias", domain=CONTRIB)
def gated_bias(call: Call) -> None:
    """``gate(query) * bias``: a product with a small matrix, sigmoids, and an affine map per position and head."""
    query, weight, heads = call[0], call[3], call.attr("num_heads", 1)
    query = biased(call, query, call[1])
    if len(query.shape) == 3:
        query = in_heads(call, query, heads)
    batch, heads, length, _ = call.out.shape
    logits = call.between((batch, heads, length, weight.shape[1]), query.dtype)
    call.add("addmm", logits, input=call[4], a=query, b=weight)
    sums = call.between((batch, heads, length, 2), query.dtype)
    call.add("sum", sums, input=logits)
    gates = call.between(sums.shape, query.dtype)
    call.add("sigmoid", gates, input=sums)
    steps = [call.between((batch, heads, length, 1), query.dtype) for _ in range(3)]
    call.add("mul", steps[0], input=gates, other=call[5])
    call.add("sub", steps[1], input=steps[0])
    call.add("addcmul", steps[2], input=gates, other=steps[1])
    call.add("mul", call.out, input=call[2], other=steps[2])
