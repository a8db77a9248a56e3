"""Layers of quantised modules. Their multiply-accumulates are those of the layers that they were made from; the types say how wide."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, prod, rule

_SOURCE = "Jacob et al. 2018, arXiv:1712.05877, section 2.2"
_PER_OUTPUT = "1 per output element for each of: bias, rescaling to the scale of the result, a fused ReLU or addition"


def _per_output(op: Signature) -> int:
    fused = sum(word in op.target for word in ("relu", "_add", "tanh"))
    return op.output.elements * (1 + fused + (op.get("bias") is not None))


@rule(
    "quantized::linear", "quantized::linear_relu", "quantized::linear_dynamic", "quantized::linear_relu_dynamic",
    "quantized::linear_dynamic_fp16", "quantized::linear_relu_dynamic_fp16", "quantized::linear_leaky_relu", "quantized::linear_tanh",
    flops=f"2 per MAC; {_PER_OUTPUT}",
    source=_SOURCE,
)  # fmt: skip
def quantized_linear(op: Signature) -> Cost:
    """``[*, o] = linear([*, i], [o, i], [o]?)``."""
    return count(op, macs=op.output.elements * op["weight"].shape[1], other=_per_output(op))


@rule(
    "quantized::conv1d", "quantized::conv1d_relu", "quantized::conv2d", "quantized::conv2d_relu", "quantized::conv3d",
    "quantized::conv3d_relu", "quantized::conv2d_add", "quantized::conv2d_add_relu", "quantized::conv1d_dynamic",
    "quantized::conv2d_dynamic", "quantized::conv3d_dynamic",
    flops=f"2 per MAC; {_PER_OUTPUT}",
    source=_SOURCE,
)  # fmt: skip
def quantized_conv(op: Signature) -> Cost:
    """``[n, o, *s'] = conv([n, c, *s], [o, c/g, *k], [o]?)``."""
    return count(op, macs=op.output.elements * prod(op["weight"].shape[1:]), other=_per_output(op))


@rule(
    "quantized::conv_transpose1d", "quantized::conv_transpose2d", "quantized::conv_transpose3d", "quantized::conv_transpose1d_dynamic",
    "quantized::conv_transpose2d_dynamic", "quantized::conv_transpose3d_dynamic",
    flops=f"2 per MAC; {_PER_OUTPUT}",
    source=_SOURCE,
)  # fmt: skip
def quantized_conv_transpose(op: Signature) -> Cost:
    """``[n, o, *s'] = conv_transpose([n, c, *s], [c, o/g, *k], [o]?)``."""
    return count(op, macs=op.inputs[0].elements * prod(op["weight"].shape[1:]), other=_per_output(op))


@rule(
    "quantized::add", "quantized::add_relu", "quantized::mul", "quantized::mul_relu",
    flops="1 for the operation, 1 per operand and result for its scale, 1 for a fused ReLU, per output element",
    source=_SOURCE,
)  # fmt: skip
def quantized_binary(op: Signature) -> Cost:
    """``[*] = add([*], [*])``: both are brought to one scale first."""
    return count(op, other=op.output.elements * (4 + ("relu" in op.target)))


@rule(
    "quantized::cat", "quantized::cat_relu",
    flops="2 per output element where the scales differ, which they are taken to",
    source="PyTorch documentation of torch.ao.nn.quantized.FloatFunctional",
)  # fmt: skip
def quantized_cat(op: Signature) -> Cost:
    """``[*] = cat([*], ...)``."""
    return count(op, other=op.output.elements * (2 + ("relu" in op.target)))


@rule(
    "quantize_per_tensor", "quantize_per_channel", "quantize_per_tensor_dynamic", "dequantize", "int_repr",
    "quantized_decomposed::quantize_per_tensor", "quantized_decomposed::dequantize_per_tensor", "quantized_decomposed::quantize_per_channel",
    "quantized_decomposed::dequantize_per_channel",
    flops="2 per element: the product with the scale, the addition of the zero point (and rounding, which is none)",
    source="Jacob et al. 2018, arXiv:1712.05877, eq. 1",
)  # fmt: skip
def quantise(op: Signature) -> Cost:
    """``[*] = quantize([*], scale, zero_point)`` and back."""
    return count(op, other=2 * op.output.elements)


@rule(
    "quantized_lstm", "quantized_gru",
    flops="2 per MAC; the gates' elementwise operations are not told apart: 10 per hidden element",
    source="Hochreiter & Schmidhuber 1997; Cho et al. 2014, arXiv:1406.1078",
)  # fmt: skip
def quantized_recurrent(op: Signature) -> Cost:
    """Dynamically quantised `nn.LSTM` and `nn.GRU`. Their weights are packed, so the sizes come from the state: ``[layers * d, b, h]``."""
    x, out = op.inputs[0], op.output
    gates = 4 if "lstm" in op.target else 3
    directions = 2 if op.get("bidirectional", False) else 1
    hidden = out.shape[-1] // directions
    tokens = prod(out.shape[:-1])
    later = op["num_layers"] - 1
    macs = tokens * directions * gates * hidden * (x.shape[-1] + hidden + later * (directions * hidden + hidden))
    return count(op, macs=macs, other=10 * tokens * directions * hidden * op["num_layers"])
