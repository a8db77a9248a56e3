"""G4: elementwise ops are not negligible.

They have few FLOPs, but read and write whole tensors (Ma et al. 2018, arXiv:1807.11164, section 2, G4). Counted are arithmetic,
activations, normalisation and softmax, and depthwise convolutions, which the paper counts here for their access per FLOP. Biases that a
layer adds itself are part of that layer.

What a fusing compiler can save is stated beside: a value that is read once, by an elementwise op, need be neither written nor read. Views
are not seen through, and normalisation by statistics of its own is not fused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

from flopscope.analyses import totals
from flopscope.analyses.advice.finding import Finding, Place, gathered, percent
from flopscope.analyses.advice.layers import layer_of
from flopscope.cost import ZERO, Cost
from flopscope.graph import Graph, Op, Signature
from flopscope.rules.registry import rule_for

LIMIT = Fraction(1, 4)
"""The share of all bytes read and written that elementwise ops may have."""

_GROUPS = {
    "elementwise": "arithmetic", "complex_numbers": "arithmetic", "activation": "activations", "normalisation": "normalisation",
    "softmax": "softmax",
}  # fmt: skip
DEPTHWISE = "depthwise convolutions"


def group_of(op: Signature) -> str | None:
    """Which group of elementwise ops an op belongs to, or ``None``."""
    found = rule_for(op)
    group = None if found is None else _GROUPS.get(found.family)
    if group is None and (op.kind in ("conv", "conv_transpose") or op.kind.startswith("quantized::conv")):
        layer = layer_of(op)
        return DEPTHWISE if layer is not None and layer.depthwise else None
    return group


@dataclass(frozen=True, slots=True)
class Fusable:
    """What fusing elementwise ops into the ops before them saves."""

    bytes: int
    folded: int
    """Batch normalisations in evaluation that directly follow a convolution or linear layer, whose weights can take them in."""
    normalisations: int
    """How many there are in all."""


def elementwise_ops(graph: Graph) -> Finding:
    """What elementwise ops cost in a graph."""
    costs: dict[str, Cost] = {}
    calls: Counter[str] = Counter()
    places: list[Place] = []
    for op in graph.ops:
        group = group_of(op.signature)
        if group is None:
            continue
        cost = totals.cost_of(op.signature) * op.times
        costs[group] = costs.get(group, ZERO) + cost
        calls[group] += op.times
        places.append(Place(op.scope, op.target, _what(op, group), cost.access_bytes, op.times))
    whole = totals.sum_of(totals.counted(graph.ops))
    amount, flops = sum(cost.access_bytes for cost in costs.values()), sum(cost.flops for cost in costs.values())
    saved = fusable(graph)
    return Finding(
        "G4", "few elementwise operations", amount < LIMIT * whole.access_bytes or not amount,
        f"less than {percent(LIMIT.numerator, LIMIT.denominator)} of the bytes", amount, whole.access_bytes, "bytes",
        said=_said(whole, costs, calls, flops, saved), advice=_advice(saved), places=gathered(places),
        facts={
            "ops": sum(calls.values()), "flops": flops, "total_flops": whole.flops, "fusable_bytes": saved.bytes,
            "foldable_batch_norms": saved.folded,
            "groups": {name: {"ops": calls[name], "flops": cost.flops, "access_bytes": cost.access_bytes} for name, cost in costs.items()},
        },
    )  # fmt: skip


def _what(op: Op, group: str) -> str:
    """What an op does, and how large the result is."""
    size = ("x".join(map(str, op.outputs[0].shape)) or "one number") if op.outputs else "nothing"
    return f"{'depthwise conv' if group == DEPTHWISE else op.kind} of {size}"


def _said(whole: Cost, costs: dict[str, Cost], calls: Counter[str], flops: int, saved: Fusable) -> str:
    if not costs:
        return "There are none."
    amount = sum(cost.access_bytes for cost in costs.values())
    ordered = sorted(costs, key=lambda group: -costs[group].access_bytes)
    parts = ", ".join(f"{group} {percent(costs[group].access_bytes, whole.access_bytes)} ({calls[group]:,})" for group in ordered)
    return (
        f"{sum(calls.values()):,} elementwise ops take {percent(flops, whole.flops)} of the FLOPs, but "
        f"{percent(amount, whole.access_bytes)} of the bytes: {parts}. Fused into the ops before them where that is possible, they would "
        f"save {saved.bytes:,} bytes, {percent(saved.bytes, whole.access_bytes)} of all."
    )


def _advice(saved: Fusable) -> str:
    fold = f"Fold {saved.folded:,} of {saved.normalisations:,} batch normalisations into the layers before them. " if saved.folded else ""
    return (
        f"{fold}Let a compiler (torch.compile, an inference engine) fuse activations and additions. Leave out activations and shortcuts "
        "that are not needed, above all on wide layers."
    )


def fusable(graph: Graph) -> Fusable:
    """What fusing elementwise ops into the ops before them saves."""
    uses: Counter[int] = Counter(value.id for op in graph.ops for value in op.inputs)
    uses.update(value.id for value in graph.outputs)
    makers = {value.id: op for op in graph.ops for value in op.outputs}
    saved = folded = normalisations = 0
    for op in graph.ops:
        if not _fuses(op.signature):
            continue
        normalises = op.kind.startswith("batch_norm")
        normalisations += op.times if normalises else 0
        between = next((value for value in op.inputs if uses[value.id] == 1 and _is_stored_by(makers.get(value.id), op)), None)
        if between is None:
            continue
        maker = makers[between.id]
        saved += 2 * between.type.bytes(between.type.elements) * op.times
        layer = layer_of(maker.signature)
        if normalises and layer is not None:
            folded += op.times
    return Fusable(saved, folded, normalisations)


def _fuses(op: Signature) -> bool:
    """Whether each element that an op writes depends on the same element of what it reads, and nothing else that it has to wait for."""
    if group_of(op) in ("arithmetic", "activations"):
        return True
    by_batch = op.get("training", op.get("train", False)) or op.get("running_mean") is None
    return op.kind == "batch_norm_inference" or (op.kind == "batch_norm" and not by_batch)


def _is_stored_by(maker: Op | None, reader: Op) -> bool:
    """Whether a value was computed and written only to be read by an op of the same size."""
    if maker is None or maker.signature.effect == "view" or len(maker.outputs) != 1 or maker.times != reader.times:
        return False
    return bool(totals.cost_of(maker.signature).flops) and bool(reader.outputs) and maker.outputs[0].shape == reader.outputs[0].shape
