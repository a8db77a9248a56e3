"""Sorting and searching: comparisons."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, rule
from flopscope.rules.sizes import log2_ceil

_SOURCE = "Knuth, The Art of Computer Programming 3, section 5.3"


def _length(op: Signature) -> int:
    shape = op.inputs[0].shape
    return shape[0 if op.kind == "msort" else op.get("dim", -1)] if shape else 1


@rule(
    "sort",
    "argsort",
    "msort",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "unique_dim_consecutive",
    "mode",
    "quantile",
    "nanquantile",
    flops="n ceil(log2 n) comparisons per row of n",
    source=_SOURCE,
)
def sort(op: Signature) -> Cost:
    """``[*, n] = sort([*, n], dim)``."""
    elements = op.inputs[0].elements
    whole = "unique" in op.kind or ("quantile" in op.kind and op.get("dim") is None)
    length = elements if whole else _length(op)
    return count(op, other=elements * log2_ceil(length))


@rule("median", "nanmedian", flops="n ceil(log2(n // 2 + 2)) comparisons per row of n: a heap of half the elements", source=_SOURCE)
def median(op: Signature) -> Cost:
    """``[*] = median([*, n], dim)``."""
    elements = op.inputs[0].elements
    length = elements if op.get("dim") is None else _length(op)
    return count(op, other=elements * log2_ceil(length // 2 + 2))


@rule(
    "topk",
    "kthvalue",
    flops="n ceil(log2(k + 1)) comparisons per row of n: a heap of k elements",
    source=_SOURCE,
)
def topk(op: Signature) -> Cost:
    """``[*, k] = topk([*, n], k, dim)``."""
    return count(op, other=op.inputs[0].elements * log2_ceil(op.get("k", 1) + 1))


@rule("searchsorted", "bucketize", flops="ceil(log2(n + 1)) comparisons per value", source="binary search")
def searchsorted(op: Signature) -> Cost:
    """``[*] = searchsorted([n], [*])``."""
    boundaries = op.get("sorted_sequence", op.get("boundaries"))
    return count(op, other=op.output.elements * log2_ceil(boundaries.shape[-1] + 1))


@rule(
    "bincount",
    "histc",
    "nonzero",
    "argwhere",
    "nonzero_numpy",
    "isin",
    "multinomial",
    flops="1 per input element",
    source="one comparison or addition each",
)
def search(op: Signature) -> Cost:
    """``[m] = nonzero([n])``."""
    return count(op, other=op.inputs[0].elements)


@rule("equal", "allclose", flops="1 per element", source="one comparison each")
def compare(op: Signature) -> Cost:
    """``bool = equal(x, y)``."""
    return count(op, other=op.inputs[0].elements)
