"""Turning numbers into small integers and back.

Quantising takes 5 operations per element (scale, round, add the zero point, and two comparisons to clamp), dequantising 2 (subtract the zero
point, scale). Source: Jacob et al. 2018, arXiv:1712.05877, eq. 1.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, rule

SOURCE = "Jacob et al. 2018, arXiv:1712.05877, eq. 1"
QUANTIZE, DEQUANTIZE = 5, 2
_RANGE = 2
"""The least and the greatest element: two comparisons per element."""


def _elements(op: Signature) -> int:
    """Elements of the tensor (or list of tensors) that is converted; scales and zero points come after it."""
    first = next(iter(op.arguments.values()))
    return sum(type.elements for type in first) if isinstance(first, tuple) else first.elements


@rule(
    "quantize_per_tensor", "quantize_per_channel", "quantized_decomposed::quantize_per_tensor", "quantized_decomposed::quantize_per_channel",
    "quantized_decomposed::quantize_per_channel_group", "quantized_decomposed::quantize_per_token",
    flops="5 per element: scale, round, shift, clamp", source=SOURCE,
)  # fmt: skip
def quantize(op: Signature) -> Cost:
    """``q = clamp(round(x / s) + z)``."""
    return count(op, other=QUANTIZE * _elements(op))


@rule(
    "dequantize", "quantized_decomposed::dequantize_per_tensor", "quantized_decomposed::dequantize_per_channel",
    "quantized_decomposed::dequantize_per_channel_group", "quantized_decomposed::dequantize_per_token",
    flops="2 per element: shift, scale", source=SOURCE,
)  # fmt: skip
def dequantize(op: Signature) -> Cost:
    """``x = (q - z) s``; a tensor that is not quantised is passed on."""
    return count(op, other=DEQUANTIZE * _elements(op))


@rule(
    "quantize_per_tensor_dynamic", "fbgemm_linear_quantize_weight",
    flops="7 per element: the range (two comparisons), then as quantising", source=SOURCE,
)  # fmt: skip
def quantize_by_range(op: Signature) -> Cost:
    """``q = quantize(x)`` with a scale from the range of x."""
    return count(op, other=(_RANGE + QUANTIZE) * _elements(op))


@rule(
    "_choose_qparams_per_tensor", "quantized_decomposed::choose_qparams", "quantized_decomposed::choose_qparams_symmetric",
    "quantized_decomposed::choose_qparams_per_token", "quantized_decomposed::choose_qparams_per_token_asymmetric",
    "quantized_decomposed::_choose_qparams_per_token_asymmetric_impl",
    flops="2 per element: the range", source=SOURCE,
)  # fmt: skip
def choose(op: Signature) -> Cost:
    """``s, z = choose_qparams(x)``."""
    return count(op, other=_RANGE * _elements(op))


@rule(
    "fake_quantize_per_tensor_affine", "fake_quantize_per_channel_affine", "fake_quantize_per_tensor_affine_cachemask",
    "fake_quantize_per_channel_affine_cachemask", "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
    "_fake_quantize_learnable_per_tensor_affine", "_fake_quantize_learnable_per_channel_affine", "quantized_decomposed::fake_quant_per_channel",
    flops="7 per element: quantise and dequantise; the mask is the result of the comparisons", source=SOURCE,
)  # fmt: skip
def fake_quantize(op: Signature) -> Cost:
    """``x = dequantize(quantize(x))``."""
    return count(op, other=(QUANTIZE + DEQUANTIZE) * _elements(op))


@rule(
    "fused_moving_avg_obs_fake_quant", "_fused_moving_avg_obs_fq_helper", "_fused_moving_avg_obs_fq_helper_functional",
    flops="9 per element: the range, quantise, dequantise", source=SOURCE,
)  # fmt: skip
def observe_and_fake_quantize(op: Signature) -> Cost:
    """``x = fake_quantize(x)`` with a moving average of its range."""
    return count(op, other=(_RANGE + QUANTIZE + DEQUANTIZE) * _elements(op))


@rule(
    "fake_quantize_per_tensor_affine_cachemask_backward", "fake_quantize_per_channel_affine_cachemask_backward",
    flops="1 per element: a product with the mask", source="straight-through estimator, Bengio et al. 2013, arXiv:1308.3432",
)  # fmt: skip
def fake_quantize_backward(op: Signature) -> Cost:
    """``x = g * mask``."""
    return count(op, other=_elements(op))


@rule(
    "_fake_quantize_learnable_per_tensor_affine_backward", "_fake_quantize_learnable_per_channel_affine_backward",
    flops="12 per element: quantise 5, mask 1; for the scale (q - z) - x / s, times g, summed (4); for the zero point 2",
    source="Esser et al. 2020, arXiv:1902.08153, eq. 3",
)  # fmt: skip
def learnable_backward(op: Signature) -> Cost:
    """``x, [1], [1] = backward(g, x, s, z)``."""
    return count(op, other=12 * _elements(op))


@rule(
    "int_repr", "_make_per_tensor_quantized_tensor", "_make_per_channel_quantized_tensor",
    "_saturate_weight_to_fp16", "quantization::_Bfloat16QuantizedToFloat", "quantization::_FloatToBfloat16Quantized",
    "quantized_decomposed::convert_element_type",
    flops="none: elements are moved, not computed", source="definition of the op",
)  # fmt: skip
def reinterpret(op: Signature) -> Cost:
    """Integers taken out of a quantised tensor, or put into one."""
    return count(op)


@rule("q_per_channel_scales", "q_per_channel_zero_points", flops="none: elements are moved, not computed", source="definition of the op")
def parameters(op: Signature) -> Cost:
    """``[c] = scales(q)``: of the quantised tensor only its scales are read."""
    return count(op, reads=[(type.elements, type) for type in op.outputs])
