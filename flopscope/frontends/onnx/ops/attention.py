"""Attention, linear attention, rotary embeddings and the causal convolution of state-space models, as ONNX itself defines them."""

from __future__ import annotations

from flopscope.errors import InputError
from flopscope.frontends.onnx.ops.contractions import convolution
from flopscope.frontends.onnx.ops.table import lowers
from flopscope.frontends.onnx.values import Call, Slot


def by_head(call: Call, x: Slot, heads: int | None) -> Slot:
    """``[b, h, l, e]`` of a value that has that layout, or ``[b, l, h * e]``.

    Raises:
        InputError: the width is no multiple of the number of heads, or the layout is another.
    """
    if len(x.shape) == 4:
        return x
    if len(x.shape) != 3 or not heads or x.shape[2] % heads:
        raise InputError(f"{list(x.shape)} cannot be divided into {heads} heads")
    batch, length, width = x.shape
    result = call.between((batch, heads, length, width // heads), x.dtype)
    call.add("permute", result, view=True, input=x)
    return result


def appended(call: Call, past: Slot | None, x: Slot, present: Slot | None) -> Slot:
    """The keys or values of earlier tokens and those of these, which the call may give back."""
    if past is None:
        if present is not None:
            call.add("alias", present, view=True, input=x)
        return x
    batch, heads, length, width = x.shape
    result = present or call.between((batch, heads, past.shape[2] + length, width), x.dtype)
    call.add("cat", result, tensors=(past, x))
    return result


@lowers("Attention")
def attention(call: Call) -> None:
    """``Y = Attention(Q, K, V, mask?, past_key?, past_value?)``, dense: every query meets every key, whatever the masks allow."""
    heads = call.attr("q_num_heads")
    query = by_head(call, call[0], heads)
    outputs = [*call.outputs, None, None, None, None][:4]
    key = appended(call, call.get(4), by_head(call, call[1], call.attr("kv_num_heads", heads)), outputs[1])
    value = appended(call, call.get(5), by_head(call, call[2], call.attr("kv_num_heads", heads)), outputs[2])
    _check(query, key, value)
    y = outputs[0]
    shape = (*query.shape[:3], value.shape[3])
    result = y if y is not None and len(y.shape) == 4 else call.between(shape, query.dtype)
    bounded = bool(call.attr("is_causal", 0)) or call.attr("left_window_size", -1) >= 0 or call.attr("right_window_size", -1) >= 0
    if outputs[3] is None and not call.attr("softcap", 0.0):
        call.add("attention", result, query=query, key=key, value=value, attn_mask=call.get(3), is_causal=bounded)
    else:
        _opened(call, query, key, value, bounded, outputs[3], result)
    if y is not None and y is not result:
        call.add("permute", y, view=True, input=result)


def _check(query: Slot, key: Slot, value: Slot) -> None:
    """Every group of query heads has a head of keys and values, as wide as the queries and as long as each other.

    Raises:
        InputError: they do not fit.
    """
    (batch, heads, _, width), groups = query.shape, key.shape[1]
    fits = key.shape[0] == value.shape[0] == batch and groups == value.shape[1] and key.shape[2] == value.shape[2]
    if not fits or key.shape[3] != width or groups < 1 or heads % groups:
        shapes = ", ".join(f"{what} {list(slot.shape)}" for what, slot in (("queries", query), ("keys", key), ("values", value)))
        raise InputError(f"{shapes} (by batch, head, position and width) do not fit")


def _shared(call: Call, x: Slot, heads: int) -> Slot:
    """Keys or values of grouped heads, each seen by all queries of its group."""
    if x.shape[1] == heads:
        return x
    result = call.between((x.shape[0], heads, *x.shape[2:]), x.dtype)
    call.add("expand", result, view=True, input=x)
    return result


def _opened(call: Call, query: Slot, key: Slot, value: Slot, bounded: bool, scores: Slot | None, out: Slot) -> None:
    """Attention one step at a time, for calls that cap the scores or ask for them."""
    heads = query.shape[1]
    key, value = _shared(call, key, heads), _shared(call, value, heads)
    shape = (*query.shape[:3], key.shape[2])
    turned = call.between((*key.shape[:2], key.shape[3], key.shape[2]), key.dtype)
    call.add("permute", turned, view=True, input=key)
    mode, cap, mask = call.attr("qk_matmul_output_mode", 0), call.attr("softcap", 0.0), call.get(3)
    # What may be asked for: the scores as such (0), with the mask (1), after the cap (2), or the probabilities (3).
    steps: list[tuple[str, set[int]]] = [("mul", {0})]
    steps += [("div", set()), ("tanh", set()), ("mul", {2})] if cap else []
    steps += [("add", {1})] if mask is not None or bounded else []
    steps += [("softmax", {3})]
    x = call.between(shape, query.dtype)
    call.add("matmul", x, a=query, b=turned)
    reached: dict[int, Slot] = {}
    for kind, modes in steps:
        result = call.between(shape, query.dtype)
        call.add(kind, result, input=x, other=mask if kind == "add" else None)
        reached.update(dict.fromkeys(modes, result))
        x = result
    call.add("matmul", out, a=x, b=value)
    if scores is not None:
        call.add("alias", scores, view=True, input=reached.get(mode, reached.get(1 if mode == 2 else 0, reached[0])))


def rotated(call: Call, x: Slot, cosines: Slot, sines: Slot, out: Slot) -> None:
    """``x cos + x' sin`` where x' holds the other element of each pair: two products and an addition per element."""
    products = [call.between(x.shape, x.dtype) for _ in range(2)]
    call.add("mul", products[0], input=x, other=cosines)
    call.add("mul", products[1], input=x, other=sines)
    call.add("add", out, input=products[0], other=products[1])


@lowers("RotaryEmbedding")
def rotary(call: Call) -> None:
    """``Y = RotaryEmbedding(X, cos, sin, positions?)`` on the first ``rotary_embedding_dim`` elements of each head, or on all."""
    x, caches, positions = call[0], [call[1], call[2]], call.get(3)
    width = x.shape[3] if len(x.shape) == 4 else x.shape[2] // max(call.attr("num_heads", 1), 1)
    turning = call.attr("rotary_embedding_dim", 0) or width
    if positions is not None:
        rows = [call.between((*positions.shape, cache.shape[-1]), cache.dtype) for cache in caches]
        for row, cache in zip(rows, caches, strict=True):
            call.add("embedding", row, weight=cache, indices=positions)
        caches = rows
    if turning == width:
        rotated(call, x, caches[0], caches[1], call.out)
        return
    whole = x.type.elements // width if width else 0
    parts = [call.between((whole, size), x.dtype) for size in (turning, width - turning)]
    call.add("split", parts, view=True, input=x)
    result = call.between(parts[0].shape, x.dtype)
    rotated(call, parts[0], caches[0], caches[1], result)
    call.add("cat", call.out, tensors=(result, parts[1]))


@lowers("LinearAttention")
def linear_attention(call: Call) -> None:
    """``[b, t, h * v] = LinearAttention([b, t, h * d], [b, t, h' * d], [b, t, h' * v], state?, decay?, rate?)``."""
    outputs = [*call.outputs, None, None][:2]
    query, key, value = (
        _tokens(call, call[position], call.attr(name)) for position, name in enumerate(("q_num_heads", "kv_num_heads", "kv_num_heads"))
    )
    result = call.between((*query.shape[:3], value.shape[3]), query.dtype)
    made = [result, *outputs[1:]]
    rule = call.attr("update_rule", "gated_delta")
    call.add(
        "linear_attention", made, query=query, key=key, value=value, state=call.get(3), decay=call.get(4), beta=call.get(5),
        has_delta="delta" in rule,
    )  # fmt: skip
    if outputs[0] is not None:
        call.add("view", outputs[0], view=True, input=result)


def _tokens(call: Call, x: Slot, heads: int | None) -> Slot:
    if len(x.shape) != 3 or not heads or x.shape[2] % heads:
        raise InputError(f"{list(x.shape)} cannot be divided into {heads} heads")
    result = call.between((*x.shape[:2], heads, x.shape[2] // heads), x.dtype)
    call.add("view", result, view=True, input=x)
    return result


@lowers("CausalConvWithState")
def causal_conv(call: Call) -> None:
    """``[b, c, l] = conv(cat([b, c, k - 1], [b, c, l]), [c, 1, k])``, channel by channel, perhaps with a SiLU behind it."""
    x, weight, past = call[0], call[1], call.get(3)
    outputs = [*call.outputs, None, None][:2]
    kept = weight.shape[2] - 1
    line = call.between((*x.shape[:2], x.shape[2] + kept), x.dtype)
    if past is None:
        call.add("pad", line, input=x)
    else:
        call.add("cat", line, tensors=(past, x))
    y = outputs[0] or call.between(x.shape, x.dtype)
    activated = call.attr("activation", "none").lower() in ("silu", "swish")
    result = call.between(x.shape, x.dtype) if activated else y
    inner = Call(call.domain, "Conv", call.opset, {"group": x.shape[1]}, call.inputs, call.outputs, call.pieces)
    convolution(inner, line, weight, call.get(2), result)
    if activated:
        call.add("silu", y, input=result)
    if outputs[1] is not None:
        call.add("slice", outputs[1], view=True, input=line)
