"""Why the library model nearest to a row of ``costs.json`` has other counts, as arithmetic on its ops.

For the reasons listed here, the published counts are exactly those of the model less the excess. The other reasons cannot be computed:
they say that other layers, or another convention, are behind the number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.conformance import published_tables as tables

if TYPE_CHECKING:
    from flopscope import Report
    from flopscope.graph import Op


class Excess(NamedTuple):
    """By how much the counts of the library model are larger: parameters, and multiply-accumulates in the row's convention."""

    params: int = 0
    macs: Fraction = Fraction(0)


def excess(report: Report, reason: str, convention: str) -> Excess | None:
    """What a reason amounts to in a model, or ``None`` for a reason that no arithmetic follows from."""
    find = _EXCESS.get(reason)
    return None if find is None else find(report, tables.CONVENTIONS[convention])


Weights = dict[str, float]


def _ops(report: Report, *kinds: str) -> Iterator[Op]:
    return (op for op in report.graph.ops if op.kind in kinds)


def _with_bias(report: Report, kind: str) -> Iterator[tuple[int, int]]:
    """Inputs per group and outputs of the layers of one kind that have a bias."""
    for op in _ops(report, kind):
        if op.signature.get("bias") is not None:
            outputs, inputs = op.signature["weight"].shape[:2]
            yield inputs, outputs


def _biases_of(kind: str) -> Callable[[Report, Weights], Excess]:
    def find(report: Report, weights: Weights) -> Excess:
        layers = list(_with_bias(report, kind))
        credit = -Fraction(weights.get("missing_bias", 0))
        return Excess(sum(outputs for _, outputs in layers), credit * sum(inputs * outputs for inputs, outputs in layers))

    return find


def _stem_norm(report: Report, weights: Weights) -> Excess:
    """A batch normalisation and a ReLU behind the first convolution, which the model lacks."""
    stem = next(_ops(report, "conv")).outputs[0].type
    return Excess(-2 * stem.shape[1], -(Fraction(weights["norm"]) + Fraction(weights["relu"])) * stem.elements)


def _squeezed_relus(report: Report, weights: Weights) -> Excess:
    """The ReLUs whose result a squeeze averages. The last mean stands before the classifier."""
    producers = [op.inputs[0].producer for op in _ops(report, "mean")]
    relus = [report.graph.ops[producer] for producer in producers if producer is not None and report.graph.ops[producer].kind == "relu"]
    return Excess(macs=Fraction(weights["relu"]) * sum(op.inputs[0].type.elements for op in relus))


def _first_shortcut(report: Report, weights: Weights) -> Excess:
    """A pooling with a window of one in the first shortcut, which reads what the stem's pooling wrote."""
    return Excess(macs=-Fraction(weights["pool"]) * next(_ops(report, "max_pool")).outputs[0].type.elements)


def _repeated_pools(report: Report, weights: Weights) -> Excess:
    """Every max pooling of a tensor that a max pooling read before."""
    seen: set[int] = set()
    windows = 0
    for op in _ops(report, "max_pool"):
        if op.inputs[0].id in seen:
            windows += op.outputs[0].type.elements * math.prod(op.signature["kernel_size"])
        seen.add(op.inputs[0].id)
    return Excess(macs=Fraction(weights["pool"]) * windows)


_EXCESS: dict[str, Callable[[Report, Any], Excess]] = {
    tables.NO_BIAS: _biases_of("linear"),
    tables.NO_CONVOLUTION_BIAS: _biases_of("conv"),
    tables.STEM_NORM: _stem_norm,
    tables.EXTRA_RELU: _squeezed_relus,
    tables.NO_OP_POOL: _first_shortcut,
    tables.DLA: _repeated_pools,
}
