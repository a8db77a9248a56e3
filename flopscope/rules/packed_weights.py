"""Products with weights in a layout or a width of a backend's own, and the packing itself.

The shape of a packed weight may say little; the shapes of the input and of the output say all that a product needs.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Packed, Signature, TensorType
from flopscope.rules.quantization import DEQUANTIZE, QUANTIZE, SOURCE
from flopscope.rules.registry import count, expect, rule
from flopscope.rules.sizes import quotient

_PRODUCT = "Golub & Van Loan, Matrix Computations, section 1.1"
_CONVOLUTION = "Sze et al. 2017, arXiv:1703.09039, eq. 1"


def _fused(op: Signature) -> int:
    """Operations per output element of the ops that are fused after a product: one each."""
    names = ("attr", "binary_attr", "unary_attr", "post_op_name", "binary_post_op", "unary_post_op", "activation")
    return sum(op.get(name, "none") not in ("none", "", None) for name in names)


def _biased(op: Signature) -> bool:
    return any(op.get(name) is not None for name in ("bias", "B"))


def _input(op: Signature) -> str:
    return next(name for name in ("input", "inp", "self", "X", "x", "qx") if name in op.arguments)


@rule(
    "mkldnn_linear", "_mixed_dtypes_linear", "fbgemm_linear_fp16_weight", "fbgemm_linear_fp16_weight_fp32_activation", "mkl::_mkl_linear",
    "mkldnn::_linear_pointwise", "onednn::linear_dynamic_fp16", "onednn::linear_relu_dynamic_fp16", "quantized::linear_dynamic_fp16_unpacked_weight",
    "_quantized::wrapped_fbgemm_linear_fp16_weight",
    flops="2 per MAC; per output element 1 for the bias, 1 for each fused op", source=_PRODUCT,
)  # fmt: skip
def linear(op: Signature) -> Cost:
    """``[*, o] = linear([*, i], packed)``."""
    out = op.output.elements
    fused = _fused(op) + ("relu" in op.target)
    return count(op, macs=out * op[_input(op)].shape[-1], other=(fused + _biased(op)) * out)


@rule(
    "fbgemm_linear_int8_weight", "fbgemm_linear_int8_weight_fp32_activation", "_wrapped_quantized_linear_prepacked",
    "_quantized::_wrapped_quantized_linear_prepacked", "_quantized::wrapped_quantized_linear", "onednn::qlinear_pointwise",
    flops="2 per MAC; per output element 1 for the bias, 1 for each fused op, 5 to scale back", source=f"{SOURCE}; {_PRODUCT}",
)  # fmt: skip
def int8_linear(op: Signature) -> Cost:
    """``[*, o] = linear([*, i], packed)`` on 8-bit integers."""
    out = op.output.elements
    return count(op, macs=out * op[_input(op)].shape[-1], other=(_fused(op) + _biased(op) + QUANTIZE) * out)


@rule(
    "_weight_int4pack_mm", "_weight_int4pack_mm_for_cpu", "_weight_int4pack_mm_with_scales_and_zeros", "_dyn_quant_matmul_4bit",
    "quantized::int4mm_packed_weight_cpu",
    flops="2 per MAC; 2 per weight to dequantise it", source=f"Frantar et al. 2022, arXiv:2210.17323, section 3; {SOURCE}",
)  # fmt: skip
def int4_linear(op: Signature) -> Cost:
    """``[n, o] = mm([n, i], packed 4-bit [o, i], group, scales and zeros)``."""
    width, out = op[_input(op)].shape[-1], op.output
    return count(op, macs=out.elements * width, other=DEQUANTIZE * width * out.shape[-1])


@rule("_weight_int8pack_mm", flops="2 per MAC; 1 per output element for the scale of its column", source=SOURCE)
def int8_weight_linear(op: Signature) -> Cost:
    """``[n, o] = mm([n, i], [o, i], [o])``: floating point times 8-bit weights."""
    return count(op, macs=op.output.elements * op["self"].shape[-1], other=op.output.elements)


@rule(
    "_sparse_semi_structured_linear", "_sparse_semi_structured_mm", "_sparse_semi_structured_addmm", "_cslt_sparse_mm",
    flops="2 per MAC of the elements that are kept, half of all; 1 per output element for a bias or an addition, 1 for an activation",
    source="Mishra et al. 2021, arXiv:2104.08378, section 3",
)  # fmt: skip
def half_sparse(op: Signature) -> Cost:
    """``[n, o] = mm([n, i], 2:4 sparse [o, i])``: two of four weights are kept, so a compressed row has i/2 elements."""
    if op.kind == "_cslt_sparse_mm":
        inner = quotient(op["dense_B"].shape[0], 2)
    else:
        inner = op["weight" if op.kind.endswith("linear") else "mat1"].shape[-1]
    added = _biased(op) or op.kind.endswith("addmm")
    return count(op, macs=op.output.elements * inner, other=(added + _fused(op)) * op.output.elements)


@rule(
    "mkldnn::_convolution_pointwise", "cudnn_convolution_relu", "cudnn_convolution_add_relu", "miopen_convolution_relu",
    "miopen_convolution_add_relu", "onednn::qconv_pointwise", "onednn::qconv1d_pointwise", "onednn::qconv2d_pointwise", "onednn::qconv3d_pointwise",
    flops="2 per MAC; per output element 1 for the bias, 1 for each fused op (a scaled addition 2), 5 to scale back where it is quantised", source=_CONVOLUTION,
)  # fmt: skip
def fused_convolution(op: Signature) -> Cost:
    """``[n, o, *s'] = conv([n, c, *s], packed o * c/g * k)``."""
    weight = next(op[name] for name in ("weight", "W", "qw") if name in op.arguments)
    out = op.output
    after = _fused(op) + ("relu" in op.target) + 2 * ("add" in op.target) + (QUANTIZE if "onednn" in op.target else 0)
    return count(op, macs=quotient(out.elements, out.shape[1]) * weight.elements, other=(after + _biased(op)) * out.elements)


@rule(
    "mkldnn::_convolution_transpose_pointwise",
    flops="2 per MAC; per output element 1 for the bias, 1 for each fused op", source="Dumoulin & Visin 2016, arXiv:1603.07285, section 4",
)  # fmt: skip
def fused_transpose(op: Signature) -> Cost:
    """``[n, o, *s'] = conv_transpose([n, c, *s], packed c * o/g * k)``."""
    x, out = op["X"], op.output.elements
    return count(op, macs=quotient(x.elements, x.shape[1]) * op["W"].elements, other=(_fused(op) + _biased(op)) * out)


@rule("mkldnn_prepacked::conv2d_run", flops="2 per MAC, 1 per output element for the bias", source=_CONVOLUTION)
def packed_convolution(op: Signature) -> Cost | None:
    """``[n, o, h, w] = conv([n, c, h, w], packed)``."""
    packed = op.get("W_prepack")
    if not isinstance(packed, Packed):
        return None
    out = op.output.elements
    return count(op, macs=out * packed.weight.elements // packed.weight.shape[0], other=out if packed.bias is not None else 0)


@rule("inductor::_mm_plus_mm", flops="2 per MAC, 1 per output element for the addition", source=_PRODUCT)
def mm_plus_mm(op: Signature) -> Cost:
    """``[n, p] = [n, m] [m, p] + [n, m'] [m', p]``."""
    a, b, c, d = (op[name] for name in "abcd")
    expect(a.shape[-1] == b.shape[-2] and c.shape[-1] == d.shape[-2], "[n, p] = [n, m] [m, p] + [n, m'] [m', p]")
    return count(op, macs=a.elements * b.shape[-1] + c.elements * d.shape[-1], other=op.output.elements)


# -- lookups in packed tables -----------------------------------------------------------------------------------------------


@rule(
    *(f"quantized::embedding_bag_{width}_rowwise_offsets" for width in ("byte", "4bit", "2bit")), "quantized::embedding_bag_byte",
    "quantized::embedding_bag_4bit", "quantized::embedding_byte", "quantized::embedding_4bit",
    flops="2 per looked-up element to dequantise it; in a bag 1 for the sum, 1 for a weight", source=f"{SOURCE}; PyTorch documentation of torch.nn.EmbeddingBag",
)  # fmt: skip
def embedding(op: Signature) -> Cost:
    """``[b, d] = embedding_bag(packed [v, d], [l], offsets)``."""
    indices, out = op["indices"], op.output
    looked_up = indices.elements * out.shape[-1]
    in_bag = ("bag" in op.target) * (1 + (op.get("per_sample_weights") is not None))
    weight = op.get("weight")
    table = weight.weight if isinstance(weight, Packed) else weight
    others = [(type.elements, type) for type in op.read if type is not table]
    reads = [(looked_up, table), *others] if isinstance(table, TensorType) else others
    return count(op, other=(DEQUANTIZE + in_bag) * looked_up, reads=reads)


@rule(
    *(f"quantized::embedding_bag_{width}_prepack{after}" for width in ("byte", "4bit", "2bit") for after in ("", "_with_rowwise_min_max")),
    flops="5 per element to quantise it, 2 for the range of its row where that is not given",
    source=SOURCE,
)
def quantize_rows(op: Signature) -> Cost:
    """``packed = prepack([v, d])``."""
    return count(op, other=(QUANTIZE + (0 if op.target.endswith("max") else 2)) * op.inputs[0].elements)


@rule(
    *(f"quantized::embedding_bag_{width}_unpack" for width in ("byte", "4bit", "2bit")),
    flops="2 per element to dequantise it",
    source=SOURCE,
)
def dequantize_rows(op: Signature) -> Cost:
    """``[v, d] = unpack(packed)``."""
    return count(op, other=DEQUANTIZE * op.output.elements)


# -- packing ----------------------------------------------------------------------------------------------------------------

_LAYERS = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "conv", "embedding_bag")


@rule(
    *(f"quantized::{layer}_{way}" for layer in _LAYERS for way in ("prepack", "unpack") ),
    "quantized::linear_prepack_fp16", "quantized::linear_prepack_fp16_legacy", "quantized::linear_prepack_legacy", "quantized::linear_unpack_fp16",
    *(f"_quantized::{layer}_prepack" for layer in ("linear", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")),
    "_quantized::linear_prepack_fp16", "_quantized::linear_prepack_fp16_legacy", "_quantized::linear_prepack_legacy",
    "_quantized::_wrapped_linear_prepack", "_wrapped_linear_prepack", "_quantized::wrapped_fbgemm_pack_gemm_matrix_fp16",
    "sparse::qlinear_prepack", "sparse::qlinear_unpack", "onednn::linear_prepack_fp16", "onednn::qconv_prepack", "onednn::qlinear_prepack",
    "mkldnn_prepacked::conv2d_prepack", "mkldnn::_reorder_convolution_weight", "mkldnn::_reorder_convolution_transpose_weight",
    "mkldnn::_reorder_linear_weight", "mkldnn::_reorder_mkldnn_rnn_layer_weight", "mkl::_mkl_reorder_linear_weight",
    "fbgemm_pack_gemm_matrix_fp16", "fbgemm_pack_quantized_matrix", "_convert_weight_to_int4pack", "_convert_weight_to_int4pack_for_cpu",
    "_dyn_quant_pack_4bit_weight", "mkldnn_reorder_conv2d_weight", "mkldnn_reorder_conv3d_weight", "to_mkldnn", "_mkldnn_reshape",
    "_mkldnn_transpose", "_cudnn_rnn_flatten_weight", "_cslt_compress", "_to_sparse_semi_structured", "_sparse_semi_structured_apply",
    "_sparse_semi_structured_apply_dense",
    "quantized::make_quantized_cell_params", "quantized::make_quantized_cell_params_dynamic",
    flops="none: weights are moved into another layout", source="definition of the op",
)  # fmt: skip
def pack(op: Signature) -> Cost:
    """``packed = prepack(weight)``: read once, and written once."""
    written = op.outputs or op.read
    return count(op, writes=[(type.elements, type) for type in written])
