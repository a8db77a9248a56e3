"""The other contrib ops: normalisations and activations with what is added before, ops on small integers, lookups and transforms."""

from __future__ import annotations

from typing import Any

from flopscope.errors import InputError
from flopscope.frontends.onnx.ops.contrib_attention import biased
from flopscope.frontends.onnx.ops.layers import rms_norm
from flopscope.frontends.onnx.ops.movement import gather, gather_elements
from flopscope.frontends.onnx.ops.quantized import dequantize, quantize
from flopscope.frontends.onnx.ops.table import CONTRIB, EXTENSIONS, QUANTISERS, lowers, plain
from flopscope.frontends.onnx.values import Call, Slot

plain(
    {
        "QuickGelu": "silu", "ScaledSiLU": "silu", "IsAllFinite": "isfinite", "Trilu": "tril", "Pad": "pad", "Inverse": "linalg_inv",
        "ReduceSumInteger": "sum", "MulInteger": "mul",
    },
    CONTRIB,
)  # fmt: skip
lowers("SimplifiedLayerNormalization", domain=CONTRIB)(rms_norm)
lowers("QuantizeLinear", "QuantizeWithOrder", domain=CONTRIB)(quantize)
lowers("DequantizeLinear", "DequantizeWithOrder", domain=CONTRIB)(dequantize)
lowers("GatherND", domain=CONTRIB)(gather_elements)


# -- what is added first ------------------------------------------------------------------------------------------------------


@lowers("Gelu", "FastGelu", "BiasGelu", domain=CONTRIB)
@lowers("Gelu", "FastGelu", domain=EXTENSIONS)
def biased_gelu(call: Call) -> None:
    """``z = gelu(x + b)``."""
    x = biased(call, call[0], call.get(1))
    call.add("gelu", call.out, input=x, approximate="tanh" if call.op == "FastGelu" else "none")


@lowers("BiasSplitGelu", domain=CONTRIB)
def split_gelu(call: Call) -> None:
    """``value * gelu(gate)`` of the halves of ``x + b``."""
    x = biased(call, call[0], call[1])
    value, gate, active = (call.between(call.out.shape, x.dtype) for _ in range(3))
    call.add("split", (value, gate), view=True, input=x)
    call.add("gelu", active, input=gate)
    call.add("mul", call.out, input=value, other=active)


@lowers("SwiGLU", domain=CONTRIB)
def swiglu(call: Call) -> None:
    """``silu(gate) * value``."""
    gate, value = call[0], call.get(1)
    if value is None:
        gate, value = call.between(call.out.shape, gate.dtype), call.between(call.out.shape, gate.dtype)
        call.add("split", (gate, value), view=True, input=call[0])
    active = call.between(call.out.shape, gate.dtype)
    call.add("silu", active, input=gate)
    call.add("mul", call.out, input=active, other=value)


@lowers("BiasAdd", domain=CONTRIB)
def bias_add(call: Call) -> None:
    """``x + b + skip``."""
    call.add("add", call.out, input=biased(call, call[0], call[1]), other=call[2])


@lowers("BiasSoftmax", domain=CONTRIB)
def bias_softmax(call: Call) -> None:
    """``softmax(x + b)``."""
    call.add("softmax", call.out, input=biased(call, call[0], call[1]))


@lowers("BiasDropout", "BitmaskBiasDropout", domain=CONTRIB)
def bias_dropout(call: Call) -> None:
    """``dropout(x + b) + residual``."""
    x, residual, mode = biased(call, call[0], call[1]), call.get(2), call.get(4)
    mask = call.outputs[1] if len(call.outputs) > 1 else None
    out = call.out if residual is None else call.between(call.out.shape, call.out.dtype)
    _drop(call, x, out, mask, mode)
    if residual is not None:
        call.add("add", call.out, input=out, other=residual)


@lowers("BitmaskDropout", domain=CONTRIB)
def bitmask_dropout(call: Call) -> None:
    """A dropout whose mask takes one bit per element."""
    _drop(call, call[0], call.out, call.outputs[1] if len(call.outputs) > 1 else None, call.get(2))


def _drop(call: Call, x: Slot, out: Slot, mask: Slot | None, mode: Slot | None) -> None:
    train = mode is not None and mode.data is not None and bool(mode.data.any())
    call.add("dropout", (out, mask), view=not train, input=x, train=train)


# -- normalisations -----------------------------------------------------------------------------------------------------------


@lowers("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=CONTRIB)
def skip_norm(call: Call) -> None:
    """``y = norm(x + skip + bias?)``; the fourth output is the sum."""
    simplified = call.op.startswith("SkipSimplified")
    x, weight = call[0], call[2]
    bias, more = (None, call.get(3)) if simplified else (call.get(3), call.get(4))
    total = _sum(call, [x, call[1], *([more] if more is not None else [])], call.outputs[3] if len(call.outputs) > 3 else None)
    outs = [slot for slot in call.outputs[:3] if slot is not None]
    if simplified:
        call.add("rms_norm", outs, input=total, normalized_shape=(x.shape[-1],), weight=weight)
    else:
        call.add("layer_norm", outs, input=total, normalized_shape=(x.shape[-1],), weight=weight, bias=bias)


def _sum(call: Call, operands: list[Slot], asked: Slot | None) -> Slot:
    """The sum of some values, which may be an output of the call."""
    total = operands[0]
    for position, operand in enumerate(operands[1:], 2):
        result = asked if asked is not None and position == len(operands) else call.between(operands[0].shape, operands[0].dtype)
        call.add("add", result, input=total, other=operand)
        total = result
    return total


@lowers("GroupNorm", "SkipGroupNorm", domain=CONTRIB)
def group_norm(call: Call) -> None:
    """A group norm with channels last, of a sum where there is one to be made, and perhaps an activation."""
    x = call[0]
    if call.op == "SkipGroupNorm":
        extras = [slot for slot in (call.get(4), call[3]) if slot is not None]
        x = _sum(call, [x, *extras], call.outputs[1] if len(call.outputs) > 1 else None)
    out = call.between(call.out.shape, call.out.dtype) if call.attr("activation", 0) else call.out
    call.add("group_norm", out, input=x, num_groups=call.attr("groups", 1), weight=call[1], bias=call[2])
    if call.attr("activation", 0):
        call.add("silu", call.out, input=out)


@lowers("EmbedLayerNormalization", "QEmbedLayerNormalization", domain=CONTRIB)
def embed_norm(call: Call) -> None:
    """Word, position and segment embeddings are looked up, added and normalised; a mask is summed to lengths."""
    out = call.outputs[0]
    if out is None:
        raise InputError("its first output has no name")
    asked = call.outputs[2] if len(call.outputs) > 2 else None
    tables = [(call[0], call[2]), (call.get(8) if call.op[0] == "E" else None, call[3])]
    if call.get(4) is not None and call.get(1) is not None:
        tables.append((call[1], call[4]))
    rows = [_looked_up(call, table, indices, out) for indices, table in tables]
    total = _sum(call, rows, asked)
    call.add("layer_norm", out, input=total, normalized_shape=(out.shape[-1],), weight=call[5], bias=call[6])
    lengths, mask = call.outputs[1] if len(call.outputs) > 1 else None, call.get(7)
    if lengths is not None:
        if mask is None:
            call.add("full", lengths)
        else:
            call.add("sum", lengths, input=mask)


def _looked_up(call: Call, table: Slot, indices: Slot | None, out: Slot) -> Slot:
    """Rows of a table, in floating point."""
    rows = call.between(out.shape, table.dtype)
    call.add("embedding", rows, weight=table, indices=indices)
    if table.dtype == out.dtype:
        return rows
    result = call.between(out.shape, out.dtype)
    call.add("dequantize", result, input=rows)
    return result


# -- small integers -----------------------------------------------------------------------------------------------------------


def real(call: Call, x: Slot, scale: Slot | None, zero_point: Slot | None) -> Slot:
    """A quantised operand in floating point."""
    result = call.between(x.shape, scale.dtype if scale is not None else "float32")
    call.add("dequantize", result, input=x, scale=scale, zero_point=zero_point)
    return result


def small(call: Call, x: Slot, scale: Slot | None, zero_point: Slot | None) -> None:
    """A result in floating point as small integers."""
    call.add("quantize_per_tensor", call.out, input=x, scale=scale, zero_point=zero_point)


@lowers("QLinearAdd", "QLinearMul", domain=CONTRIB)
def quantised_arithmetic(call: Call) -> None:
    """Both operands are dequantised, combined and quantised."""
    a, b = real(call, call[0], call[1], call.get(2)), real(call, call[3], call[4], call.get(5))
    result = call.between(call.out.shape, a.dtype)
    call.add("add" if call.op == "QLinearAdd" else "mul", result, input=a, other=b)
    small(call, result, call[6], call.get(7))


_UNARY = {
    "QLinearSigmoid": "sigmoid", "QLinearLeakyRelu": "leaky_relu", "QLinearSoftmax": "softmax", "QLinearReduceMean": "mean",
    "QOrderedGelu": "gelu",
}  # fmt: skip


@lowers(*_UNARY, domain=CONTRIB)
def quantised_function(call: Call) -> None:
    """An operand is dequantised, the function computed, and the result quantised."""
    ordered = call.op.startswith("QOrdered")
    x = real(call, call[0], call[1], None if ordered else call.get(2))
    result = call.between(call.out.shape, x.dtype)
    call.add(_UNARY[call.op], result, input=x)
    small(call, result, call[2 if ordered else 3], None if ordered else call.get(4))


@lowers("QOrderedLayerNormalization", domain=CONTRIB)
def ordered_norm(call: Call) -> None:
    """A layer norm between small integers."""
    x = real(call, call[0], call[1], None)
    result = call.between(call.out.shape, x.dtype)
    call.add("layer_norm", result, input=x, normalized_shape=(x.shape[-1],), weight=call[2], bias=call.get(3))
    small(call, result, call[4], None)


@lowers("QLinearConcat", domain=CONTRIB)
def quantised_concat(call: Call) -> None:
    """Operands, each with a scale and a zero point, are brought to one scale."""
    parts = [real(call, call[position], call[position + 1], call.get(position + 2)) for position in range(2, len(call.inputs), 3)]
    whole = call.between(call.out.shape, parts[0].dtype)
    call.add("cat", whole, tensors=tuple(parts))
    small(call, whole, call[0], call.get(1))


@lowers("QLinearWhere", domain=CONTRIB)
def quantised_where(call: Call) -> None:
    """``condition ? x : y`` in one scale."""
    x, y = real(call, call[1], call[2], call.get(3)), real(call, call[4], call[5], call.get(6))
    result = call.between(call.out.shape, x.dtype)
    call.add("where", result, input=call[0], x=x, other=y)
    small(call, result, call[7], call.get(8))


@lowers("QLinearAveragePool", "QLinearGlobalAveragePool", domain=CONTRIB)
def quantised_pool(call: Call) -> None:
    """Sums of integers are divided and scaled back."""
    x, last = call[0], call.attr("channels_last", 0)
    sizes = x.shape[1:-1] if last else x.shape[2:]
    sums = call.between(call.out.shape, "int32")
    call.add("avg_pool", sums, input=x, kernel_size=tuple(call.attr("kernel_shape") or sizes))
    small(call, sums, call[3], call.get(4))


@lowers("NhwcMaxPool", "MaxpoolWithMask", domain=CONTRIB)
def max_pool(call: Call) -> None:
    """The greatest of a window."""
    call.add("max_pool", call.out, input=call[0], kernel_size=tuple(call.attr("kernel_shape", ())))


def _simulated(call: Call) -> None:
    """Numbers are rounded as if they were integers of so many bits: one for a sign alone, else as an input says."""
    width = call.get(2 if call.op == "Trunc" else 3)
    if call.op == "Trunc":
        width = call.get(4) or width
    said = width.ints() if width is not None and call.op != "FloatQuant" else None
    bits = 1 if call.op == "BipolarQuant" else said[0] if said else None
    call.add(
        "fake_quantize_per_tensor_affine", call.out, input=call[0], scale=call.get(1), zero_point=call.get(2), bits=bits,
        signed=bool(call.attr("signed", 1)),
    )  # fmt: skip


for _domain in QUANTISERS:
    lowers("Quant", "IntQuant", "BipolarQuant", "Trunc", "FloatQuant", domain=_domain)(_simulated)


# -- lookups, movement and transforms -----------------------------------------------------------------------------------------


@lowers("GatherBlockQuantized", domain=CONTRIB)
def gather_blocks(call: Call) -> None:
    """Rows of a table of few bits, in floating point."""
    data, bits = call[0], call.attr("bits", 4)
    dtype = data.dtype if data.dtype != "uint8" else f"uint{bits}"
    shape = data.shape if data.dtype != "uint8" else (*data.shape[:-1], data.shape[-1] * max(1, 8 // bits))
    table, rows = call.between(shape, dtype), call.between(call.out.shape, dtype)
    call.add("view", table, view=True, input=data)
    call.add("embedding", rows, weight=table, indices=call[1])
    call.add("dequantize", call.out, input=rows)


@lowers("TorchEmbedding", domain=CONTRIB)
def embedding(call: Call) -> None:
    """Rows of a table."""
    inner = Call(call.domain, "Gather", call.opset, {}, call.inputs, call.outputs, call.pieces)
    gather(inner)


@lowers("ExpandDims", domain=CONTRIB)
def expand_dims(call: Call) -> None:
    """The same elements under another shape."""
    call.add("view", call.out, view=True, input=call[0])


@lowers("RemovePadding", "RestorePadding", domain=CONTRIB)
def padding(call: Call) -> None:
    """Tokens are moved together, or apart."""
    call.add("index_select", call.outputs, input=call[0], index=call[1], dim=0)


@lowers("Unique", domain=CONTRIB)
def unique(call: Call) -> None:
    """The different elements."""
    call.add("_unique2", call.outputs, input=call[0])


@lowers("CropAndResize", domain=CONTRIB)
def crop(call: Call) -> None:
    """Regions of an image in one size, by linear interpolation or by the nearest element."""
    kind = "upsample_nearest" if call.attr("mode", "bilinear") == "nearest" else "upsample_linear"
    call.add(kind, call.out, input=call[0], rois=call[1], batch_indices=call[2])


@lowers("GridSample", domain=CONTRIB)
def grid_sample(call: Call) -> None:
    """``[n, c, h', w'] = GridSample([n, c, h, w], [n, h', w', 2])``."""
    modes = {"bilinear": 0, "nearest": 1, "bicubic": 2}
    call.add("grid_sampler", call.out, input=call[0], grid=call[1], interpolation_mode=modes.get(call.attr("mode", "bilinear"), 0))


@lowers("CDist", domain=CONTRIB)
def distances(call: Call) -> None:
    """``[n, m]`` distances of rows."""
    call.add("cdist", call.out, x1=call[0], x2=call[1], p=2.0)


@lowers("ComplexMul", "ComplexMulConj", domain=CONTRIB)
def complex_product(call: Call) -> None:
    """Products of complex numbers ``[*, 2]``: four products and two additions each, so three operations per real number."""
    direct, crossed = (call.between(call.out.shape, call.out.dtype) for _ in range(2))
    call.add("mul", direct, input=call[0], other=call[1])
    call.add("mul", crossed, input=call[0], other=call[1])
    call.add("add", call.out, input=direct, other=crossed)


_COMPLEX_OF = {"float32": "complex64", "float64": "complex128", "float16": "complex32"}


@lowers("Rfft", "Irfft", domain=CONTRIB)
def transform(call: Call) -> None:
    """A Fourier transform of real numbers over the last dimensions, or back; complex numbers are pairs."""
    x, dims = call[0], call.attr("signal_ndim", 1)
    if not 1 <= dims <= len(x.shape):
        raise InputError(f"signal_ndim is {dims}, where an input of {len(x.shape)} dimensions allows 1 to {len(x.shape)}")
    over = tuple(range(-dims, 0))
    if call.op == "Rfft":
        spectrum = call.between(call.out.shape[:-1], _COMPLEX_OF.get(x.dtype, "complex64"))
        call.add("fft_rfftn", spectrum, input=x, dim=over)
        call.add("view_as_real", call.out, view=True, input=spectrum)
        return
    spectrum = call.between(x.shape[:-1], _COMPLEX_OF.get(x.dtype, "complex64"))
    call.add("view_as_complex", spectrum, view=True, input=x)
    call.add("fft_irfftn", call.out, input=spectrum, dim=over)


_STEPS = "it runs a whole model again and again, as many steps as the tokens that it makes, whose number is data"
_UNPRICED = {
    "GreedySearch": _STEPS, "BeamSearch": _STEPS, "WhisperBeamSearch": _STEPS, "Sampling": _STEPS,
    "NGramRepeatBlock": "how many sequences of tokens it compares depends on the tokens",
}  # fmt: skip


@lowers(*_UNPRICED, domain=CONTRIB)
def unpriced(call: Call) -> None:
    """An op whose work is data: no rule has its kind, so it is listed as not counted."""
    read: dict[str, Any] = {f"input{i}": slot for i, slot in enumerate(call.inputs) if slot is not None}
    call.add(f"{CONTRIB}::{call.op}", call.outputs, **read)
    call.notes.append(f"{call.op} is not counted: {_UNPRICED[call.op]}")
