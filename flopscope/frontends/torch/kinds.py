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
        "aten::_scaled_dot_product_flash_attention",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_efficient_attention",
        "aten::_scaled_dot_product_cudnn_attention",
        "aten::_scaled_dot_product_fused_attention_overrideable",
    )
} | {
    "aten::_flash_attention_forward": ("attention_by_token", {"bias": "attn_mask"}),
    "aten::_efficient_attention_forward": ("attention_by_token", {"bias": "attn_mask"}),
    "aten::_native_multi_head_attention": ("multi_head_attention", _SAME),
    "aten::_transformer_encoder_layer_fwd": ("transformer_encoder_layer", _SAME),
}

NORMALISATIONS: dict[str, tuple[str, Renames]] = {
    "aten::batch_norm": ("batch_norm", _SAME),
    "aten::native_batch_norm": ("batch_norm", _SAME),
    "aten::cudnn_batch_norm": ("batch_norm", _SAME),
    "aten::_native_batch_norm_legit": ("batch_norm", _SAME),
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
    "aten::lstm_cell": ("lstm_cell", _SAME),
    "aten::gru_cell": ("gru_cell", _SAME),
    "aten::rnn_tanh_cell": ("rnn_cell", _SAME),
    "aten::rnn_relu_cell": ("rnn_cell", _SAME),
}

OTHERS: dict[str, tuple[str, Renames]] = {
    "aten::special_expit": ("sigmoid", _SELF),
    "aten::special_erf": ("erf", _SELF),
    "aten::_softmax": ("softmax", _SAME),
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

KINDS = CONVOLUTIONS | MATRIX_PRODUCTS | ATTENTIONS | NORMALISATIONS | RECURRENT | OTHERS


def normalise(target: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind of a torch op and its arguments under the names that the rules use, in unchanged order.

    Args:
        target: the qualified name, such as ``"aten::conv2d"``.
        arguments: all arguments by the names in the op's schema.

    Returns:
        The kind, and the renamed arguments.
    """
    kind, renames = KINDS.get(target, (None, _SAME))
    if kind is None:
        namespace, _, base = target.partition("::")
        kind = base if namespace == "aten" else target
    if kind in ("rnn", "rnn_cell"):
        arguments = {**arguments, "nonlinearity": "relu" if "relu" in target else "tanh"}
    if renames:
        arguments = {renames.get(name, name): value for name, value in arguments.items()}
    if kind == "conv" and arguments.get("transposed"):
        kind = "conv_transpose"
    return kind, arguments
