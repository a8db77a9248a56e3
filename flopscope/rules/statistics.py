"""Statistics of samples: covariances, histograms, differences and integrals."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.complex_numbers import MACS, is_complex
from flopscope.rules.registry import count, prod, rule
from flopscope.rules.sizes import log2_ceil, quotient

_DEFINITION = "definition of the op"


@rule(
    "cov", "corrcoef",
    flops="2 per MAC of the product of the centred samples; 2 per element to centre them, 1 per mean, 1 per covariance; weights 1 per element; a correlation 2 per entry, 1 per root",
    source=_DEFINITION,
)  # fmt: skip
def covariance(op: Signature) -> Cost:
    """``[v, v] = cov([v, n])`` of v variables and n samples."""
    x = op["self"]
    samples = x.shape[-1] if x.shape else 1
    variables = quotient(x.elements, samples)
    weighted = sum(op.get(name) is not None for name in ("fweights", "aweights"))
    other = (2 + 2 * weighted) * x.elements + variables + variables * variables
    if op.kind == "corrcoef":
        other += 2 * variables * variables + variables
    real = MACS if is_complex(op) else 1
    return count(op, macs=real * variables * variables * samples, other=(2 if real == MACS else 1) * other)


@rule(
    "histogram", "histogramdd", "_histogramdd_from_bin_cts", "_histogramdd_from_bin_tensors", "_histogramdd_bin_edges",
    flops="per coordinate 3 to find an even bin (subtract, scale, round), or ceil(log2(bins + 1)) comparisons; 1 per sample; 2 per bin for a density",
    source=_DEFINITION,
)  # fmt: skip
def histogram(op: Signature) -> Cost:
    """``[b], [b + 1] = histogram([n])``; of points ``[n, d]`` in d dimensions."""
    x = op["self"]
    edges = op.get("bins")
    edges = edges if isinstance(edges, tuple) else (edges,)
    given = [edge for edge in edges if edge is not None and not isinstance(edge, int)]
    points = x.elements if op.kind == "histogram" else quotient(x.elements, x.shape[-1])
    per_point = sum(log2_ceil(edge.elements) for edge in given) if given else 3 * quotient(x.elements, points)
    if op.kind == "_histogramdd_bin_edges":
        return count(op, other=2 * x.elements)
    density = 2 * op.output.elements if op.get("density", False) else 0
    return count(op, other=points * (per_point + 1) + density)


@rule("diff", flops="1 per difference, of every order up to the last", source="NumPy documentation of diff")
def diff(op: Signature) -> Cost:
    """``[*, d - n] = diff([*, d], n)``: the k-th differences of a row are one fewer than those before."""
    out = op.output
    order = op.get("n", 1)
    length = out.shape[op.get("dim", -1)]
    rows = quotient(out.elements, length) if out.elements else 0
    return count(op, other=rows * (order * length + quotient(order * (order - 1), 2)))


@rule(
    "gradient",
    flops="2 per output element (subtract, divide); 5 where coordinates are given (three products and two additions)",
    source="NumPy documentation of gradient",
)
def gradient(op: Signature) -> Cost:
    """``[*], ... = gradient([*])``: one result per dimension."""
    spacing = op.get("spacing")
    uneven = isinstance(spacing, tuple) and any(not isinstance(item, (int, float)) for item in spacing)
    return count(op, other=(5 if uneven else 2) * sum(type.elements for type in op.outputs))


@rule(
    "trapezoid", "trapz", "cumulative_trapezoid",
    flops="3 per interval (two values added, times the step, summed), 1 to halve a result; 1 more where the step is a difference of positions",
    source="definition of the trapezoidal rule",
)  # fmt: skip
def trapezoid(op: Signature) -> Cost:
    """``[*] = trapezoid([*, d])``: d - 1 intervals per row."""
    y = op["y"]
    length = y.shape[op.get("dim", -1)]
    intervals = y.elements - quotient(y.elements, length)
    return count(op, other=(3 + (op.get("x") is not None)) * intervals + op.output.elements)


@rule("nonzero_static", flops="1 per input element", source="one comparison each")
def nonzero_static(op: Signature) -> Cost:
    """``[size, d] = nonzero_static([*], size)``."""
    return count(op, other=prod(op["self"].shape))
