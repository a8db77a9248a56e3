"""Reductions and scans."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.complex_numbers import MACS, PRODUCT, addition, is_complex
from flopscope.rules.linalg import spectral_norm_flops
from flopscope.rules.registry import count, expect, rule
from flopscope.rules.sizes import broadcast, quotient, smallest

_DEFINITION = "the definition, one operation per element read"


@rule(
    "sum", "nansum", "prod", "max", "min", "amax", "amin", "argmax", "argmin", "any", "all", "count_nonzero", "sum_to_size", "hash_tensor",
    "_is_all_true", "_is_any_true", "prims::xor_sum",
    flops="1 per input element: add, multiply or compare; of complex numbers 2 to add, 6 to multiply", source=_DEFINITION,
)  # fmt: skip
def reduce(op: Signature) -> Cost:
    """``[*] = reduce([*, d], dim)``; with two tensors `max` and `min` are elementwise."""
    elementwise = op.get("other") is not None
    each = PRODUCT if op.kind == "prod" and is_complex(op) else addition(op)
    return count(op, other=each * (op.output.elements if elementwise else op.inputs[0].elements))


@rule("trace", flops="1 per element of the diagonal", source=_DEFINITION)
def trace(op: Signature) -> Cost:
    """``[] = trace([n, m])``."""
    diagonal = smallest(*op.inputs[0].shape)
    return count(op, other=diagonal, reads=[(diagonal, op.inputs[0])])


@rule("aminmax", "_aminmax", flops="2 per input element: two comparisons", source=_DEFINITION)
def aminmax(op: Signature) -> Cost:
    """``[*], [*] = aminmax([*, d], dim)``."""
    return count(op, other=2 * op.inputs[0].elements)


@rule("mean", "nanmean", flops="1 per input element, 1 per output element; of complex numbers 2", source=_DEFINITION)
def mean(op: Signature) -> Cost:
    """``[*] = mean([*, d], dim)``."""
    return count(op, other=addition(op) * (op.inputs[0].elements + op.output.elements))


@rule(
    "var",
    "std",
    "var_mean",
    "std_mean",
    flops="4 per input element (two passes), 2 per output element, 1 for a root",
    source="two-pass algorithm",
)
def variance(op: Signature) -> Cost:
    """``[*] = var([*, d], dim)``."""
    return count(op, other=4 * op.inputs[0].elements + (2 + op.kind.startswith("std")) * op.output.elements)


@rule(
    "norm", "linalg_vector_norm", "linalg_norm", "frobenius_norm", "native_norm", "norm_except_dim", "linalg__powsum",
    flops="2 per input element, 1 per output element; spectral norms of a matrix as its singular values", source="definition of a p-norm",
)  # fmt: skip
def norm(op: Signature) -> Cost:
    """``[*] = |[*, d]|``."""
    dims = op.get("dim")
    is_matrix = len(op.inputs[0].shape) == 2 if dims is None else isinstance(dims, tuple) and len(dims) == 2
    if op.kind == "linalg_norm" and is_matrix and op.get("ord") in (2, -2, "nuc"):
        return count(op, other=(MACS if is_complex(op) else 1) * spectral_norm_flops(op.inputs[0], dims))
    return count(op, other=2 * op.inputs[0].elements + op.output.elements)


@rule("dist", flops="3 per element, 1 for the root", source="definition of a p-norm")
def dist(op: Signature) -> Cost:
    """``[] = |a - b|``."""
    return count(op, other=3 * op.inputs[0].elements + 1)


@rule(
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "_cummax_helper",
    "_cummin_helper",
    flops="1 per element; of complex numbers 2 to add, 6 to multiply",
    source=_DEFINITION,
)
def scan(op: Signature) -> Cost:
    """``x = cumsum(x, dim)``: one operation per element, whatever the length of the dimension."""
    each = PRODUCT if op.kind == "cumprod" and is_complex(op) else addition(op)
    return count(op, other=each * op.inputs[0].elements)


@rule("logcumsumexp", "_logcumsumexp", flops="6 per element", source="PyTorch documentation of torch.logcumsumexp")
def logcumsumexp(op: Signature) -> Cost:
    """``x = logcumsumexp(x, dim)``."""
    return count(op, other=6 * op.inputs[0].elements)


@rule(
    "cdist",
    "_cdist_forward",
    "_euclidean_dist",
    flops="3 per pair and coordinate (subtract, power, add), 1 per pair for the root",
    source="definition",
)
def cdist(op: Signature) -> Cost:
    """``[*, n, m] = cdist([*, n, d], [*, m, d])``."""
    x1, x2 = op.inputs[0], op.inputs[1]
    expect(x1.shape[-1] == x2.shape[-1], "[*, n, m] = cdist([*, n, d], [*, m, d])")
    return count(op, other=op.output.elements * (3 * x1.shape[-1] + 1))


@rule(
    "pdist",
    "_pdist_forward",
    flops="3 per pair and coordinate (subtract, power, add), 1 per pair for the root; n (n - 1) / 2 pairs",
    source="definition",
)
def pdist(op: Signature) -> Cost:
    """``[n (n - 1) / 2] = pdist([n, d])``."""
    n, d = op.inputs[0].shape
    return count(op, other=quotient(n * (n - 1), 2) * (3 * d + 1))


@rule(
    "segment_reduce",
    flops="1 per element: add, multiply or compare; a mean 1 more per output element",
    source="PyTorch documentation of torch.segment_reduce",
)
def segment_reduce(op: Signature) -> Cost:
    """``[s, *] = segment_reduce([n, *], lengths)``."""
    return count(op, other=op.inputs[0].elements + (op.output.elements if op.get("reduce") == "mean" else 0))


@rule("cosine_similarity", flops="6 per coordinate of each pair of vectors, 5 per pair", source="definition: a.b / (|a| |b|)")
def cosine_similarity(op: Signature) -> Cost:
    """``[*] = cosine_similarity([*, d], [*, d], dim)``."""
    x1, x2 = op.inputs[0], op.inputs[1]
    rank = max(len(x1.shape), len(x2.shape))
    if rank == 0:
        return count(op, other=6 + 5)
    dim = op.get("dim", 1) % rank - rank
    length = broadcast(*(type.shape[dim] for type in (x1, x2) if len(type.shape) >= -dim))
    return count(op, other=(6 * length + 5) * op.output.elements)
