"""What torch calls an op, and what the rules call it.

An op that is not listed keeps its own name as its kind (``aten::relu`` is ``relu``) and its own argument names. The tables below hold
the rest: ops that torch has several names for, and arguments that need the name that a rule expects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Renames = Mapping[str, str]

_SAME: Renames = {}
_SELF: Renames = {"self": "input"}

CONVOLUTIONS: dict[str, tuple[str, Renames]] = {
    "aten::conv1d": ("conv", _SAME),
    "aten::conv2d": ("conv", _SAME),
    "aten::conv3d": ("conv", _SAME),
    "aten::convolution": ("conv", _SAME),
    "aten::_convolution": ("conv", _SAME),
    "aten::_convolution_mode": ("conv", _SAME),
    "aten::convolution_overrideable": ("conv", _SAME),
    "aten::thnn_conv2d": ("conv", _SELF),
    "aten::_conv_depthwise2d": ("conv", _SELF),
    "aten::conv_depthwise3d": ("conv", _SELF),
    "aten::slow_conv3d": ("conv", _SELF),
    "aten::slow_conv_dilated2d": ("conv", _SELF),
    "aten::slow_conv_dilated3d": ("conv", _SELF),
    "aten::mkldnn_convolution": ("conv", _SELF),
    "aten::cudnn_convolution": ("conv", _SELF),
    "aten::miopen_convolution": ("conv", _SELF),
    "aten::conv_transpose1d": ("conv_transpose", _SAME),
    "aten::conv_transpose2d": ("conv_transpose", _SAME),
    "aten::conv_transpose3d": ("conv_transpose", _SAME),
    "aten::cudnn_convolution_transpose": ("conv_transpose", _SELF),
    "aten::miopen_convolution_transpose": ("conv_transpose", _SELF),
    "aten::slow_conv_transpose2d": ("conv_transpose", _SELF),
    "aten::slow_conv_transpose3d": ("conv_transpose", _SELF),
    "aten::conv_tbc": ("conv_tbc", _SELF),
    "aten::_slow_conv2d_forward": ("conv", _SELF),
    "aten::slow_conv3d_forward": ("conv", _SELF),
    "aten::_nnpack_spatial_convolution": ("conv", _SAME),
    "aten::miopen_depthwise_convolution": ("conv", _SELF),
    "aten::_mps_convolution": ("conv", _SELF),
    "aten::_mps_convolution_transpose": ("conv_transpose", _SELF),
    "torchvision::deform_conv2d": ("deform_conv", _SAME),
}

MATRIX_PRODUCTS: dict[str, tuple[str, Renames]] = {
    "aten::linear": ("linear", _SAME),
    "aten::mm": ("matmul", {"self": "a", "mat2": "b"}),
    "aten::bmm": ("matmul", {"self": "a", "mat2": "b"}),
    "aten::mv": ("matmul", {"self": "a", "vec": "b"}),
    "aten::dot": ("matmul", {"self": "a", "tensor": "b"}),
    "aten::vdot": ("matmul", {"self": "a", "other": "b"}),
    "aten::inner": ("inner", {"self": "a", "other": "b"}),
    "aten::matmul": ("matmul", {"self": "a", "other": "b"}),
    "aten::linalg_matmul": ("matmul", {"self": "a", "other": "b"}),
    "aten::_int_mm": ("matmul", {"self": "a", "mat2": "b"}),
    "aten::_scaled_mm": ("matmul", {"self": "a", "mat2": "b"}),
    "aten::_scaled_mm_v2": ("matmul", {"self": "a", "mat2": "b"}),
    "aten::_scaled_addmm": ("addmm", {"mat1": "a", "mat2": "b"}),
    "aten::_scaled_grouped_mm_v2": ("grouped_mm", {"self": "a", "mat2": "b"}),
    "aten::outer": ("outer", {"self": "a", "vec2": "b"}),
    "aten::ger": ("outer", {"self": "a", "vec2": "b"}),
    "aten::addmm": ("addmm", {"mat1": "a", "mat2": "b"}),
    "aten::_addmm_activation": ("addmm", {"mat1": "a", "mat2": "b"}),
    "aten::addmv": ("addmm", {"mat": "a", "vec": "b"}),
    "aten::baddbmm": ("addmm", {"batch1": "a", "batch2": "b"}),
    "aten::addbmm": ("addbmm", {"batch1": "a", "batch2": "b"}),
    "aten::addr": ("addr", {"vec1": "a", "vec2": "b"}),
    "aten::_grouped_mm": ("grouped_mm", {"self": "a", "mat2": "b"}),
    "aten::_scaled_grouped_mm": ("grouped_mm", {"self": "a", "mat2": "b"}),
    "aten::chain_matmul": ("chain_matmul", {"matrices": "factors"}),
    "aten::linalg_multi_dot": ("multi_dot", {"tensors": "factors"}),
    "aten::einsum": ("einsum", {"tensors": "operands"}),
    "aten::bilinear": ("bilinear", _SAME),
    "aten::_trilinear": ("trilinear", _SAME),
    "aten::tensordot": ("tensordot", {"self": "a", "other": "b", "dims_self": "dims_a", "dims_other": "dims_b"}),
    "aten::kron": ("outer", {"self": "a", "other": "b"}),
}

ATTENTIONS: dict[str, tuple[str, Renames]] = {
    name: ("attention", {"attn_bias": "attn_mask"})
    for name in (
        "aten::scaled_dot_product_attention",
        "aten::_scaled_dot_product_attention_math",
        "aten::_scaled_dot_product_attention_math_for_mps",
        "aten::_scaled_dot_product_flash_attention",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_efficient_attention",
        "aten::_scaled_dot_product_cudnn_attention",
        "aten::_scaled_dot_product_fused_attention_overrideable",
    )
} | {
    "aten::_triton_scaled_dot_attention": ("attention", {"q": "query", "k": "key", "v": "value"}),
    "aten::_native_multi_head_attention": ("multi_head_attention", _SAME),
    "aten::_triton_multi_head_attention": ("multi_head_attention", _SAME),
    "aten::_transformer_encoder_layer_fwd": ("transformer_encoder_layer", _SAME),
}

NORMALISATIONS: dict[str, tuple[str, Renames]] = {
    "aten::batch_norm": ("batch_norm", _SAME),
    "aten::native_batch_norm": ("batch_norm", _SAME),
    "aten::cudnn_batch_norm": ("batch_norm", _SAME),
    "aten::_native_batch_norm_legit": ("batch_norm", _SAME),
    "aten::_native_batch_norm_legit_functional": ("batch_norm", _SAME),
    "aten::_batch_norm_with_update": ("batch_norm", _SAME),
    "aten::_batch_norm_with_update_functional": ("batch_norm", _SAME),
    "aten::_batch_norm_no_update": ("batch_norm_inference", _SAME),
    "aten::miopen_batch_norm": ("batch_norm", _SAME),
    "aten::_native_batch_norm_legit_no_training": ("batch_norm_inference", _SAME),
    "aten::_batch_norm_impl_index": ("batch_norm", _SAME),
    "aten::native_layer_norm": ("layer_norm", _SAME),
    "aten::native_group_norm": ("group_norm", _SAME),
    "aten::_fused_rms_norm": ("rms_norm", _SAME),
    "aten::_weight_norm_interface": ("_weight_norm", _SAME),
}

RECURRENT: dict[str, tuple[str, Renames]] = {
    "aten::lstm": ("lstm", {"data": "input"}),
    "aten::gru": ("gru", {"data": "input"}),
    "aten::rnn_tanh": ("rnn", {"data": "input"}),
    "aten::rnn_relu": ("rnn", {"data": "input"}),
    "aten::_lstm_mps": ("lstm", _SAME),
    "aten::quantized_lstm_cell": ("lstm_cell", _SAME),
    "aten::quantized_gru_cell": ("gru_cell", _SAME),
    "aten::quantized_rnn_tanh_cell": ("rnn_cell", _SAME),
    "aten::quantized_rnn_relu_cell": ("rnn_cell", _SAME),
    "aten::lstm_cell": ("lstm_cell", _SAME),
    "aten::gru_cell": ("gru_cell", _SAME),
    "aten::rnn_tanh_cell": ("rnn_cell", _SAME),
    "aten::rnn_relu_cell": ("rnn_cell", _SAME),
}

OTHERS: dict[str, tuple[str, Renames]] = {
    "aten::special_expit": ("sigmoid", _SELF),
    "aten::special_erf": ("erf", _SELF),
    "aten::_softmax": ("softmax", _SAME),
    "aten::special_log_softmax": ("log_softmax", _SAME),
    "aten::cudnn_affine_grid_generator": ("affine_grid_generator", _SAME),
    "aten::cudnn_grid_sampler": ("grid_sampler", _SAME),
    "aten::mkldnn_adaptive_avg_pool2d": ("adaptive_avg_pool", _SAME),
    "aten::_upsample_lanczos2d_aa": ("upsample_antialias", _SAME),
    "aten::_dim_arange": ("arange", _SAME),
    "quantized::max_pool1d": ("max_pool", {"qx": "input"}),
    "quantized::max_pool2d": ("max_pool", {"qx": "input"}),
    "quantized::dropout": ("dropout", {"self": "input", "training": "train"}),
    "aten::special_softmax": ("softmax", _SAME),
    "aten::_log_softmax": ("log_softmax", _SAME),
    "aten::_safe_softmax": ("softmax", _SAME),
    "aten::_adaptive_avg_pool2d": ("adaptive_avg_pool", _SAME),
    "aten::_adaptive_avg_pool3d": ("adaptive_avg_pool", _SAME),
}

for _dims in (1, 2, 3):
    OTHERS |= {
        f"aten::avg_pool{_dims}d": ("avg_pool", _SAME),
        f"aten::max_pool{_dims}d": ("max_pool", _SAME),
        f"aten::max_pool{_dims}d_with_indices": ("max_pool", _SAME),
        f"aten::quantized_max_pool{_dims}d": ("max_pool", _SAME),
        f"aten::mkldnn_max_pool{_dims}d": ("max_pool", _SAME),
        f"aten::fractional_max_pool{_dims}d": ("fractional_max_pool", _SAME),
        f"aten::max_unpool{_dims}d": ("max_unpool", _SAME),
        f"aten::adaptive_avg_pool{_dims}d": ("adaptive_avg_pool", _SAME),
        f"aten::adaptive_max_pool{_dims}d": ("adaptive_max_pool", _SAME),
        f"aten::upsample_nearest{_dims}d": ("upsample_nearest", _SAME),
        f"aten::_upsample_nearest_exact{_dims}d": ("upsample_nearest", _SAME),
        f"aten::reflection_pad{_dims}d": ("pad", _SAME),
        f"aten::replication_pad{_dims}d": ("pad", _SAME),
        f"aten::grid_sampler_{_dims}d": ("grid_sampler", _SAME),
    }
OTHERS |= {
    "aten::_grid_sampler_2d_cpu_fallback": ("grid_sampler", _SAME),
    "aten::upsample_linear1d": ("upsample_linear", _SAME),
    "aten::upsample_bilinear2d": ("upsample_linear", _SAME),
    "aten::upsample_trilinear3d": ("upsample_linear", _SAME),
    "aten::upsample_bicubic2d": ("upsample_cubic", _SAME),
    "aten::_upsample_bilinear2d_aa": ("upsample_antialias", _SAME),
    "aten::_upsample_bicubic2d_aa": ("upsample_antialias", _SAME),
    "aten::constant_pad_nd": ("pad", _SAME),
}

PRIMS = {
    f"prims::{prim}": (name, _SAME)
    for prim, name in {
        "bessel_i0": "special_i0", "bessel_i0e": "special_i0e", "bessel_i1": "special_i1", "bessel_i1e": "special_i1e",
        "bessel_j0": "special_bessel_j0", "bessel_j1": "special_bessel_j1", "spherical_bessel_j0": "special_spherical_bessel_j0",
        "erf_inv": "erfinv", "erfcx": "special_erfcx", "ndtri": "special_ndtri", "zeta": "special_zeta", "shift_left": "__lshift__",
        "shift_right_arithmetic": "__rshift__", "fft_c2c": "_fft_c2c", "fft_r2c": "_fft_r2c", "fft_c2r": "_fft_c2r", "iota": "arange",
        "convert_element_type": "_to_copy",
    }.items()
}  # fmt: skip
"""What the primitives, to which torch's Python decompositions fall apart, call an op that ATen calls otherwise."""

KINDS = CONVOLUTIONS | MATRIX_PRODUCTS | ATTENTIONS | NORMALISATIONS | RECURRENT | OTHERS | PRIMS


def kind_of(target: str) -> str:
    """The kind of a torch op by its name alone, such as ``"conv"`` for ``"aten::conv2d"``; `normalise` knows more from the arguments."""
    if target in KINDS:
        return KINDS[target][0]
    namespace, _, base = target.partition("::")
    return base if namespace in ("aten", "prims") else target


def normalise(target: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind of a torch op and its arguments under the names that the rules use, in unchanged order.

    Args:
        target: the qualified name, such as ``"aten::conv2d"``.
        arguments: all arguments by the names in the op's schema.

    Returns:
        The kind, and the renamed arguments.
    """
    _, renames = KINDS.get(target, (None, _SAME))
    kind = kind_of(target)
    if kind in ("rnn", "rnn_cell"):
        arguments = {**arguments, "nonlinearity": "relu" if "relu" in target else "tanh"}
    if renames:
        arguments = {renames.get(name, name): value for name, value in arguments.items()}
    if kind == "conv" and arguments.get("transposed"):
        kind = "conv_transpose"
    return kind, arguments
