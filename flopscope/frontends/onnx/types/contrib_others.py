"""The types of the other contrib ops: elementwise ones, lookups, movement, transforms, and those of training."""

from __future__ import annotations

from flopscope.frontends.onnx.dtypes import NAMES
from flopscope.frontends.onnx.ops.table import CONTRIB, EXTENSIONS, QUANTISERS
from flopscope.frontends.onnx.types.contrib import broadcast
from flopscope.frontends.onnx.types.given import Given, bound_types, types
from flopscope.frontends.onnx.types.inference import Typed
from flopscope.graph import TensorType


@types(
    "RotaryEmbedding", "MRotaryEmbedding", "NGramRepeatBlock", "GroupNorm", "BiasAdd", "BiasSoftmax", "Inverse", "ReluGrad", "ScaledSiLU",
    "Trilu", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "DropoutGrad", "QOrderedGelu", "QOrderedLayerNormalization",
    "GeluGrad", "FastGeluGrad", "SigmoidGrad", "TanhGrad", domain=CONTRIB,
)  # fmt: skip
def like_first(given: Given) -> list[Typed]:
    """Like the first input."""
    return [given.like(0)]


@types("FastGelu", "Gelu", domain=EXTENSIONS)
def like_input(given: Given) -> list[Typed]:
    """Like the first input."""
    return [given.like(0)]


for _domain in QUANTISERS:

    @types("Quant", "IntQuant", "BipolarQuant", "Trunc", "FloatQuant", domain=_domain)
    def simulated(given: Given) -> list[Typed]:
        """Like the first input: the integers are numbers of its type."""
        return [given.like(0)]


@types("BiasDropout", domain=CONTRIB)
def dropped(given: Given) -> list[Typed]:
    """Like the first input, and a mask."""
    return [given.like(0), ("bool", given.shape(0))]


@types("BitmaskDropout", "BitmaskBiasDropout", domain=CONTRIB)
def packed_mask(given: Given) -> list[Typed]:
    """Like the first input, and a mask of one bit per element, in words of 32."""
    return [given.like(0), ("uint32", (-(-TensorType.of(given.shape(0)).elements // 32),))]


@types("SkipGroupNorm", domain=CONTRIB)
def skip_group_norm(given: Given) -> list[Typed]:
    """Like the first input, and the sum."""
    return [given.like(0), given.like(0)]


@types("BiasSplitGelu", domain=CONTRIB)
def split_gelu(given: Given) -> list[Typed]:
    """``[*, d]`` from ``[*, 2d]``."""
    *rows, width = given.shape(0)
    return [(given.dtype(0), (*rows, width // 2))]


@types("SwiGLU", domain=CONTRIB)
def swiglu(given: Given) -> list[Typed]:
    """``[*, d]`` from a gate and a value, or from both in one."""
    *rows, width = given.shape(0)
    return [(given.dtype(0), (*rows, width if given.has(1) else width // 2))]


@types("ComplexMul", "ComplexMulConj", "QLinearAdd", "QLinearMul", "MulInteger", domain=CONTRIB)
def two_operands(given: Given) -> list[Typed]:
    """The shape of both operands together; a quantised operand has its scale and zero point after it."""
    if len(given.values) > 4:
        return [(given.dtype(0), broadcast(given.shape(0), given.shape(3)))]
    second = 2 if len(given.values) > 2 else 1
    return [("int32" if second == 2 else given.dtype(0), broadcast(given.shape(0), given.shape(second)))]


@types("QLinearWhere", domain=CONTRIB)
def where(given: Given) -> list[Typed]:
    """The shape of all three operands together."""
    return [(given.dtype(1), broadcast(given.shape(0), given.shape(1), given.shape(4)))]


@types("QLinearConcat", domain=CONTRIB)
def concatenated(given: Given) -> list[Typed]:
    """The operands, each with a scale and a zero point, behind one another."""
    shapes = [given.shape(position) for position in range(2, len(given.values), 3)]
    axis = given.attr("axis", 0) % len(shapes[0])
    size = sum(shape[axis] for shape in shapes)
    return [(given.dtype(2), (*shapes[0][:axis], size, *shapes[0][axis + 1 :]))]


@types("QLinearReduceMean", "ReduceSumInteger", domain=CONTRIB)
def reduced(given: Given) -> list[Typed]:
    """Some dimensions are one, or gone."""
    shape, axes, keep = given.shape(0), given.attr("axes"), given.attr("keepdims", 1)
    gone = {axis % len(shape) for axis in (range(len(shape)) if axes is None else axes)}
    kept = tuple(1 if dim in gone else size for dim, size in enumerate(shape) if keep or dim not in gone)
    return [(given.dtype(0) if given.has(1) else "int32", kept)]


@types("QuantizeLinear", domain=CONTRIB)
def quantised(given: Given) -> list[Typed]:
    """The same shape in the type of the zero point."""
    return [(given.dtype(2) if given.has(2) else "uint8", given.shape(0))]


@types("DequantizeLinear", "DequantizeWithOrder", domain=CONTRIB)
def dequantised(given: Given) -> list[Typed]:
    """The same shape in the type of the scale."""
    return [(given.dtype(1), given.shape(0))]


@types("QuantizeWithOrder", domain=CONTRIB)
def ordered(given: Given) -> list[Typed]:
    """The same shape in int8."""
    return [("int8", given.shape(0))]


@types("QOrderedMatMul", domain=CONTRIB)
def ordered_product(given: Given) -> list[Typed]:
    """``[*, n, p]`` in int8."""
    return [("int8", (*given.shape(0)[:-1], given.shape(2)[-1]))]


# -- lookups and movement -----------------------------------------------------------------------------------------------------


def per_byte(bits: int) -> int:
    """How many numbers of so many bits lie in a byte."""
    return max(1, 8 // bits)


@types("GatherBlockQuantized", domain=CONTRIB)
def gathered_blocks(given: Given) -> list[Typed]:
    """``data[indices]`` in the type of the scales; bytes hold several numbers along the last dimension."""
    data, indices, axis = list(given.shape(0)), given.shape(1), given.attr("gather_axis", 0)
    if given.dtype(0) == "uint8":
        data[-1] *= per_byte(given.attr("bits", 4))
    axis %= len(data)
    return [(given.dtype(2), (*data[:axis], *indices, *data[axis + 1 :]))]


@types("TorchEmbedding", domain=CONTRIB)
def embedding(given: Given) -> list[Typed]:
    """``[*, d]``."""
    return [(given.dtype(0), (*given.shape(1), given.shape(0)[-1]))]


@types("GatherND", domain=CONTRIB)
def gathered(given: Given) -> list[Typed]:
    """``data[indices]``, where the last dimension of the indices names dimensions of the data."""
    data, indices = given.shape(0), given.shape(1)
    return [(given.dtype(0), (*indices[:-1], *data[indices[-1] :]))]


@types("ExpandDims", domain=CONTRIB)
def expanded(given: Given) -> list[Typed]:
    """One dimension more."""
    shape, axis = given.shape(0), given.must_know(1)[0]
    axis = axis if axis >= 0 else axis + len(shape) + 1
    return [(given.dtype(0), (*shape[:axis], 1, *shape[axis:]))]


@types("Pad", domain=CONTRIB)
def padded(given: Given) -> list[Typed]:
    """Every dimension with what is put before and behind it."""
    shape, pads = given.shape(0), given.must_know(1)
    return [(given.dtype(0), tuple(size + pads[i] + pads[i + len(shape)] for i, size in enumerate(shape)))]


@types("GridSample", domain=CONTRIB)
def sampled(given: Given) -> list[Typed]:
    """``[n, c, h', w']``."""
    return [(given.dtype(0), (*given.shape(0)[:2], *given.shape(1)[1:-1]))]


@types("CropAndResize", domain=CONTRIB)
def cropped(given: Given) -> list[Typed]:
    """``[r, c, h', w']``."""
    return [(given.dtype(0), (given.shape(1)[0], given.shape(0)[1], *given.must_know(3)))]


@types("RestorePadding", domain=CONTRIB)
def restored(given: Given) -> list[Typed]:
    """``[b, l, d]``."""
    return [(given.dtype(0), (*given.shape(1), given.shape(0)[-1]))]


@bound_types("RemovePadding", domain=CONTRIB)
def removed(given: Given) -> list[Typed]:
    """``[b*l, d], [b, l], [b+1], [1]``, as if there were no padding."""
    batch, length, width = given.shape(0)
    return [(given.dtype(0), (batch * length, width)), ("int32", (batch, length)), ("int32", (batch + 1,)), ("int32", (1,))]


@bound_types("Unique", domain=CONTRIB)
def unique(given: Given) -> list[Typed]:
    """As if all elements were different."""
    (count,) = given.shape(0)
    return [(given.dtype(0), (count,)), ("int64", (count,)), ("int64", (count,))]


@types("Rfft", domain=CONTRIB)
def real_transform(given: Given) -> list[Typed]:
    """``[.., n/2 + 1, 2]`` where one side is kept, else ``[.., n, 2]``."""
    *rest, points = given.shape(0)
    return [(given.dtype(0), (*rest, points // 2 + 1 if given.attr("onesided", 1) else points, 2))]


@types("Irfft", domain=CONTRIB)
def inverse_transform(given: Given) -> list[Typed]:
    """``[.., n]`` from ``[.., n/2 + 1, 2]`` where one side was kept."""
    *rest, points, _ = given.shape(0)
    return [(given.dtype(0), (*rest, 2 * (points - 1) if given.attr("onesided", 1) else points))]


@types("BeamSearch", "WhisperBeamSearch", "GreedySearch", "Sampling", domain=CONTRIB)
def searched(given: Given) -> list[Typed]:
    """``[b, n]`` or ``[b, sequences, n]`` tokens of the greatest length."""
    batch, length = given.shape(0)[0], given.must_know(1)[0]
    many = given.ints(4) if given.has(3) and len(given.values) > 4 and given.attr("early_stopping") is not None else None
    return [("int32", (batch, *many[:1], length) if many else (batch, length))]


@types("IsAllFinite", domain=CONTRIB)
def all_finite(_: Given) -> list[Typed]:
    """One truth."""
    return [("bool", ())]


# -- training -----------------------------------------------------------------------------------------------------------------


@types("SoftmaxCrossEntropyLossInternal", domain=CONTRIB)
def loss(given: Given) -> list[Typed]:
    """A number, or one per label; and the logarithms of the probabilities."""
    each = given.attr("reduction", "mean") == "none"
    dtype = NAMES.get(given.attr("output_type", 0) or -1, given.dtype(0))
    return [(dtype, given.shape(1) if each else ()), (dtype, given.shape(0))]


@types(
    "SoftmaxCrossEntropyLossGrad", "SoftmaxCrossEntropyLossInternalGrad", "SoftmaxGrad_13", "SoftmaxGrad", "LogSoftmaxGrad", domain=CONTRIB
)
def like_second(given: Given) -> list[Typed]:
    """Like the second input."""
    return [given.like(1)]


@types("InPlaceAccumulatorV2", domain=CONTRIB)
def accumulated(given: Given) -> list[Typed]:
    """Whether it was updated, and the sum."""
    return [("bool", (1,)), given.like(0)]


@types("AdamWOptimizer", "SGDOptimizerV2", domain=CONTRIB)
def optimised(_: Given) -> list[Typed]:
    """Whether it was updated."""
    return [("bool", (1,))]
