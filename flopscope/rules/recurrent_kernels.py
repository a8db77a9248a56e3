"""Recurrent layers as their kernels call them, and their gradients.

A gradient meets every weight matrix twice per token: once for the gradient of what was multiplied, once for that of the weights. Per unit
and token it takes the derivatives of the gates (3 per sigmoid or tanh) and the products of the chain rule.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature, TensorType
from flopscope.rules.recurrent import GRU, LSTM, RNN
from flopscope.rules.registry import count, prod, rule

_LSTM_BACKWARD = 1 + 5 * 3 + 1 + 6
"""tanh(c') again; five derivatives of gates and tanh; the sum of both gradients of c'; six products with o, tanh(c'), i, g, f and c."""
_GRU_BACKWARD = 3 * 3 + 2 + 7
"""Three derivatives of gates; h - n and 1 - z; products with these, z, r and the hidden gate, and the sum for h."""
_KINDS = {
    0: (1, RNN["relu"], RNN["relu"] + 1),
    1: (1, RNN["tanh"], 3 + 1),
    2: (4, LSTM, _LSTM_BACKWARD),
    3: (3, GRU, _GRU_BACKWARD),
}
"""The modes of cuDNN, MIOpen and oneDNN: gates, operations per unit and token, and those of the gradient."""

_SOURCE = "PyTorch documentation of torch.nn.LSTM, GRU and RNN"
_CHAIN = "backpropagation through time, Werbos 1990"


@rule("_thnn_fused_lstm_cell", flops="per unit 22, 1 per given bias and gate: the products of the weights come before", source=_SOURCE)
def lstm_gates(op: Signature) -> Cost:
    """``[n, h], [n, h], [n, 4h] = gates([n, 4h], [n, 4h], [n, h])``."""
    return count(op, other=op["cx"].elements * (LSTM + 4 * _given_biases(op)))


@rule("_thnn_fused_gru_cell", flops="per unit 17, 1 per given bias and gate: the products of the weights come before", source=_SOURCE)
def gru_gates(op: Signature) -> Cost:
    """``[n, h], [n, 5h] = gates([n, 3h], [n, 3h], [n, h])``."""
    return count(op, other=op["hx"].elements * (GRU + 3 * _given_biases(op)))


def _given_biases(op: Signature) -> int:
    return sum(op.get(name) is not None for name in ("input_bias", "hidden_bias"))


@rule(
    "_thnn_fused_lstm_cell_backward", "_thnn_fused_lstm_cell_backward_impl", "_thnn_differentiable_lstm_cell_backward",
    flops="per unit 23: derivatives of gates 15, tanh 1, products and sums 7; 4 for a bias", source=_CHAIN,
)  # fmt: skip
def lstm_gates_backward(op: Signature) -> Cost:
    """``[n, 4h], [n, h], [4h] = backward([n, h], [n, h], [n, h], [n, h], [n, 4h])``."""
    biased = bool(op.get("has_bias", op.get("input_bias") is not None))
    return count(op, other=op["cx"].elements * (_LSTM_BACKWARD + 4 * biased))


@rule(
    "_thnn_fused_gru_cell_backward", "_thnn_differentiable_gru_cell_backward",
    flops="per unit 18: derivatives of gates 9, products and sums 9; 6 for both biases", source=_CHAIN,
)  # fmt: skip
def gru_gates_backward(op: Signature) -> Cost:
    """``[n, 3h], [n, 3h], [n, h], [3h], [3h] = backward([n, h], [n, 5h])``."""
    biased = bool(op.get("has_bias", op.get("input_bias") is not None))
    return count(op, other=op["grad_hy"].elements * (_GRU_BACKWARD + 6 * biased))


def _weights(op: Signature) -> list[TensorType]:
    for name in ("weight", "params"):
        if name in op.arguments:
            return [type for type in op[name] if type is not None]
    return [type for name, type in op.arguments.items() if name.startswith("weight") and isinstance(type, TensorType)]


def _units(op: Signature) -> int:
    """Hidden units of all layers and directions."""
    hidden = op["hx"][0].shape[-1] if isinstance(op.get("hx"), tuple) else op["hidden_size"]
    directions = 2 if op.get("bidirectional", False) and "mkldnn" not in op.target else 1
    return int(op["num_layers"]) * directions * hidden  # type: ignore[no-any-return]


def _tokens(op: Signature) -> int:
    x = op["input"]
    return x.shape[0] if op.get("batch_sizes") and len(x.shape) == 2 else prod(x.shape[:-1])


_FORWARD_FLOPS = "2 per MAC, 1 per bias; per unit and token 22 (LSTM), 17 (GRU) or 2 (plain)"
_BACKWARD_FLOPS = (
    "2 per MAC of two gradients (one where the weights want none), 1 per bias; per unit and token 23 (LSTM), 18 (GRU) or 4 (plain)"
)


@rule("_cudnn_rnn", "miopen_rnn", "mkldnn_rnn_layer", flops=_FORWARD_FLOPS, source=_SOURCE)
def layers(op: Signature) -> Cost:
    """``[t, n, d*h] = rnn([t, n, i], weights, hx, cx)``, padded or packed, any layers and directions."""
    _, per_unit, _ = _KINDS[op["mode"]]
    macs = sum(type.elements for type in _weights(op) if len(type.shape) == 2)
    biases = sum(type.elements for type in _weights(op) if len(type.shape) == 1)
    return count(op, macs=_tokens(op) * macs, other=_tokens(op) * (biases + _units(op) * per_unit))


@rule("_cudnn_rnn_backward", "miopen_rnn_backward", "mkldnn_rnn_layer_backward", "lstm_mps_backward", flops=_BACKWARD_FLOPS, source=_CHAIN)
def layers_backward(op: Signature) -> Cost:
    """The gradients of `layers`."""
    _, _, per_unit = _KINDS[op.get("mode", 2)]
    of_weights = bool(op.get("output_mask", (True,) * 4)[3])
    macs = sum(type.elements for type in _weights(op) if len(type.shape) == 2)
    biases = sum(type.elements for type in _weights(op) if len(type.shape) == 1) if of_weights else 0
    return count(op, macs=_tokens(op) * (1 + of_weights) * macs, other=_tokens(op) * (biases + _units(op) * per_unit))
