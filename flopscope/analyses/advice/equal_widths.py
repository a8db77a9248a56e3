"""G1: equal channel widths minimise memory access.

A 1x1 convolution from c1 to c2 channels over hw positions takes ``B = hw c1 c2`` multiply-accumulates and accesses
``hw (c1 + c2) + c1 c2 >= 2 sqrt(hw B) + B / hw`` elements, with equality where c1 = c2 (Ma et al. 2018, arXiv:1807.11164, section 2, G1).

The general form, of which this is the case p = q = hw, g = 1: with p positions in, q positions out (a stride makes them differ, a batch or
the tokens of a linear layer are positions too) and g groups, ``B = q c1 c2 / g``, and the access is ``p c1 + q c2 + c1 c2 / g``. At
constant B the weights ``c1 c2 / g = B / q`` are constant, and so is the product of the input, ``X = p c1``, and the output, ``Y = q c2``.
So ``X + Y >= 2 sqrt(X Y)``: the access is at least ``2 sqrt(g p B) + B / q``, with equality where input and output are of equal size. The
excess is ``(sqrt X - sqrt Y)^2``. It is counted in whole bytes above the least whole number that the bound allows, hence never too high.
"""

from __future__ import annotations

from fractions import Fraction

from flopscope.analyses import totals
from flopscope.analyses.advice.finding import Finding, Place, gathered, percent
from flopscope.analyses.advice.layers import Layer, layer_of, root_up
from flopscope.graph import Graph

LIMIT = Fraction(1, 100)
"""The share of all bytes read and written that unequal widths may cost."""


def least_access(layer: Layer) -> int:
    """The elements that any pointwise layer with as many multiply-accumulates, positions and groups must access: the bound, rounded up."""
    return root_up(4 * layer.x.stored_elements * layer.y.elements) + layer.weights


def excess_bytes(layer: Layer) -> int:
    """The bytes of input and output above the least that these multiply-accumulates allow."""
    read, written = layer.read_bytes, layer.written_bytes
    return read + written - root_up(4 * read * written)


def equal_widths(graph: Graph) -> Finding:
    """What unequal widths cost in the pointwise layers of a graph."""
    places, own, least, layers = [], 0, 0, 0
    returned = {value.id for value in graph.outputs}
    for op in graph.ops:
        layer = layer_of(op.signature)
        if layer is None or not layer.pointwise:
            continue
        excess = excess_bytes(layer) * op.times
        accessed = totals.cost_of(op.signature).access_bytes * op.times
        layers, own, least = layers + op.times, own + accessed, least + accessed - excess
        ends = any(value.id in returned for value in op.outputs)
        places.append(Place(op.scope, op.target, _sizes(layer, ends=ends), excess, op.times))
    amount, total = own - least, totals.sum_of(totals.counted(graph.ops)).access_bytes
    unequal = sum(place.ops for place in places if place.amount)
    return Finding(
        "G1", "equal channel widths", amount < LIMIT * total or not amount,
        f"less than {percent(LIMIT.numerator, LIMIT.denominator)} of the bytes", amount, total, "bytes",
        said=f"{unequal:,} of {layers:,} pointwise layers (1x1 convolutions and linear layers) have unequal widths, which is why they "
        f"access {own:,} bytes and not {least:,}, which would do for the same MACs: {percent(amount, own)} less.",
        advice="Bring the widths before and after such a layer closer to each other, at the same product, as said for each: narrow a wide "
        "hidden layer, and make the layers around it wider.",
        places=gathered(places),
        facts={"layers": layers, "unequal": unequal, "access_bytes": own, "least_bytes": least},
    )  # fmt: skip


def _sizes(layer: Layer, *, ends: bool) -> str:
    """The widths, the positions, and the widths that would access the least at as many multiply-accumulates, unless the task gives one."""
    before, after = layer.channels_in, layer.channels_out
    groups = f" in {layer.groups} groups" if layer.groups > 1 else ""
    sizes = f"{before} -> {after}{groups} at {layer.positions} positions"
    if ends:
        return f"{sizes}; makes the output"
    best = f"{_scaled(before, layer.written_bytes, layer.read_bytes)} -> {_scaled(after, layer.read_bytes, layer.written_bytes)}"
    return f"{sizes}; least at {best}"


def _scaled(width: int, over: int, under: int) -> int:
    """``width * sqrt(over / under)``, rounded."""
    return (root_up(4 * width * width * over // max(1, under)) + 1) // 2
