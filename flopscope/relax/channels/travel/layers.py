"""How dimensions travel through layers: convolutions, products, normalisation, pooling, lookups, attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flopscope.relax.channels.dims import Dim, Dims, fixed
from flopscope.relax.channels.travel.registry import Call, broadcast, travels


def _input_and_channels(call: Call) -> tuple[Dims, int]:
    """The dims of the input of a convolution, and where its channels are (it may have no batch)."""
    x = call["input"]
    return x, len(x) - len(call["weight"]) + 1


def _positions(call: Call, x: Dims, first: int) -> Dims:
    """The positions that a kernel slides over: sizes of images, which are as they were traced.

    Channels may be positions too (a convolution over channels), where none is lost.
    """
    found = []
    for dim, size in zip(x[first:], call.shape()[first:], strict=True):
        keeps = call.op.kind == "conv" and size == call.units.size(dim) and set(_numbers(call.argument("stride", 1))) == {1}
        if not keeps:
            call.freeze(dim)
        found.append(dim if keeps else fixed(size))
    return tuple(found)


def _numbers(value: Any) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


@travels("conv")
def conv(call: Call) -> list[Dims]:
    """``[n, o, *s'] = conv([n, c, *s], [o, c/g, *k], [o]?)``: the outputs are a group of their own, but those of a depthwise one."""
    x, position = _input_and_channels(call)
    weight, groups = call["weight"], call.argument("groups", 1)
    channels, out = x[position], weight[0]
    call.freeze(*weight[2:], why="")
    if groups > 1 and groups == call.units.size(channels):
        out = _depthwise(call, channels, call.units.size(out) // groups)
        call.same(weight[0], out)
        call.freeze(weight[1], why="")
    else:
        inner = call.units.divide(channels, groups, f"it has {groups} groups ({call.reason})")
        call.same(weight[1], inner)
        call.units.divide(out, groups, f"it has {groups} groups ({call.reason})")
    call.vector("bias", out)
    return [(*x[:position], out, *_positions(call, x, position + 1))]


def _depthwise(call: Call, channels: Dim, multiplier: int) -> Dim:
    """Each channel is filtered by itself, so the number of groups changes with the channels."""
    call.relaxed["groups"] = channels
    return call.units.merge([channels, fixed(multiplier)], "")


@travels("conv_transpose")
def conv_transpose(call: Call) -> list[Dims]:
    """``[n, o, *s'] = conv_transpose([n, c, *s], [c, o/g, *k], [o]?)``."""
    x, position = _input_and_channels(call)
    weight, groups = call["weight"], call.argument("groups", 1)
    call.freeze(*weight[2:], why="")
    call.same(weight[0], x[position])
    if groups > 1 and groups == call.units.size(x[position]):
        call.freeze(weight[1], why=f"it multiplies channels ({call.reason})")
        out = _depthwise(call, x[position], call.units.size(weight[1]))
    else:
        call.units.divide(x[position], groups, f"it has {groups} groups ({call.reason})")
        out = call.units.merge([fixed(groups), weight[1]], call.reason)
    call.vector("bias", out)
    return [(*x[:position], out, *_positions(call, x, position + 1))]


@travels("linear")
def linear(call: Call) -> list[Dims]:
    """``[*, o] = linear([*, i], [o, i], [o]?)``."""
    x, weight = call["input"], call["weight"]
    call.same(weight[-1], x[-1])
    call.vector("bias", weight[0])
    return [(*x[:-1], *weight[:-1])]


@travels("matmul", "addmm")
def matmul(call: Call) -> list[Dims]:
    """``[*, n, p] = matmul([*, n, m], [*, m, p])``, where either may be a vector, plus what is added to it."""
    a, b = call["a"], call["b"]
    if not a or not b:
        return call.give_up()
    call.same(a[-1], b[-2] if len(b) > 1 else b[0])
    batch = broadcast(call, [a[:-2], b[:-2]])
    out = (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))
    if call["input"] is not None:
        broadcast(call, [out, call["input"]])
    elif call["self"] is not None:
        broadcast(call, [out, call["self"]])
    return [out]


@travels("grouped_mm")
def grouped_mm(call: Call) -> list[Dims]:
    """``[m, n] = grouped_mm([m, k], [g, k, n])``: each row meets the matrix of its group."""
    a, b = call["a"], call["b"]
    if len(a) != 2 or len(b) != 3:
        return call.give_up()
    call.same(a[-1], b[-2])
    call.freeze(b[0], why=f"it counts experts ({call.reason})")
    return [(a[0], b[-1])]


@travels("einsum")
def einsum(call: Call) -> list[Dims]:
    """Equal labels have equal sizes."""
    equation = call.argument("equation").replace(" ", "")
    terms, arrow, output = equation.partition("->")
    if "." in equation or not arrow:
        return call.give_up()
    sizes: dict[str, Dim] = {}
    for term, dims in zip(terms.split(","), call["operands"], strict=True):
        for label, dim in zip(term, dims, strict=True):
            if sizes.get(label, fixed(1)) == fixed(1):
                sizes[label] = dim
            elif dim != fixed(1):
                call.same(sizes[label], dim)
    return [tuple(sizes[label] for label in output)]


@travels("batch_norm", "batch_norm_inference", "instance_norm")
def batch_norm(call: Call) -> list[Dims]:
    """``[n, c, *] = batch_norm([n, c, *], [c]?, [c]?, [c]?, [c]?)``; statistics that are returned too have c numbers."""
    x = call["input"]
    for name in ("weight", "bias", "running_mean", "running_var"):
        call.vector(name, x[1])
    return [x, *((x[1],) if len(call.shape(output)) == 1 else () for output in range(1, len(call.op.outputs)))]


@travels("layer_norm", "rms_norm")
def layer_norm(call: Call) -> list[Dims]:
    """``[*, d] = layer_norm([*, d], [d]?, [d]?)``, over the last few dimensions."""
    x = call["input"]
    for name in ("weight", "bias"):
        if call[name] is not None:
            broadcast(call, [x[len(x) - len(call[name]) :], call[name]])
    rest = [tuple(fixed(size) for size in call.shape(output)) for output in range(1, len(call.op.outputs))]
    if any(len(dims) for dims in rest):
        call.freeze(*x[: len(x) - len(call.argument("normalized_shape"))], why=call.reason)
    return [x, *rest]


@travels("group_norm")
def group_norm(call: Call) -> list[Dims]:
    """``[n, c, *] = group_norm([n, c, *], g, [c]?, [c]?)``."""
    x, groups = call["input"], call.argument("num_groups", call.argument("group", 1))
    call.units.divide(x[1], groups, f"it has {groups} groups ({call.reason})")
    for name in ("weight", "bias"):
        call.vector(name, x[1])
    return [x, *(tuple(fixed(size) for size in call.shape(output)) for output in range(1, len(call.op.outputs)))]


@travels(
    "avg_pool", "max_pool", "adaptive_avg_pool", "adaptive_max_pool", "upsample_nearest", "upsample_linear", "upsample_cubic",
    "upsample_antialias", "fractional_max_pool",
)  # fmt: skip
def pool(call: Call) -> list[Dims]:
    """``[n, c, *s'] = pool([n, c, *s])``: the sizes of images are as they were traced."""
    x = call.first
    digits = [int(letter) for letter in call.op.target if letter.isdigit()]
    kept = len(x) - (digits[0] if digits else len(x) - 2)
    call.freeze(*x[kept:])
    return [(*x[:kept], *(fixed(size) for size in call.shape(output)[kept:])) for output in range(len(call.op.outputs))]


@travels("embedding")
def embedding(call: Call) -> list[Dims]:
    """``[*, d] = embedding([v, d], [*])``."""
    weight = call["weight"]
    call.freeze(weight[0], why=f"it counts the rows of a table ({call.reason})")
    return [(*call["indices"], *weight[1:])]


@travels("attention")
def attention(call: Call) -> list[Dims]:
    """``[*, h, l, v] = attention([*, h, l, e], [*, h', s, e], [*, h', s, v], mask?)``; h' < h are grouped key and value heads."""
    query, key, value = call["query"], call["key"], call["value"]
    call.same(query[-1], key[-1])
    call.same(key[-2], value[-2])
    broadcast(call, [key[:-2], value[:-2]])
    batch = list(query[:-2])
    if len(query) > 2 and len(key) > 2:
        heads, others = call.units.size(query[-3]), call.units.size(key[-3])
        if heads != others and others > 1:
            call.same(query[-3], call.units.merge([key[-3], fixed(heads // others)], ""))
            broadcast(call, [query[:-3], key[:-3]])
        else:
            batch = list(broadcast(call, [query[:-2], key[:-2]]))
    if call["attn_mask"] is not None:
        broadcast(call, [(*batch, query[-2], key[-2]), call["attn_mask"]])
    return [(*batch, query[-2], value[-1])]


def _projections(call: Call, width: Dim, heads: int, names: Sequence[str]) -> None:
    """The weights of a fused attention: ``[3d, d], [3d]?, [d, d], [d]?``, where heads are a fixed part of the width."""
    call.units.divide(width, heads, f"it has {heads} heads ({call.reason})")
    inner, inner_bias, outer, outer_bias = (call[name] for name in names)
    call.same(inner[0], (*width, *width, *width))
    call.same(inner[1], width)
    if inner_bias is not None:
        call.same(inner_bias[0], (*width, *width, *width))
    call.same(outer[0], width)
    call.same(outer[1], width)
    if outer_bias is not None:
        call.same(outer_bias[0], width)


@travels("multi_head_attention")
def multi_head_attention(call: Call) -> list[Dims]:
    """``[b, l, d] = mha([b, l, d], [b, s, d], [b, s, d])`` with all four projections; its number of heads stays."""
    query = call["query"]
    for other in (call["key"], call["value"]):
        call.same(query[-1], other[-1])
    _projections(call, query[-1], call.argument("num_head"), ("qkv_weight", "qkv_bias", "proj_weight", "proj_bias"))
    rest = [tuple(fixed(size) for size in call.shape(output)) for output in range(1, len(call.op.outputs))]
    return [query, *rest]


@travels("transformer_encoder_layer")
def transformer_encoder_layer(call: Call) -> list[Dims]:
    """``[b, l, d] = layer([b, l, d])`` with a hidden width f."""
    source = call["src"]
    width = source[-1]
    _projections(call, width, call.argument("num_heads"), ("qkv_weight", "qkv_bias", "proj_weight", "proj_bias"))
    for name in ("norm_weight_1", "norm_bias_1", "norm_weight_2", "norm_bias_2", "ffn_bias_2"):
        call.vector(name, width)
    first, second = call["ffn_weight_1"], call["ffn_weight_2"]
    call.same(first[1], width)
    call.same(second[0], width)
    call.same(second[1], first[0])
    call.vector("ffn_bias_1", first[0])
    return [source]
