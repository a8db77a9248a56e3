"""Recurrent layers: every weight matrix meets every token once.

``weights`` hold the matrices [gates*h, i], [gates*h, h] (and [p, h] for a projection) of every layer and direction, and their biases.
"""

from __future__ import annotations

from collections.abc import Sequence

from flopscope.cost import Cost
from flopscope.graph import Signature, TensorType
from flopscope.rules.activation import FLOPS_PER_ELEMENT
from flopscope.rules.registry import count, prod, rule
from flopscope.rules.sizes import quotient

_SIGMOID, _TANH = FLOPS_PER_ELEMENT["sigmoid"], FLOPS_PER_ELEMENT["tanh"]

# Operations per hidden unit and token besides the matrix products and biases. The two products are added: 1 per gate.
LSTM = 4 + 3 * _SIGMOID + 2 * _TANH + 4  # i, f, o sigmoid; g and c' tanh; c' = f*c + i*g (3), h = o*tanh(c') (1)
GRU = 3 + 2 * _SIGMOID + _TANH + 5  # r, z sigmoid; n tanh; r * (..) (1), h = (1 - z)*n + z*h (4)
RNN = {"tanh": 1 + _TANH, "relu": 1 + FLOPS_PER_ELEMENT["relu"]}


def _tokens(op: Signature) -> int:
    """Steps times batch: of a packed sequence all elements, of a padded one the first two dimensions."""
    x = op["input"]
    return x.shape[0] if "batch_sizes" in op.arguments else prod(x.shape[:-1])


def _layers(op: Signature, gates: int, per_unit: int) -> Cost:
    tokens = _tokens(op)
    weights: Sequence[TensorType] = op["params"]
    matrices = [type for type in weights if len(type.shape) == 2]
    biases = [type for type in weights if len(type.shape) == 1]
    directions = op["num_layers"] * (2 if op.get("bidirectional", False) else 1)
    units = quotient(matrices[0].shape[0], gates)
    macs = tokens * sum(type.elements for type in matrices)
    other = tokens * (sum(type.elements for type in biases) + directions * units * per_unit)
    return count(op, macs=macs, other=other)


@rule(
    "lstm",
    flops="2 per MAC, 1 per bias; per unit and token 22: 3 sigmoids, 2 tanh, additions and products",
    source="PyTorch documentation of torch.nn.LSTM",
)
def lstm(op: Signature) -> Cost:
    """``[t, n, d*h] = lstm([t, n, i], (h0, c0), params)``, padded or packed, any layers, directions and projection."""
    return _layers(op, 4, LSTM)


@rule(
    "gru",
    flops="2 per MAC, 1 per bias; per unit and token 17: 2 sigmoids, tanh, additions and products",
    source="PyTorch documentation of torch.nn.GRU",
)
def gru(op: Signature) -> Cost:
    """``[t, n, d*h] = gru([t, n, i], h0, params)``, padded or packed, any layers and directions."""
    return _layers(op, 3, GRU)


@rule("rnn", flops="2 per MAC, 1 per bias; per unit and token 2: addition and activation", source="PyTorch documentation of torch.nn.RNN")
def rnn(op: Signature) -> Cost:
    """``[t, n, d*h] = rnn([t, n, i], h0, params)``, padded or packed, any layers and directions."""
    return _layers(op, 1, RNN[op["nonlinearity"]])


def _cell(op: Signature, gates: int, per_unit: int) -> Cost:
    batch = prod(op["input"].shape[:-1])
    biases = sum(op[name].elements for name in ("b_ih", "b_hh") if op.get(name) is not None)
    units = quotient(op["w_ih"].shape[0], gates)
    return count(op, macs=batch * (op["w_ih"].elements + op["w_hh"].elements), other=batch * (biases + units * per_unit))


@rule("lstm_cell", flops="as one step of lstm", source="PyTorch documentation of torch.nn.LSTMCell")
def lstm_cell(op: Signature) -> Cost:
    """``[n, h], [n, h] = lstm_cell([n, i], (h, c), [4h, i], [4h, h], [4h]?, [4h]?)``."""
    return _cell(op, 4, LSTM)


@rule("gru_cell", flops="as one step of gru", source="PyTorch documentation of torch.nn.GRUCell")
def gru_cell(op: Signature) -> Cost:
    """``[n, h] = gru_cell([n, i], h, [3h, i], [3h, h], [3h]?, [3h]?)``."""
    return _cell(op, 3, GRU)


@rule("rnn_cell", flops="as one step of rnn", source="PyTorch documentation of torch.nn.RNNCell")
def rnn_cell(op: Signature) -> Cost:
    """``[n, h] = rnn_cell([n, i], h, [h, i], [h, h], [h]?, [h]?)``."""
    return _cell(op, 1, RNN[op["nonlinearity"]])
