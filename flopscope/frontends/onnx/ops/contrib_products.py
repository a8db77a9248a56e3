"""Products and convolutions of the contrib domain: fused with what follows, with channels last, on small integers, or routed to experts."""

from __future__ import annotations

from typing import Any

from flopscope.errors import InputError
from flopscope.frontends.onnx.ops.contractions import activated, convolution, general_product
from flopscope.frontends.onnx.ops.contrib_attention import biased, split
from flopscope.frontends.onnx.ops.dimensions import channels_first, kernel_last, turned
from flopscope.frontends.onnx.ops.quantized import SUMS, scaled_back, shifted
from flopscope.frontends.onnx.ops.table import CONTRIB, lowers
from flopscope.frontends.onnx.values import Call, Slot

ROUTED = "experts are counted as routed with the model's own k; which experts a token meets depends on data"


def permuted(call: Call, x: Slot, shape: tuple[int, ...], out: Slot | None = None) -> Slot:
    """The same elements with their dimensions in another order: a view."""
    if shape == x.shape and out is None:
        return x
    result = out if out is not None else call.between(shape, x.dtype)
    call.add("permute", result, view=True, input=x)
    return result


def finished(call: Call, sums: Slot, other: Slot | None, name: str) -> None:
    """What a fused op does after its product: an addition, and an activation."""
    if other is not None:
        total = call.between(sums.shape, sums.dtype) if name else call.out
        call.add("add", total, input=sums, other=other)
        sums = total
    if name:
        activated(call, name, sums)


@lowers("FusedConv", domain=CONTRIB)
def fused_conv(call: Call) -> None:
    """A convolution, perhaps an addition, and an activation."""
    name, other = call.attr("activation", ""), call.get(3)
    sums = call.out if not name and other is None else call.between(call.out.shape, call.out.dtype)
    convolution(call, call[0], call[1], call.get(2), sums)
    finished(call, sums, other, name)


@lowers("NhwcConv", "NhwcFusedConv", domain=CONTRIB)
def last_conv(call: Call) -> None:
    """The same with channels last, and perhaps those of the kernel too."""
    name, other, x, weight = call.attr("activation", ""), call.get(3), call[0], call[1]
    if kernel_last(x.shape[-1], weight.shape, call.attr("group", 1)):
        weight = permuted(call, weight, channels_first(weight.shape))
    sums = call.between(channels_first(call.out.shape), call.out.dtype)
    convolution(call, permuted(call, x, channels_first(x.shape)), weight, call.get(2), sums)
    whole = permuted(call, sums, call.out.shape, call.out if not name and other is None else call.between(call.out.shape, call.out.dtype))
    finished(call, whole, other, name)


@lowers("QLinearConv", domain=CONTRIB)
def quantised_conv(call: Call) -> None:
    """ONNX's QLinearConv, perhaps with channels last."""
    x, weight = shifted(call, call[0], call.get(2)), shifted(call, call[3], call.get(5))
    last = bool(call.attr("channels_last", 0))
    shape = channels_first(call.out.shape) if last else call.out.shape
    sums = call.between(shape, SUMS)
    convolution(call, permuted(call, x, channels_first(x.shape)) if last else x, weight, call.get(8), sums)
    scaled_back(call, permuted(call, sums, call.out.shape), call[6], call.get(7))


@lowers("ConvTransposeWithDynamicPads", domain=CONTRIB)
def conv_transpose(call: Call) -> None:
    """A transposed convolution whose padding is an input."""
    call.add("conv_transpose", call.out, input=call[0], weight=call[1], bias=call.get(3), groups=call.attr("group", 1))


@lowers("FusedMatMul", "TransposeMatMul", "FusedMatMulActivation", domain=CONTRIB)
def fused_matmul(call: Call) -> None:
    """``alpha A' B'``, each factor perhaps with its dimensions in another order, and an activation."""
    name = call.attr("activation", "")
    out = call.between(call.out.shape, call.out.dtype) if name else call.out
    a, b = (
        permuted(call, call[i], turned(call[i].shape, call.attr(f"transBatch{side}", 0), call.attr(f"trans{side}", 0)))
        for i, side in enumerate("AB")
    )
    call.add("matmul", out, a=a, b=b)
    finished(call, out, None, name)


@lowers("SparseToDenseMatMul", domain=CONTRIB)
def sparse_matmul(call: Call) -> None:
    """A product with a sparse factor: of stored elements, where their number is known; else as if all were stored."""
    if call[0].type.nonzero is None:
        call.notes.append("a sparse input is counted as if all of its elements were stored")
        call.add("matmul", call.out, a=call[0], b=call[1])
    else:
        call.add("sparse_matmul", call.out, a=call[0], b=call[1])


@lowers("FusedGemm", domain=CONTRIB)
def fused_gemm(call: Call) -> None:
    """A matrix product with a bias, and an activation."""
    name = call.attr("activation", "")
    total = call.between(call.out.shape, call.out.dtype) if name else call.out
    general_product(call, call[0], call[1], call.get(2), total)
    finished(call, total, None, name)


@lowers("GemmFloat8", domain=CONTRIB)
def gemm_float8(call: Call) -> None:
    """A matrix product of 8-bit floating-point numbers with a scale for each factor."""
    name = {"RELU": "Relu", "GELU": "Gelu"}.get(call.attr("activation", "NONE"), "")
    total = call.between(call.out.shape, call.out.dtype) if name else call.out
    general_product(call, call[0], call[1], call.get(2), total)
    finished(call, total, None, name)


@lowers("GemmFastGelu", domain=CONTRIB)
def gemm_gelu(call: Call) -> None:
    """``gelu(x W + b)`` with a tanh."""
    sums = call.between(call.out.shape, call.out.dtype)
    if call.get(2) is None:
        call.add("matmul", sums, a=call[0], b=call[1])
    else:
        call.add("addmm", sums, input=call[2], a=call[0], b=call[1])
    call.add("gelu", call.out, input=sums, approximate="tanh")


# -- weights of few bits ------------------------------------------------------------------------------------------------------


def few_bits(call: Call, weight: Slot, shape: tuple[int, int], dtype: str, bias: Slot | None, **scales: Slot | None) -> None:
    """``[*, N] = x [K, N]`` with packed weights, which are scaled to floating point on the way."""
    logical = call.between(shape, dtype)
    call.add("view", logical, view=True, input=weight)
    out = call.out if bias is None else call.between(call.out.shape, call.out.dtype)
    named: dict[str, Any] = {name: slot for name, slot in scales.items() if slot is not None}
    call.add("_weight_int4pack_mm", out, input=call[0], weight=logical, **named)
    if bias is not None:
        call.add("add", call.out, input=out, other=bias)


@lowers("MatMulNBits", domain=CONTRIB)
def matmul_bits(call: Call) -> None:
    """A weight of N rows and K columns in groups along K, each with a scale and perhaps a zero point, in `bits` bits."""
    shape, bits = (call.attr("N"), call.attr("K")), call.attr("bits", 4)
    if not 1 < bits <= 8:
        raise InputError(f"weights of {bits} bits: 2 to 8 are possible")
    few_bits(call, call[1], shape, f"uint{bits}", call.get(5), scales=call.get(2), zero_points=call.get(3), groups=call.get(4))


@lowers("MatMulBnb4", domain=CONTRIB)
def matmul_bnb(call: Call) -> None:
    """The same with 4-bit floating-point numbers (quant_type 0) or a table of 16 (1)."""
    dtype = "uint4" if call.attr("quant_type", 0) else "float4_e2m1fn"
    few_bits(call, call[1], (call.attr("N"), call.attr("K")), dtype, None, scales=call.get(2))


@lowers("MatMulFpQ4", domain=CONTRIB)
def matmul_fpq4(call: Call) -> None:
    """The same with 4-bit integers and their scales in one blob."""
    inner, columns = call[2].ints() or (call[0].shape[-1], call.out.shape[-1])
    few_bits(call, call[1], (columns, inner), "uint4", None)


# -- integers -----------------------------------------------------------------------------------------------------------------


def _scaled(call: Call, sums: Slot, scale: Slot, bias: Slot | None) -> None:
    """Sums of integer products in floating point: one product per element, and a bias."""
    out = call.out if bias is None else call.between(call.out.shape, call.out.dtype)
    call.add("mul", out, input=sums, other=scale)
    if bias is not None:
        call.add("add", call.out, input=out, other=bias)


@lowers("MatMulIntegerToFloat", domain=CONTRIB)
def integer_to_float(call: Call) -> None:
    """A product of integers in floating point."""
    sums = call.between(call.out.shape, SUMS)
    call.add("matmul", sums, a=shifted(call, call[0], call.get(4)), b=shifted(call, call[1], call.get(5)))
    _scaled(call, sums, call[3], call.get(6))


@lowers("DynamicQuantizeMatMul", domain=CONTRIB)
def dynamic_matmul(call: Call) -> None:
    """The same with an input that is quantised by its own range."""
    integers, sums = call.between(call[0].shape, "uint8"), call.between(call.out.shape, SUMS)
    call.add("quantize_per_tensor_dynamic", integers, input=call[0])
    call.add("matmul", sums, a=integers, b=shifted(call, call[1], call.get(3)))
    _scaled(call, sums, call[2], call.get(4))


@lowers("MatMulInteger16", domain=CONTRIB)
def integer_matmul(call: Call) -> None:
    """A product of 16-bit integers."""
    call.add("matmul", call.out, a=call[0], b=call[1])


@lowers("QGemm", domain=CONTRIB)
def quantised_gemm(call: Call) -> None:
    """``[n, p] = [n, m] [m, p] + C`` on integers, scaled back to small ones or to floating point."""
    a, b, scale = shifted(call, call[0], call.get(2)), shifted(call, call[3], call.get(5)), call.get(7)
    sums = call.between(call.out.shape, SUMS)
    general_product(call, a, b, call.get(6), sums)
    if scale is None:
        call.add("mul", call.out, input=sums, other=call[4])
    else:
        scaled_back(call, sums, scale, call.get(8))


@lowers("QOrderedMatMul", domain=CONTRIB)
def ordered_matmul(call: Call) -> None:
    """A product of int8 in the memory order of a GPU, scaled back; with a bias, or another operand that is added."""
    sums = call.between(call.out.shape, SUMS)
    call.add("matmul", sums, a=call[0], b=call[2])
    for extra in (call.get(5), call.get(6)):
        sums = biased(call, sums, extra)
    scaled_back(call, sums, call[4], None)


@lowers("DynamicQuantizeLSTM", domain=CONTRIB)
def quantised_lstm(call: Call) -> None:
    """An LSTM with 8-bit weights ``[d, i, 4h]`` and ``[d, h, 4h]`` and an input that is quantised by its own range."""
    x, bias = call[0], call.get(3)
    integers = call.between(x.shape, "uint8")
    call.add("quantize_per_tensor_dynamic", integers, input=x)
    matrices: list[Slot] = []
    for weight in (call[1], call[2]):
        directions, inner, gates = weight.shape
        parts = [call.between((gates, inner), weight.dtype) for _ in range(directions)]
        call.add("unbind", parts, view=True, input=weight)
        matrices += parts
    biases: list[Slot] = []
    if bias is not None:
        biases = [call.between((bias.shape[1] // 2,), bias.dtype) for _ in range(2 * bias.shape[0])]
        call.add("unbind", biases, view=True, input=bias)
    states = tuple(slot for slot in (call.get(5), call.get(6)) if slot is not None)
    call.add(
        "lstm", call.outputs, input=integers, hx=states or None, params=(*matrices, *biases), num_layers=1,
        bidirectional=call[1].shape[0] == 2,
    )  # fmt: skip


# -- experts ------------------------------------------------------------------------------------------------------------------


@lowers("MoE", "QMoE", domain=CONTRIB)
def experts(call: Call) -> None:
    """Every token meets k of E experts: two or three matrices each, an activation, and a weighted sum of what they give."""
    x, router, quantised, chosen = call[0], call[1], call.op == "QMoE", call.attr("k", 1)
    step = 3 if quantised else 2
    weights = [call.get(2 + step * i) for i in range(3)]
    biases = [call.get((4 if quantised else 3) + step * i) for i in range(3)]
    first, second, third = weights
    if first is None or second is None or len(first.shape) != 3:
        raise InputError("the weights of its experts are not [experts, .., ..]")
    count, hidden, rows = first.shape[0], x.shape[-1], x.type.elements // max(1, x.shape[-1])
    bits = call.attr("expert_weight_bits", 4) if quantised else None
    width = call.attr("activation_type", "relu")
    routed = _routed(call, x, router, count, rows, chosen, hidden)
    up = _expert(call, routed, first, biases[0], hidden, bits)
    inner = up.shape[-1]
    if width == "swiglu" and third is None:
        up = _gated(call, up, inner // 2)
    else:
        active = call.between(up.shape, up.dtype)
        call.add("silu" if width in ("silu", "swiglu") else width if width in ("relu", "gelu") else "alias", active, input=up)
        up = active
        if third is not None:
            gate, product = _expert(call, routed, third, biases[2], hidden, bits), call.between(up.shape, up.dtype)
            call.add("mul", product, input=up, other=gate)
            up = product
    down = _expert(call, up, second, biases[1], up.shape[-1], bits)
    _combined(call, down, rows, chosen)
    call.notes.append(ROUTED)


def _routed(call: Call, x: Slot, router: Slot, count: int, rows: int, chosen: int, hidden: int) -> Slot:
    """The rows of the chosen experts, k for each token."""
    chances = call.between((rows, count), x.dtype)
    call.add("softmax", chances, input=router)
    best, places = call.between((rows, chosen), x.dtype), call.between((rows, chosen), "int32")
    call.add("topk", (best, places), input=chances, k=chosen, dim=-1)
    routed = call.between((rows * chosen, hidden), x.dtype)
    call.add("index_select", routed, input=x, index=places, dim=0)
    return routed


def _expert(call: Call, x: Slot, weight: Slot, bias: Slot | None, inner: int, bits: int | None) -> Slot:
    """Rows that each meet the matrix of their expert, whatever the order of its dimensions and however it is packed."""
    packed = 1 if bits is None or weight.dtype not in ("uint8", "int8") else max(1, 8 // bits)
    columns = weight.type.elements * packed // max(1, weight.shape[0] * inner)
    if columns * weight.shape[0] * inner != weight.type.elements * packed:
        raise InputError(f"experts {list(weight.shape)} do not fit rows of {inner}")
    dtype = weight.dtype if bits is None else f"uint{bits}"
    matrices = call.between((weight.shape[0], inner, columns), dtype)
    call.add("view", matrices, view=True, input=weight)
    out = call.between((x.shape[0], columns), x.dtype)
    call.add("grouped_mm", out, a=x, b=matrices)
    return biased(call, out, bias)


def _gated(call: Call, x: Slot, width: int) -> Slot:
    """``silu(gate) * value`` of two halves."""
    gate, value = split(call, x, (width, width))
    active, result = call.between(gate.shape, x.dtype), call.between(gate.shape, x.dtype)
    call.add("silu", active, input=gate)
    call.add("mul", result, input=active, other=value)
    return result


def _combined(call: Call, rows: Slot, tokens: int, chosen: int) -> None:
    """The weighted sum of what the chosen experts gave."""
    weighted = call.between(rows.shape, rows.dtype)
    call.add("mul", weighted, input=rows)
    grouped = call.between((tokens, chosen, rows.shape[-1]), rows.dtype)
    call.add("view", grouped, view=True, input=weighted)
    call.add("sum", call.out, input=grouped)
