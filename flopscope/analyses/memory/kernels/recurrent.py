"""What recurrent layers take on the CPU.

LSTMs run in oneDNN (aten/src/ATen/native/mkldnn/RNN.cpp), the others step by step (``FullLayer`` and ``FullBidirectionalLayer`` in
aten/src/ATen/native/RNN.cpp), where the products with the inputs of all steps are made at once.
"""

from __future__ import annotations

from flopscope.analyses.memory.kernels.convolutions import padded
from flopscope.analyses.memory.kernels.host import Host
from flopscope.analyses.memory.kernels.registry import bytes_of, copy_bytes, kernel
from flopscope.frontends.torch.onednn import page_bytes, row_elements
from flopscope.graph import Signature, TensorType

LANES = 32
"""oneDNN pads the gates of packed weights to so many units."""
KEPT_BY_ALL, KEPT_BY_SAMPLE = 12_000, 16_000
"""What its products keep beside the gates, in bytes: fitted to measurements, of which the worst is 100 KB off."""


@kernel("aten::lstm")
def lstm(op: Signature, _: Host) -> int | None:
    """Per layer and direction the result, its last states, packed weights and all gates; the result of the layer before lives on."""
    source = op["input"]
    if not isinstance(source, TensorType) or len(source.shape) != 3 or source.dtype != "float32" or "batch_sizes" in op.arguments:
        return None
    directions = 2 if op.get("bidirectional") else 1
    first, second, width = source.shape
    steps, batch = (second, first) if op.get("batch_first") else (first, second)
    units = op.output.shape[-1] // directions
    kept = _in_steps(source) if op.get("batch_first") else copy_bytes(source)
    most, before = 0, 0
    for _layer in range(op["num_layers"]):
        result, states = steps * batch * units * 4, 2 * batch * units * 4
        held = 0
        for _direction in range(directions):
            held += result + states
            most = max(most, kept + before + held + _packed(width, units) + _gates(steps, batch, width, units))
        joined = directions * result if directions > 1 else 0
        most = max(most, kept + before + held + joined)
        kept += directions * states
        before, width = directions * result, directions * units
    return max(most, kept + before + sum(bytes_of(type) for type in op.outputs[1:]))


@kernel("aten::gru", "aten::rnn_tanh", "aten::rnn_relu")
def stepwise(op: Signature, _: Host) -> int | None:
    """Per layer and direction the products with all inputs, the state of each step, and these joined; the layer before lives on."""
    source = op["input"]
    if not isinstance(source, TensorType) or len(source.shape) != 3 or "batch_sizes" in op.arguments:
        return None
    directions = 2 if op.get("bidirectional") else 1
    first, second, _width = source.shape
    steps, batch = (second, first) if op.get("batch_first") else (first, second)
    state = source.bytes(batch * op.output.shape[-1] // directions)
    gates = 3 if op.kind == "gru" else 1
    most = kept = before = 0
    for _layer in range(op["num_layers"]):
        products, result = gates * steps * state, steps * state
        if directions == 1:
            in_last_step = (steps - 1) * state + (2 * gates - 1) * state
            growth = products + max(2 * result, in_last_step)
        else:  # the states of both directions, these joined by step, and then by direction
            growth = products + 6 * result
        most = max(most, kept + before + growth)
        kept += directions * state
        before = directions * result
    return max(most, kept + before + sum(bytes_of(type) for type in op.outputs[1:]))


@kernel("aten::mkldnn_rnn_layer")
def layer(op: Signature, _: Host) -> int | None:
    """One direction of an LSTM layer: its results, the sum of the biases, both weights with rows as oneDNN has them, and its scratchpad."""
    sizes = _sizes_of(op)
    if sizes is None:
        return None
    steps, batch, inputs, units = sizes
    results = sum(bytes_of(type) for type in op.outputs)
    return results + 16 * units + _weights(inputs, units) + _scratchpad(steps, batch, units)


@kernel("aten::mkldnn_rnn_layer_backward")
def layer_backward(op: Signature, _: Host) -> int | None:
    """Its gradients, those of the weights once more where oneDNN's rows are longer, both weights, two biases, and the scratchpad."""
    sizes = _sizes_of(op)
    if sizes is None:
        return None
    steps, batch, inputs, units = sizes
    gradients = 4 * (steps * batch * inputs + 2 * batch * units + 4 * units * (inputs + units + 1))
    again = sum(16 * units * row_elements(width) for width in (inputs, units) if row_elements(width) != width)
    given = op.get("grad_output")
    made = copy_bytes(given) if given is not None else 4 * steps * batch * units
    made += sum(4 * batch * units for name in ("grad_hy", "grad_cy") if op.get(name) is None)  # as zeros
    return made + gradients + again + 2 * 16 * units + _weights(inputs, units) + _scratchpad(steps, batch, units)


def _sizes_of(op: Signature) -> tuple[int, int, int, int] | None:
    """Steps, batch, inputs and units of a layer in float32; ``None`` of any other."""
    source = op["input"]
    if source.dtype != "float32" or len(source.shape) != 3:
        return None
    return (*source.shape, op["hidden_size"])


def _weights(inputs: int, units: int) -> int:
    return 4 * (inputs + units) * row_elements(4 * units)


def _scratchpad(steps: int, batch: int, units: int) -> int:
    """The gates of all steps, two states of one, and what does not depend on the sizes; measured, equal to the byte."""
    one = batch * row_elements(units)
    return page_bytes(steps * batch * row_elements(4 * units), one, one, 1) + 568


def _in_steps(source: TensorType) -> int:
    """What a copy of samples takes that lies step by step, if they do not lie so already."""
    strides = source.strides or (source.shape[1] * source.shape[2], source.shape[2], 1)
    shape = source.shape[1], source.shape[0], source.shape[2]
    return copy_bytes(TensorType.of(shape, source.dtype, (strides[1], strides[0], strides[2])))


def _packed(width: int, units: int) -> int:
    """The weights of both products, their gates padded, and the sum of the biases."""
    return (width + units) * 4 * padded(units, LANES) * 4 + 4 * units * 4


def _gates(steps: int, batch: int, width: int, units: int) -> int:
    """The four gates of all steps, and a copy of an input that is wider than the state."""
    return steps * batch * (4 * units + (width if width > units else 0)) * 4 + KEPT_BY_ALL + KEPT_BY_SAMPLE * batch
