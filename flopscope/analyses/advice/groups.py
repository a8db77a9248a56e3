"""G2: groups raise memory access.

A 1x1 convolution in g groups takes ``B = hw c1 c2 / g`` multiply-accumulates and accesses ``hw (c1 + c2) + c1 c2 / g`` elements. The more
groups, the wider it is for the same B, and the more it reads and writes (Ma et al. 2018, arXiv:1807.11164, section 2, G2). Two comparisons
with a single group at the same B, for any kernel, with the input X and the output Y, whose weights ``B / hw`` stay the same:

- both widths divided by ``sqrt(g)``, as in table 2 of the paper (128 channels in one group, 256 in four): the excess is
  ``(X + Y) (1 - 1 / sqrt(g))``. This is the one that is reported. It leaves the ratio of the widths alone, so it adds to that of G1 and
  never counts the same byte twice;
- the input unchanged and the output divided by g, as in equation 2 of the paper: ``Y (1 - 1 / g)``. It is among the facts.

Both are rounded down to whole bytes. Depthwise convolutions, whose groups have a single channel, belong to G4.
"""

from __future__ import annotations

from fractions import Fraction

from flopscope.analyses import totals
from flopscope.analyses.advice.finding import Finding, Place, gathered, percent
from flopscope.analyses.advice.layers import Layer, layer_of, root_up
from flopscope.graph import Graph

LIMIT = Fraction(1, 100)
"""The share of all bytes read and written that groups may cost."""


def excess_bytes(layer: Layer) -> int:
    """The bytes above those of the same layer in one group, both widths divided by the root of the groups."""
    moved = layer.read_bytes + layer.written_bytes
    return moved - root_up(-(-moved * moved // layer.groups))


def excess_bytes_same_input(layer: Layer) -> int:
    """The bytes above those of a layer in one group with the same input and as many multiply-accumulates."""
    return layer.written_bytes - -(-layer.written_bytes // layer.groups)


def groups(graph: Graph) -> Finding:
    """What groups cost in the convolutions of a graph."""
    places, own, same_input, count = [], 0, 0, 0
    for op in graph.ops:
        layer = layer_of(op.signature)
        if layer is None or layer.groups == 1 or layer.depthwise:
            continue
        count += op.times
        own += totals.cost_of(op.signature).access_bytes * op.times
        same_input += excess_bytes_same_input(layer) * op.times
        places.append(Place(op.scope, op.target, _sizes(layer), excess_bytes(layer) * op.times, op.times))
    amount, total = sum(place.amount for place in places), totals.sum_of(totals.counted(graph.ops)).access_bytes
    return Finding(
        "G2", "few groups", amount < LIMIT * total or not amount, f"less than {percent(LIMIT.numerator, LIMIT.denominator)} of the bytes",
        amount, total, "bytes",
        said=f"{count:,} convolutions in groups access {own:,} bytes, {amount:,} more than in one group at the same MACs."
        if count
        else "No convolution has groups (depthwise ones count under G4).",
        advice="Use fewer groups and fewer channels: one group has the same MACs with the channels divided by the root of the groups, as "
        "said for each.",
        places=gathered(places),
        facts={"convolutions": count, "access_bytes": own, "excess_bytes_same_input": same_input},
    )  # fmt: skip


def _sizes(layer: Layer) -> str:
    before, after = (_over_root(width, layer.groups) for width in (layer.channels_in, layer.channels_out))
    kernel = "" if layer.kernel == 1 else f", {layer.kernel} taps"
    sizes = f"{layer.channels_in} -> {layer.channels_out} in {layer.groups} groups{kernel} at {layer.positions} positions"
    return f"{sizes}; in one group {before} -> {after}"


def _over_root(width: int, number: int) -> int:
    """``width / sqrt(number)``, rounded."""
    return (root_up(4 * width * width // number) + 1) // 2
