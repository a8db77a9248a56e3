"""The types of contrib ops (``com.microsoft``) that contract or normalise, which ONNX's own inference does not know.

Letters: b batch, l positions of the queries, p positions that a cache holds, h heads, e width of a head, d width of a token.
"""

from __future__ import annotations

from flopscope.errors import InputError
from flopscope.frontends.onnx.ops.dimensions import kernel_last, turned
from flopscope.frontends.onnx.ops.table import CONTRIB
from flopscope.frontends.onnx.types.given import Given, types
from flopscope.frontends.onnx.types.inference import Typed

# -- attention ----------------------------------------------------------------------------------------------------------------


def cached(given: Given, past: int, axis: int, length: int, position: int, total: int | None = None) -> tuple[int, ...]:
    """The shape of a cache after a call: as long as before where it is written in place, else with the new positions.

    Args:
        given: the call.
        past: which input is the cache.
        axis: which of its dimensions is positions.
        length: how many positions are new.
        position: which input says how many positions were taken of a cache that is written in place.
        total: how long it is after all, where the call says so.
    """
    shape = list(given.shape(past))
    if total is not None:
        shape[axis] = max(shape[axis], total)
    elif not given.attr("past_present_share_buffer", 0) and not given.has(position):
        shape[axis] += length
    return tuple(shape)


@types("Attention", "QAttention", "DecoderMaskedSelfAttention", domain=CONTRIB)
def attention(given: Given) -> list[Typed]:
    """``[b, l, v], [2, b, h, p+l, e]``."""
    batch, length, _ = given.shape(0)
    heads = given.attr("num_heads", 1)
    sizes = given.attr("qkv_hidden_sizes") or (given.shape(1)[1] // 3,) * 3
    quantised = "weight_scale" if given.dtype(0) in ("int8", "uint8") else None
    dtype = given.dtype(3) if quantised else given.dtype(0)
    past = 8 if quantised else 4
    cache: tuple[int, ...] = (2, batch, heads, length, sizes[0] // heads)
    if given.has(past):
        cache = cached(given, past, 3, length, 99 if quantised else 6)
    return [(dtype, (batch, length, sizes[2])), (dtype, cache)]


@types("MultiHeadAttention", domain=CONTRIB)
def multi_head_attention(given: Given) -> list[Typed]:
    """``[b, l, v], [b, h, p+s, e], [b, h, p+s, v/h], [b, h, l, p+s]``."""
    query, heads, dtype = given.shape(0), given.attr("num_heads", 1), given.dtype(0)
    batch, length = query[:2]
    if len(query) == 5:
        keys, width, value_width = length, query[4], query[4]
    else:
        width = query[2] // heads
        key = given.shape(1) if given.has(1) else query
        keys = key[2] if len(key) == 4 else key[1]
        value = given.shape(2) if given.has(2) else (key[-1] * heads,)
        value_width = value[-1] if len(value) == 4 else value[-1] // heads
    if given.has(6):
        total = cached(given, 6, 2, keys, 8)[2]
        keys = given.shape(6)[2] if given.has(1) and len(given.shape(1)) == 4 else total
    cache = (batch, heads, keys)
    return [
        (dtype, (batch, length, heads * value_width)), (dtype, (*cache, width)), (dtype, (*cache, value_width)),
        (dtype, (batch, heads, length, keys)),
    ]  # fmt: skip


@types("DecoderMaskedMultiHeadAttention", domain=CONTRIB)
def decoder_attention(given: Given) -> list[Typed]:
    """As `multi_head_attention`; the cache comes after the masks, and the keys of another sequence may be given as heads."""
    query, heads, dtype = given.shape(0), given.attr("num_heads", 1), given.dtype(0)
    batch, length = query[:2]
    packed = len(query) == 5 or not given.has(1)
    width = query[-1] if len(query) == 5 else query[-1] // ((3 if packed else 1) * heads)
    value = given.shape(2) if given.has(2) else (width * heads,)
    value_width = value[-1] if len(value) == 4 else value[-1] // heads
    crossed = given.has(1) and len(given.shape(1)) == 4
    keys = given.shape(1)[2] if crossed else length
    found: list[Typed] = [(dtype, (batch, length, heads * value_width))]
    if given.has(5):
        keys = cached(given, 5, 2, length, 99)[2]
        found += [(dtype, (*given.shape(5)[:2], keys, width)), (dtype, (*given.shape(5)[:2], keys, value_width))]
    else:
        found += [(dtype, (batch, heads, keys, width)), (dtype, (batch, heads, keys, value_width))]
    return [*found, ("float32", (batch, heads, length, keys))]


def grouped_width(given: Given) -> int:
    """The width of a head of a grouped attention, whose query may hold the keys and values too."""
    heads, pairs = given.attr("num_heads", 1), given.attr("kv_num_heads", 1)
    width: int = given.shape(0)[-1] // (heads if given.has(1) else heads + 2 * pairs)
    return width


def whole_length(given: Given, total: int, past: int) -> int:
    """How many keys a query meets: what the call says, else what the cache holds and what is new."""
    said = given.ints(total)
    if said:
        return max(said)
    return (given.shape(past)[2] if given.has(past) else 0) + given.shape(0)[1]


@types("GroupQueryAttention", "SparseAttention", domain=CONTRIB)
def grouped_attention(given: Given) -> list[Typed]:
    """``[b, l, h*e], [b, g, p+l, e], [b, g, p+l, e], [b, h, l, p+l]`` with g heads of keys and values."""
    batch, length, _ = given.shape(0)
    heads, pairs, width = given.attr("num_heads", 1), given.attr("kv_num_heads", 1), grouped_width(given)
    total = whole_length(given, 7 if given.has(5) and len(given.values) > 7 and given.attr("sparse_block_size") else 6, 3)
    caches: list[Typed] = []
    for past in (3, 4):
        if given.has(past):
            caches.append((given.dtype(past), cached(given, past, 2, length, 99, total)))
        else:
            caches.append((given.dtype(0), (batch, pairs, total, width)))
    keys = caches[0][1] or ()
    return [(given.dtype(0), (batch, length, heads * width)), *caches, (given.dtype(0), (batch, heads, length, keys[2]))]


@types("PackedAttention", domain=CONTRIB)
def packed_attention(given: Given) -> list[Typed]:
    """``[t, v]``."""
    sizes = given.attr("qkv_hidden_sizes") or (given.shape(1)[1] // 3,) * 3
    return [(given.dtype(0), (given.shape(0)[0], sizes[2]))]


@types("PackedMultiHeadAttention", domain=CONTRIB)
def packed_heads(given: Given) -> list[Typed]:
    """``[t, v]``."""
    query = given.shape(0)
    width = query[1] * query[3] if len(query) == 4 else given.shape(2)[-1]
    return [(given.dtype(0), (query[0], width))]


@types("RelativePositionBias", domain=CONTRIB)
def relative_bias(given: Given) -> list[Typed]:
    """``[1, h, l, s]``."""
    return [(given.dtype(0), (1, given.shape(0)[1], given.must_know(1)[0], given.must_know(2)[0]))]


@types("GatedRelativePositionBias", domain=CONTRIB)
def gated_bias(given: Given) -> list[Typed]:
    """``[b, h, l, s]``."""
    batch = given.shape(6)[0] if given.has(6) else given.shape(0)[0]
    return [(given.dtype(0), (batch, given.attr("num_heads", 1), *given.shape(2)[2:]))]


# -- products -----------------------------------------------------------------------------------------------------------------


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an elementwise result.

    Raises:
        ValueError: they do not fit.
    """
    rank = max(map(len, shapes))
    sizes = []
    for column in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        different = {size for size in column if size != 1}
        if len(different) > 1:
            raise ValueError(f"sizes {sorted(different)} do not broadcast")
        sizes.append(different.pop() if different else 1)
    return tuple(sizes)


def product(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a matrix product.

    Raises:
        InputError: the inner sizes differ.
    """
    if len(a) < 1 or len(b) < 1 or a[-1] != b[-2 if len(b) > 1 else 0]:
        raise InputError(f"a matrix product of {list(a)} and {list(b)} does not fit")
    rows = a[-2:-1]
    columns = b[-1:] if len(b) > 1 else ()
    return (*broadcast(a[:-2], b[:-2]), *rows, *columns)


@types("FusedMatMul", "TransposeMatMul", "FusedMatMulActivation", "SparseToDenseMatMul", domain=CONTRIB)
def fused_matmul(given: Given) -> list[Typed]:
    """``[*, n, p]``."""
    a = turned(given.shape(0), given.attr("transBatchA", 0), given.attr("transA", 0))
    b = turned(given.shape(1), given.attr("transBatchB", 0), given.attr("transB", 0))
    return [(given.dtype(0), product(a, b))]


@types("GemmFastGelu", domain=CONTRIB)
def plain_product(given: Given) -> list[Typed]:
    """``[*, n, p]``."""
    return [(given.dtype(0), product(given.shape(0), given.shape(1)))]


@types("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulInteger16", domain=CONTRIB)
def integer_product(given: Given) -> list[Typed]:
    """``[*, n, p]`` in the type of the scales, or int32 where there are none."""
    dtype = given.dtype(2) if given.has(2) else "int32"
    return [(dtype, product(given.shape(0), given.shape(1)))]


@types("FusedGemm", "QGemm", "GemmFloat8", domain=CONTRIB)
def gemm(given: Given) -> list[Typed]:
    """``[n, p]``; of integers in the type of the output's zero point, or floating point where it has no scale."""
    quantised = given.has(3) and len(given.values) > 5 and len(given.shape(3)) == 2
    a = turned(given.shape(0), 0, given.attr("transA", 0))
    b = turned(given.shape(3 if quantised else 1), 0, given.attr("transB", 0))
    dtype = given.dtype(0)
    if quantised:
        dtype = given.dtype(8) if given.has(8) else given.dtype(0) if given.has(7) else given.dtype(1)
    elif given.attr("dtype") is not None:
        from flopscope.frontends.onnx.dtypes import NAMES

        dtype = NAMES.get(given.attr("dtype"), dtype)
    return [(dtype, product(a, b))]


@types("MatMulNBits", "MatMulBnb4", domain=CONTRIB)
def few_bits(given: Given) -> list[Typed]:
    """``[*, N]`` from ``[*, K]``."""
    *rows, inner = given.shape(0)
    if given.attr("transB", 1) == 0:
        return [(given.dtype(0), (*rows, given.attr("K")))]
    if inner != given.attr("K"):
        raise InputError(f"an input of width {inner} meets a weight of K = {given.attr('K')} rows")
    return [(given.dtype(0), (*rows, given.attr("N")))]


@types("MatMulFpQ4", domain=CONTRIB)
def packed_product(given: Given) -> list[Typed]:
    """``[*, N]``: the shape of the packed weight is an input."""
    return [(given.dtype(0), product(given.shape(0), tuple(given.must_know(2))))]


@types("CDist", domain=CONTRIB)
def distances(given: Given) -> list[Typed]:
    """``[n, m]`` from ``[n, d]`` and ``[m, d]``."""
    return [(given.dtype(0), (given.shape(0)[0], given.shape(1)[0]))]


@types("DynamicQuantizeLSTM", domain=CONTRIB)
def quantised_lstm(given: Given) -> list[Typed]:
    """``[t, d, n, h], [d, n, h], [d, n, h]``."""
    steps, batch, _ = given.shape(0)
    directions, hidden, _ = given.shape(2)
    state: Typed = (given.dtype(0), (directions, batch, hidden))
    return [(given.dtype(0), (steps, directions, batch, hidden)), state, state]


@types("MoE", "QMoE", domain=CONTRIB)
def experts(given: Given) -> list[Typed]:
    """Like the input."""
    return [given.like(0)]


# -- convolutions and pools -----------------------------------------------------------------------------------------------------


def windows(given: Given, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
    """How many positions a window takes in each dimension (ONNX: Conv and the pools)."""
    dims = len(sizes)
    strides, dilations = given.attr("strides") or (1,) * dims, given.attr("dilations") or (1,) * dims
    pads, automatic = given.attr("pads") or (0,) * 2 * dims, given.attr("auto_pad", "NOTSET")
    found = []
    for i, size in enumerate(sizes):
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            found.append(-(-size // strides[i]))
            continue
        padded = size + (0 if automatic == "VALID" else pads[i] + pads[i + dims])
        room = padded - dilations[i] * (kernel[i] - 1) - 1
        found.append((-(-room // strides[i]) if given.attr("ceil_mode", 0) else room // strides[i]) + 1)
    return tuple(found)


@types("FusedConv", domain=CONTRIB)
def convolution(given: Given) -> list[Typed]:
    """``[n, o, *s']``."""
    batch, _, *sizes = given.shape(0)
    weight = given.shape(1)
    return [(given.dtype(0), (batch, weight[0], *windows(given, tuple(sizes), weight[2:])))]


@types("NhwcConv", "NhwcFusedConv", domain=CONTRIB)
def last_convolution(given: Given) -> list[Typed]:
    """``[n, *s', o]`` from ``[n, *s, c]``."""
    batch, *sizes, channels = given.shape(0)
    weight = given.shape(1)
    kernel = given.attr("kernel_shape") or (weight[1:-1] if kernel_last(channels, weight, given.attr("group", 1)) else weight[2:])
    return [(given.dtype(0), (batch, *windows(given, tuple(sizes), tuple(kernel)), weight[0]))]


@types("ConvTransposeWithDynamicPads", domain=CONTRIB)
def transposed(given: Given) -> list[Typed]:
    """``[n, o, *s']``: the padding is an input."""
    batch, _, *sizes = given.shape(0)
    weight, dims = given.shape(1), len(given.shape(0)) - 2
    pads = given.must_know(2) if given.has(2) else [0] * 2 * dims
    ones, zeros = (1,) * dims, (0,) * dims
    strides, dilations = given.attr("strides") or ones, given.attr("dilations") or ones
    more = given.attr("output_padding") or zeros
    found = [
        strides[i] * (size - 1) + more[i] + dilations[i] * (weight[2 + i] - 1) + 1 - pads[i] - pads[i + dims]
        for i, size in enumerate(sizes)
    ]
    return [(given.dtype(0), (batch, weight[1] * given.attr("group", 1), *found))]


@types("QLinearConv", domain=CONTRIB)
def quantised_convolution(given: Given) -> list[Typed]:
    """``[n, o, *s']``, or with channels last."""
    x, weight = given.shape(0), given.shape(3)
    last = given.attr("channels_last", 0)
    found = windows(given, x[1:-1] if last else x[2:], weight[2:])
    dtype = given.dtype(7) if given.has(7) else given.dtype(0)
    return [(dtype, (x[0], *found, weight[0]) if last else (x[0], weight[0], *found))]


@types("QLinearAveragePool", "NhwcMaxPool", "MaxpoolWithMask", domain=CONTRIB)
def pool(given: Given) -> list[Typed]:
    """``[n, c, *s']``, or with channels last."""
    x = given.shape(0)
    kernel = tuple(given.attr("kernel_shape"))
    last = given.attr("channels_last", 0) or len(given.values) == 1
    sizes = windows(given, x[1:-1] if last else x[2:], kernel)
    return [(given.dtype(0), (x[0], *sizes, x[-1]) if last else (*x[:2], *sizes))]


@types("QLinearGlobalAveragePool", domain=CONTRIB)
def global_pool(given: Given) -> list[Typed]:
    """``[n, c, 1, ..]``, or with channels last."""
    x = given.shape(0)
    ones = (1,) * (len(x) - 2)
    return [(given.dtype(0), (x[0], *ones, x[-1]) if given.attr("channels_last", 0) else (*x[:2], *ones))]


@types("EmbedLayerNormalization", "QEmbedLayerNormalization", domain=CONTRIB)
def embedded(given: Given) -> list[Typed]:
    """``[b, l, d], [b], [b, l, d]``."""
    ids, width = given.shape(0), given.shape(2)[-1]
    dtype = given.dtype(2) if given.dtype(2).startswith(("float", "bfloat")) else "float32"
    return [(dtype, (*ids, width)), ("int32", ids[:1]), (dtype, (*ids, width))]


@types("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=CONTRIB)
def skip_norm(given: Given) -> list[Typed]:
    """``[*, d]``, the statistics ``[*, 1]``, and the sum ``[*, d]``."""
    statistics: Typed = ("float32", (*given.shape(0)[:-1], 1))
    return [given.like(0), statistics, statistics, given.like(0)]
