"""Matrix products and other contractions. A product with an inner dimension of n counts n multiply-accumulates per output element.

Source of the counts: Golub & Van Loan, "Matrix Computations", section 1.1.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.complex_numbers import contraction
from flopscope.rules.registry import count, expect, prod, rule
from flopscope.rules.sizes import broadcast, smallest

_SOURCE = "Golub & Van Loan, Matrix Computations, section 1.1"


@rule("linear", flops="2 per MAC, 1 per output element for the bias", source=_SOURCE)
def linear(op: Signature) -> Cost:
    """``[*, o] = linear([*, i], [o, i], [o]?)``."""
    x, weight = op["input"], op["weight"]
    expect(x.shape[-1] == weight.shape[-1], "[*, o] = linear([*, i], [o, i])")
    return contraction(op, macs=op.output.elements * weight.shape[-1], additions=op.output.elements if op.get("bias") is not None else 0)


@rule("matmul", "inner", flops="2 per MAC", source=_SOURCE)
def matmul(op: Signature) -> Cost:
    """``[*, n, p] = matmul([*, n, m], [*, m, p])``, where either may be a vector; for `inner` the shared dimension is the last of both."""
    a, b = op["a"], op["b"]
    if not a.shape or not b.shape:  # `inner` of a scalar is an elementwise product
        return contraction(op, macs=op.output.elements)
    inner = b.shape[-1] if op.kind == "inner" or len(b.shape) == 1 else b.shape[-2]
    expect(a.shape[-1] == inner, "[*, n, p] = matmul([*, n, m], [*, m, p])")
    return contraction(op, macs=op.output.elements * inner)


@rule("outer", flops="2 per MAC", source=_SOURCE)
def outer(op: Signature) -> Cost:
    """``[n, m] = outer([n], [m])``: a product with an inner dimension of one."""
    return contraction(op, macs=op.output.elements)


def _sum(op: Signature, macs: int) -> Cost:
    """A product that is added to the first input, which is ignored where its factor ``beta`` is zero: nothing is read then, or added."""
    if op.get("beta", 1) == 0:
        return contraction(op, macs=macs, reads=[(type.stored_elements, type) for type in op.read[1:]])
    return contraction(op, macs=macs, additions=op.output.elements)


@rule("addmm", flops="2 per MAC, 1 per output element for the addition, where beta is not 0", source=_SOURCE)
def addmm(op: Signature) -> Cost:
    """``[*, n, p] = addmm(input, [*, n, m], [*, m, p])``; `baddbmm` has a batch, `addmv` a vector on the right."""
    a, b = op["a"], op["b"]
    expect(a.shape[-1] == b.shape[-2 if len(b.shape) > 1 else 0], "[*, n, p] = addmm(input, [*, n, m], [*, m, p])")
    return _sum(op, op.output.elements * a.shape[-1])


@rule("addbmm", flops="2 per MAC, 1 per output element for the addition, where beta is not 0", source=_SOURCE)
def addbmm(op: Signature) -> Cost:
    """``[n, p] = addbmm([n, p], [b, n, m], [b, m, p])``: the products of all batches are summed."""
    a, b = op["a"], op["b"]
    expect(a.shape[0] == b.shape[0] and a.shape[-1] == b.shape[-2], "[n, p] = addbmm([n, p], [b, n, m], [b, m, p])")
    return _sum(op, a.elements * b.shape[-1])


@rule("addr", flops="2 per MAC, 1 per output element for the addition", source=_SOURCE)
def addr(op: Signature) -> Cost:
    """``[n, m] = addr([n, m], [n], [m])``."""
    return contraction(op, macs=op.output.elements, additions=op.output.elements)


@rule("grouped_mm", flops="2 per MAC", source="Gale et al. 2022, arXiv:2211.15841 (MegaBlocks), section 4")
def grouped_mm(op: Signature) -> Cost:
    """Matrix products of groups, whose sizes only the data knows.

    ``[m, n] = grouped_mm([m, k], [g, k, n])``: each row meets the matrix of its group. ``[g, m, n] = grouped_mm([g, m, k], [g, k, n])``.
    ``[m, n] = grouped_mm([g, m, k], [k, n])``: each column belongs to one group. ``[g, m, n] = grouped_mm([m, k], [k, n])``: the groups
    share out k. Every row (or column, or k) belongs to one group, so the sum does not depend on the data. At most as many matrices are read
    as there are rows to meet them; fewer, where rows belong together.
    """
    a, b = op["a"], op["b"]
    rows, inner, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    expect(inner == b.shape[-2], "grouped_mm([.., m, k], [.., k, n])")
    groups = a.shape[0] if len(a.shape) == 3 and len(b.shape) == 3 else 1
    reads = [(type.stored_elements, type) for type in op.read]
    if len(a.shape) == 2 and len(b.shape) == 3:
        reads[1] = (smallest(b.shape[0], rows) * inner * columns, b)
    return count(op, macs=groups * rows * inner * columns, reads=reads)


@rule("chain_matmul", "multi_dot", flops="2 per MAC", source="Cormen et al., Introduction to Algorithms, matrix-chain multiplication")
def multi_dot(op: Signature) -> Cost:
    """``multi_dot([a, b], [b, c], ...)`` in the order with the fewest multiply-accumulates, which is the one that runs."""
    shapes = [type.shape for type in op["factors"]]
    sizes = [shapes[0][0] if len(shapes[0]) > 1 else 1, *(shape[0] for shape in shapes[1:]), shapes[-1][1] if len(shapes[-1]) > 1 else 1]
    return contraction(op, macs=_cheapest_chain(sizes))


def _cheapest_chain(sizes: list[int]) -> int:
    factors = len(sizes) - 1
    best = {(i, i): 0 for i in range(factors)}
    for length in range(1, factors):
        for i in range(factors - length):
            j = i + length
            best[i, j] = smallest(*(best[i, k] + best[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1] for k in range(i, j)))
    return best[0, factors - 1]


@rule(
    "bilinear", flops="2 per MAC, 1 per output element for the bias", source="PyTorch documentation of torch.nn.Bilinear: y = x1' A x2 + b"
)
def bilinear(op: Signature) -> Cost:
    """``[*, o] = bilinear([*, i], [*, j], [o, i, j], [o]?)``: ``x1' A`` takes ``o*i*j`` products per row, ``(x1' A) x2`` another ``o*j``."""
    _, i, j = op["weight"].shape
    expect(op["input1"].shape[-1] == i and op["input2"].shape[-1] == j, "[*, o] = bilinear([*, i], [*, j], [o, i, j])")
    out = op.output.elements
    return contraction(op, macs=out * i * j + out * j, additions=out if op.get("bias") is not None else 0)


@rule("trilinear", flops="2 per MAC", source="definition: the sum of i1 * i2 * i3 over sumdim")
def trilinear(op: Signature) -> Cost:
    """``_trilinear(i1, i2, i3, ...)``, to which `bilinear` falls apart: a product of the first two, then one with the third."""
    shapes = [list(type.shape) for type in op.inputs[:3]]
    for shape, name in zip(shapes, ("expand1", "expand2", "expand3"), strict=True):
        for dim in op[name]:
            shape.insert(dim, 1)
    first = prod(broadcast(a, b) for a, b in zip(shapes[0], shapes[1], strict=True))
    return contraction(op, macs=first + prod(broadcast(*sizes) for sizes in zip(*shapes, strict=True)))


@rule("tensordot", flops="2 per MAC", source="NumPy documentation of tensordot")
def tensordot(op: Signature) -> Cost:
    """The product over the dimensions ``dims_a`` of a and ``dims_b`` of b."""
    a = op["a"]
    return contraction(op, macs=op.output.elements * prod(a.shape[dim] for dim in op["dims_a"]))
