"""Recurrent layers. ONNX stacks both directions in the first dimension of its weights; the rules want the matrices of each direction."""

from __future__ import annotations

from flopscope.errors import InputError
from flopscope.frontends.onnx.ops.table import lowers
from flopscope.frontends.onnx.values import Call, Slot

_KINDS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}


@lowers(*_KINDS)
def recurrent(call: Call) -> None:
    """``[t, d, n, h] = LSTM([t, n, i], [d, g*h, i], [d, g*h, h], [d, 2*g*h]?)``: one layer, one or both directions.

    Raises:
        InputError: the weights do not fit the input.
    """
    x, bias = call[0], call.get(3)
    if not len(x.shape) == len(call[1].shape) == len(call[2].shape) == 3 or x.shape[2] != call[1].shape[2]:
        raise InputError(f"an input {list(x.shape)} does not fit weights {list(call[1].shape)} and {list(call[2].shape)}")
    if bias is not None and len(bias.shape) != 2:
        raise InputError(f"its bias has the shape {list(bias.shape)}, where [directions, 2 gates hidden] is needed")
    matrices = [part for weight in (call[1], call[2]) for part in _directions(call, weight, weight.shape[1:], 1)]
    biases = _directions(call, bias, (bias.shape[1] // 2,), 2) if bias is not None else []
    states = tuple(slot for slot in (call.get(5), call.get(6)) if slot is not None)
    names = call.attr("activations", [])
    if call.op == "LSTM" and call.get(7) is not None:
        _peepholes(call, x, call[7])
    call.add(
        _KINDS[call.op], call.outputs, input=x, hx=states or None, params=(*matrices, *biases), num_layers=1,
        bidirectional=call[1].shape[0] == 2, nonlinearity="relu" if names[:1] == ["Relu"] else "tanh",
    )  # fmt: skip


def _peepholes(call: Call, x: Slot, weights: Slot) -> None:
    """The state of the cell looks into three gates: for each a product and an addition per unit and token."""
    products, sums = (call.between((*x.shape[:2], *weights.shape), x.dtype) for _ in range(2))
    call.add("mul", products, input=weights)
    call.add("add", sums, input=products)


def _directions(call: Call, weight: Slot, shape: tuple[int, ...], per_direction: int) -> list[Slot]:
    """The parts of a stacked weight: views of it."""
    parts = [call.between(shape, weight.dtype) for _ in range(per_direction * weight.shape[0])]
    call.add("unbind", parts, view=True, input=weight)
    return parts
