"""Products with sparse matrices: only the elements that are stored are multiplied."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature, TensorType
from flopscope.rules.registry import count, free, prod, rule

_SOURCE = "Golub & Van Loan, Matrix Computations, section 11.1.7 (sparse matrix-vector products)"


def _macs(a: TensorType, b: TensorType, transposed: bool = False) -> int:
    """One multiply-accumulate per stored element of the sparse factor and column (or row) of the other; of two sparse ones an upper bound."""
    if a.nonzero is not None:
        columns = b.shape[-2] if transposed else b.shape[-1] if len(b.shape) > 1 else 1
        return a.nonzero * columns
    rows = prod(a.shape[:-1])
    return (b.nonzero or 0) * rows


@rule("sparse_matmul", "sparse__sparse_mm", flops="2 per MAC, of stored elements", source=_SOURCE)
def sparse_matmul(op: Signature) -> Cost:
    """``[n, p] = matmul([n, m], [m, p])`` with a sparse factor."""
    a, b = op.inputs[:2]
    return count(op, macs=_macs(a, b))


@rule("sparse_addmm", "sparse__sparse_addmm", flops="2 per MAC, of stored elements; 1 per output element", source=_SOURCE)
def sparse_addmm(op: Signature) -> Cost:
    """``[n, p] = addmm(input, [n, m], [m, p])`` with a sparse factor."""
    _, a, b = op.inputs[:3]
    return count(op, macs=_macs(a, b), other=op.output.elements)


@rule("sparse_linear", flops="2 per MAC, of stored elements; 1 per output element for the bias", source=_SOURCE)
def sparse_linear(op: Signature) -> Cost:
    """``[*, o] = linear([*, i], [o, i], [o]?)`` with a sparse input or weight."""
    bias = op.output.elements if op.get("bias") is not None else 0
    return count(op, macs=_macs(op["input"], op["weight"], transposed=True), other=bias)


@rule(
    "sparse_mul", "sparse_div", "sparse_add", "sparse_sub", "sparse_neg", "sparse_relu", "sparse_abs", "sparse_coalesce", "sparse__coalesce",
    flops="1 per stored element of each operand",
    source="definition",
)  # fmt: skip
def sparse_elementwise(op: Signature) -> Cost:
    """Elementwise arithmetic on what is stored."""
    return count(op, other=sum(type.stored_elements for type in op.read))


@rule(
    "sparse_to_dense", "sparse__to_dense",     "sparse__to_sparse", "sparse_to_sparse_csr", "sparse_to_sparse", "sparse__to_sparse_csr", "sparse_clone",
    "sparse_to", "sparse__to_copy", "sparse_t", "sparse_transpose",
    flops="none: elements are moved",
    source="PyTorch documentation of torch.sparse",
)  # fmt: skip
def sparse_layout(op: Signature) -> Cost:
    """Another layout of the same elements."""
    return count(op)


@rule(
    "sparse__values", "sparse_values", "sparse__indices", "sparse_indices", "sparse_crow_indices", "sparse_col_indices", "sparse_detach",
    "sparse__coalesced", "sparse_is_coalesced", "sparse_alias",
    flops="none: nothing is moved",
    source="PyTorch documentation of torch.sparse",
)  # fmt: skip
def sparse_parts(op: Signature) -> Cost:
    """What a sparse tensor is made of."""
    return free(op)
