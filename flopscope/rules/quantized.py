"""Layers on small integers: weights that a backend has packed, and ops between quantised tensors.

An integer multiply-accumulate counts as one. What comes out is scaled back to small integers, 5 operations per element (see
`quantization`); operands of ops other than contractions are dequantised first, 2 per element. A packed weight tells its shape (`Packed`), and
is read once.
"""

from __future__ import annotations

from typing import Any

from flopscope.cost import Cost
from flopscope.graph import Packed, Signature, TensorType
from flopscope.rules.activation import FLOPS_PER_ELEMENT
from flopscope.rules.complex_numbers import contraction
from flopscope.rules.normalisation import layer_norm_flops
from flopscope.rules.quantization import DEQUANTIZE, QUANTIZE, SOURCE
from flopscope.rules.registry import Traffic, count, prod, rule
from flopscope.rules.sizes import quotient
from flopscope.rules.softmax import SOFTMAX_FLOPS

_CONVOLUTIONS = [f"{dims}d{after}" for dims in (1, 2, 3) for after in ("", "_relu", "_dynamic")]
_REQUANTIZED = ("output_scale", "Y_scale_i")


def _packed(op: Signature) -> Packed | None:
    """The packed weight of an op, ``None`` where the backend keeps its shape to itself. A front end may give it as tensors, too."""
    packed = next((value for value in op.arguments.values() if isinstance(value, Packed)), None)
    weight = op.get("weight")
    return Packed(weight, op.get("bias")) if isinstance(weight, TensorType) else packed


def _with_weight(op: Signature, packed: Packed) -> Traffic:
    """What is read: a weight that is packed is not among the tensors."""
    hidden = () if isinstance(op.get("weight"), TensorType) else (packed.weight, *(() if packed.bias is None else (packed.bias,)))
    return [(type.stored_elements, type) for type in (*op.read, *hidden)]


def _after(op: Signature) -> int:
    """Operations per output element after the multiply-accumulates: an activation, an addition, and scaling back."""
    fused = ("relu" in op.target) + 2 * ("leaky" in op.target) + ("tanh" in op.target) + ("_add" in op.target)
    return fused + (QUANTIZE if any(op.get(name) is not None for name in _REQUANTIZED) else 0)


def _before(op: Signature, x: TensorType) -> int:
    """Operations to quantise the input where the layer does so itself: the range and the integers."""
    return (2 + QUANTIZE) * x.elements if "dynamic" in op.target and "fp16" not in op.target else 0


@rule(
    *(f"quantized::conv{name}" for name in _CONVOLUTIONS), "quantized::conv2d_add", "quantized::conv2d_add_relu", "_quantized::conv2d",
    "_quantized::conv2d_relu", "_quantized::conv3d", "_quantized::conv3d_relu",
    flops="2 per MAC; per output element 1 for the bias, 1 for an activation or addition, 5 to scale back; 7 per input element where that is quantised too",
    source=f"{SOURCE}; Sze et al. 2017, arXiv:1703.09039, eq. 1",
)  # fmt: skip
def conv(op: Signature) -> Cost | None:
    """``[n, o, *s'] = conv([n, c, *s], packed [o, c/g, *k])``."""
    packed, x, out = _packed(op), op.read[0], op.output
    if packed is None:
        return None
    macs = out.elements * prod(packed.weight.shape[1:])
    other = (_after(op) + (packed.bias is not None)) * out.elements + _before(op, x)
    return count(op, macs=macs, other=other, reads=_with_weight(op, packed))


@rule(
    *(f"quantized::conv_transpose{dims}d{after}" for dims in (1, 2, 3) for after in ("", "_dynamic")), "_quantized::conv_transpose1d",
    "_quantized::conv_transpose2d",
    flops="2 per MAC; per output element 1 for the bias, 5 to scale back; 7 per input element where that is quantised too",
    source=f"{SOURCE}; Dumoulin & Visin 2016, arXiv:1603.07285, section 4",
)  # fmt: skip
def conv_transpose(op: Signature) -> Cost | None:
    """``[n, o, *s'] = conv_transpose([n, c, *s], packed [c, o/g, *k])``."""
    packed, x, out = _packed(op), op.read[0], op.output
    if packed is None:
        return None
    macs = quotient(x.elements, x.shape[1]) * packed.weight.elements
    other = (_after(op) + (packed.bias is not None)) * out.elements + _before(op, x)
    return count(op, macs=macs, other=other, reads=_with_weight(op, packed))


@rule(
    "quantized::linear", "quantized::linear_relu", "quantized::linear_leaky_relu", "quantized::linear_tanh", "quantized::linear_dynamic",
    "quantized::linear_relu_dynamic", "quantized::linear_dynamic_fp16", "quantized::linear_relu_dynamic_fp16", "_quantized::linear",
    "_quantized::linear_dynamic", "quantized::linear_with_input_q_dq_qweight_dq_output_fp32",
    "quantized::linear_with_input_q_dq_qweight_dq_relu_output_fp32",
    flops="2 per MAC; per output element 1 for the bias, 1 for an activation, 5 to scale back; 7 per input element where that is quantised too",
    source=f"{SOURCE}; Golub & Van Loan, Matrix Computations, section 1.1",
)  # fmt: skip
def linear(op: Signature) -> Cost:
    """``[*, o] = linear([*, i], packed [o, i])``."""
    packed, x, out = _packed(op), op.read[0], op.output
    biased = packed is not None and packed.bias is not None
    reads = None if packed is None else _with_weight(op, packed)
    return count(op, macs=out.elements * x.shape[-1], other=(_after(op) + biased) * out.elements + _before(op, x), reads=reads)


_CELL = {"lstm": (4, 4 + 3 * 4 + 2 + 4), "gru": (3, 3 + 2 * 4 + 1 + 5), "rnn": (1, 2)}
"""Gates, and operations per unit and token as in `recurrent`."""


def _cell_of(op: Signature) -> tuple[int, int]:
    return next(facts for name, facts in _CELL.items() if name in op.target)


def _states(op: Signature) -> TensorType:
    hidden: Any = op["hx"]
    return hidden[0] if isinstance(hidden, tuple) else hidden  # type: ignore[no-any-return]


@rule(
    *(f"quantized::quantized_{cell}_cell_dynamic" for cell in ("lstm", "gru", "rnn_relu", "rnn_tanh")),
    flops="2 per MAC, 1 per bias; per unit as one step of the layer; 7 per input and state element to quantise them",
    source="PyTorch documentation of torch.nn.LSTMCell, GRUCell and RNNCell",
)
def cell(op: Signature) -> Cost:
    """``[n, h] = cell([n, i], [n, h], packed [g h, i], packed [g h, h], [g h], [g h])``."""
    gates, per_unit = _cell_of(op)
    x, state = op["input"], _states(op)
    units, wide = state.elements, gates * state.shape[-1]
    other = units * (per_unit + 2 * gates) + (2 + QUANTIZE) * (x.elements + units)
    return count(op, macs=prod(x.shape[:-1]) * wide * (x.shape[-1] + state.shape[-1]), other=other)


@rule(
    "quantized_lstm", "quantized_gru",
    flops="2 per MAC, 1 per bias; per unit and token as the layer", source="PyTorch documentation of torch.nn.LSTM and torch.nn.GRU",
)  # fmt: skip
def layers(op: Signature) -> Cost:
    """``[t, n, d*h] = lstm([t, n, i], [l*d, n, h], packed)``: all sizes are those of the input and of the state."""
    gates, per_unit = _cell_of(op)
    x = op["input"] if "input" in op.arguments else op["data"]
    tokens = x.shape[0] if "batch_sizes" in op.arguments else prod(x.shape[:-1])
    hidden = _states(op).shape[-1]
    directions = 2 if op.get("bidirectional", False) else 1
    depth = op["num_layers"]
    inputs = x.shape[-1] + (depth - 1) * directions * hidden
    macs = tokens * directions * gates * hidden * (inputs + depth * hidden)
    biases = 2 * gates if op.get("has_biases", True) else 0
    return count(op, macs=macs, other=tokens * directions * depth * hidden * (per_unit + biases))


_ARITHMETIC = [
    f"quantized::{name}{relu}{out}" for name in ("add", "mul", "add_scalar", "mul_scalar") for relu in ("", "_relu") for out in ("", "_out")
]


@rule(
    *_ARITHMETIC, "_quantized::add", "onednn::qadd", "onednn::qadd_relu", "onednn::qmul",
    flops="2 per element of each operand to dequantise, 1 per output element and 1 for an activation, 5 to quantise", source=SOURCE,
)  # fmt: skip
def arithmetic(op: Signature) -> Cost:
    """``q = add(q, q)``."""
    operands = sum(type.elements for type in op.read if len(type.shape) > 0)
    return count(op, other=DEQUANTIZE * operands + (1 + ("relu" in op.target) + QUANTIZE) * op.output.elements)


@rule(
    "quantized::cat", "quantized::cat_relu", "quantized::cat_out", "quantized::cat_relu_out",
    flops="7 per element: dequantise and quantise; 1 for an activation", source=SOURCE,
)  # fmt: skip
def cat(op: Signature) -> Cost:
    """``q = cat([q, ...])``."""
    return count(op, other=(DEQUANTIZE + QUANTIZE + ("relu" in op.target)) * op.output.elements)


_ACTIVATIONS = ("celu", "elu", "hardswish", "leaky_relu", "prelu", "sigmoid")


@rule(
    *(f"quantized::{name}" for name in _ACTIVATIONS), "quantized::softmax",
    flops="as the activation, and 7 per element to dequantise and quantise", source=SOURCE,
)  # fmt: skip
def activation(op: Signature) -> Cost:
    """``q = activation(q)``."""
    name = op.target.removeprefix("quantized::")
    per_element = SOFTMAX_FLOPS if name == "softmax" else FLOPS_PER_ELEMENT[name]
    return count(op, other=(per_element + DEQUANTIZE + QUANTIZE) * op.output.elements)


@rule(
    "quantized::clamp", "quantized::relu6", "quantized::threshold",
    flops="1 per comparison with a bound, on the integers", source="comparing quantised numbers of one scale is comparing integers",
)  # fmt: skip
def compare(op: Signature) -> Cost:
    """``q = clamp(q)``."""
    bounds = {"relu6": 2, "threshold": 1}.get(
        op.target.removeprefix("quantized::"), (op.get("min") is not None) + (op.get("max") is not None)
    )
    return count(op, other=bounds * op.output.elements)


@rule(
    *(f"quantized::batch_norm{dims}{relu}" for dims in ("", "1d", "2d", "3d") for relu in ("", "_relu")), "quantized_batch_norm", "onednn::qbatch_norm2d",
    flops="2 per element (a scale and a shift into which statistics and weights are folded), 1 for an activation, 7 to dequantise and quantise; 4 per channel",
    source="Jacob et al. 2018, arXiv:1712.05877, section 3.2",
)  # fmt: skip
def batch_norm(op: Signature) -> Cost:
    """``[n, c, *] = batch_norm([n, c, *], [c]?, [c]?, [c], [c])``."""
    x = op.read[0]
    return count(op, other=(2 + ("relu" in op.target) + DEQUANTIZE + QUANTIZE) * x.elements + 4 * x.shape[1])


@rule(
    "quantized::layer_norm", "quantized::group_norm", "quantized::instance_norm",
    flops="as the normalisation, and 7 per element to dequantise and quantise", source=SOURCE,
)  # fmt: skip
def norm(op: Signature) -> Cost:
    """``q = layer_norm(q)``."""
    x = op.read[0]
    kept = len(x.shape) - len(op["normalized_shape"]) if "normalized_shape" in op.arguments else 2
    groups = x.shape[0] * op["num_groups"] if "num_groups" in op.arguments else prod(x.shape[:kept])
    affine = sum(op.get(name) is not None for name in ("weight", "bias"))
    return count(op, other=layer_norm_flops(x.elements, groups, affine) + (DEQUANTIZE + QUANTIZE) * x.elements)


@rule("quantized::matmul", flops="2 per MAC; 1 per element of each operand to shift it, 5 per output element to scale back", source=SOURCE)
def matmul(op: Signature) -> Cost:
    """``[*, n, p] = matmul([*, n, m], [*, m, p])``."""
    a, b = op.read[:2]
    return contraction(op, macs=op.output.elements * a.shape[-1], additions=a.elements + b.elements + QUANTIZE * op.output.elements)
