"""Counts a report the way the published tables count: in the quantities and conventions of ``published_tables``.

Each quantity is read off the ops themselves. Multiply-accumulates come from the report; everything else from shapes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from flopscope.report.rows import OpRow
from tests.conformance.published_tables import CONVENTIONS

if TYPE_CHECKING:
    from flopscope import Report
    from flopscope.graph import Op

_LAYERS = ("conv", "conv_transpose", "linear")


def count(report: Report, convention: str) -> Fraction:
    """What a model costs in one of the conventions of the published tables, exactly."""
    counted = quantities(report)
    return sum((Fraction(weight) * counted[quantity] for quantity, weight in CONVENTIONS[convention].items()), Fraction(0))


def quantities(report: Report) -> Counter[str]:
    """All quantities of a model; one that does not occur is zero."""
    found: Counter[str] = Counter()
    squeezes: list[int] = []
    for op, row in zip(report.graph.ops, report.ops, strict=True):
        for quantity, amount in _of_op(op, row):
            found[quantity] += amount
        if _is_global_pool(row):
            squeezes.append(_pooled(row))
    found["squeeze"] = sum(squeezes[:-1])  # the last one stands before the classifier
    found["shuffle"] = _shuffled(report.graph.ops)
    return found


def _of_op(op: Op, row: OpRow) -> Iterator[tuple[str, int]]:
    yield "conv_linear" if row.kind in _LAYERS else "matmul", row.cost.macs
    if row.kind in _LAYERS and op.signature.get("bias") is None:
        yield "missing_bias", math.prod(op.signature["weight"].shape[:2])
    if row.kind in _ELEMENTWISE:
        yield _ELEMENTWISE[row.kind], math.prod(row.inputs[0])
    elif row.kind == "hardtanh" and (row.attributes["min_val"], row.attributes["max_val"]) == (0, 6):
        yield "relu", math.prod(row.inputs[0])
    elif row.kind in _POOLS:
        yield "pool", _pooled(row)


_ELEMENTWISE = {
    "batch_norm": "norm",
    "group_norm": "norm",
    "instance_norm": "norm",
    "relu": "relu",
    "relu6": "relu",
    "leaky_relu": "leaky_relu",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "softmax": "softmax",
    "upsample_nearest": "upsample",
}


def _pooled(row: OpRow) -> int:
    return _POOLS[row.kind](row)


def _windows(row: OpRow) -> int:
    kernel = row.attributes["kernel_size"]
    height, width = kernel if len(kernel) == 2 else kernel * 2
    return int(height * width * math.prod(row.outputs[0]))


def _adaptive(row: OpRow) -> int:
    return 0 if row.inputs[0] == row.outputs[0] else math.prod(row.inputs[0])


def _mean(row: OpRow) -> int:
    rank = len(row.inputs[0])
    dims = sorted(dim % rank for dim in row.attributes.get("dim", ()))
    return math.prod(row.inputs[0]) if rank == 4 and dims == [2, 3] else 0


_POOLS: dict[str, Callable[[OpRow], int]] = {
    "max_pool": _windows,
    "avg_pool": _windows,
    "adaptive_avg_pool": _adaptive,
    "adaptive_max_pool": _adaptive,
    "mean": _mean,
}


def _is_global_pool(row: OpRow) -> bool:
    if row.kind == "mean":
        return _mean(row) > 0
    return row.kind.startswith("adaptive_") and row.outputs[0][-2:] == (1, 1)


def _shuffled(ops: list[Op]) -> int:
    """Elements that are copied because a view into groups was transposed."""
    total = 0
    for op in ops:
        source = op.inputs[0].producer if op.kind == "contiguous" and op.signature.effect == "fresh" else None
        if source is not None and ops[source].kind == "transpose" and len(op.inputs[0].shape) == 5:
            total += op.inputs[0].type.elements
    return total
