"""Sparse and nested tensors: what a signature says without their number of non-zeros.

A tensor type holds the shape of a tensor, not how many of its elements are stored. Priced here are the ops whose dense operands say how much
is done; the others are listed in `uncounted`.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, rule
from flopscope.rules.sizes import log2_ceil

_NO_FLOPS = "none: elements are moved, not computed"
_SOURCE = "definition of the op"


@rule(
    "sparse_coo_tensor", "_sparse_coo_tensor_unsafe", "_sparse_coo_tensor_with_dims", "_sparse_coo_tensor_with_dims_and_tensors",
    "sparse_compressed_tensor", "_sparse_compressed_tensor_unsafe", "sparse_csr_tensor", "_sparse_csr_tensor_unsafe", "sparse_csc_tensor",
    "_sparse_csc_tensor_unsafe", "sparse_bsr_tensor", "_sparse_bsr_tensor_unsafe", "sparse_bsc_tensor", "_sparse_bsc_tensor_unsafe",
    "_sparse_compressed_tensor_with_dims", "_spdiags",
    flops=_NO_FLOPS, source=_SOURCE,
)  # fmt: skip
def build(op: Signature) -> Cost:
    """``sparse = tensor(indices, values, size)``: what is given is read, and stored once."""
    given = [(type.elements, type) for type in op.read]
    return count(op, reads=given, writes=given)


@rule("_convert_indices_from_coo_to_csr", "_convert_indices_from_csr_to_coo", flops="1 per index: a count or a comparison", source=_SOURCE)
def convert_indices(op: Signature) -> Cost:
    """``[r + 1] = crow([nnz], r)``."""
    return count(op, other=sum(type.elements for type in op.read))


@rule(
    "_to_sparse", "to_sparse", "_to_sparse_csr", "to_sparse_csr", "_to_sparse_csc", "to_sparse_csc", "_to_sparse_bsr", "to_sparse_bsr", "_to_sparse_bsc",
    "to_sparse_bsc",
    flops="1 per element of the dense tensor: a comparison with zero", source=_SOURCE,
)  # fmt: skip
def to_sparse(op: Signature) -> Cost:
    """``sparse = to_sparse([*])``: every element is read; at most as many are stored."""
    return count(op, other=op.inputs[0].elements)


@rule(
    "_sparse_semi_structured_tile",
    flops="per tile of 4 by 4 a sort of its 16 elements, 64 comparisons",
    source="Hu et al. 2024, arXiv:2404.01847, section 3.1",
)
def tile(op: Signature) -> Cost:
    """``packed = tile([m, n])``: two of four are kept in rows and in columns."""
    return count(op, other=op["input"].elements * log2_ceil(16))


@rule("_rowwise_prune", flops="none: rows are selected by a mask", source=_SOURCE)
def prune(op: Signature) -> Cost:
    """``[m', d], [m] = prune([m, d], [m])``."""
    return count(op)


@rule(
    "_nested_tensor_from_mask", "_nested_tensor_from_tensor_list", "_nested_from_padded", "_nested_from_padded_and_nested_example",
    "_nested_from_padded_tensor", "nested_to_padded_tensor", "to_padded_tensor", "_jagged_to_padded_dense_forward",
    "_padded_dense_to_jagged_forward", "_nested_tensor_size", "_nested_tensor_strides", "_nested_tensor_storage_offsets",
    "_nested_compute_contiguous_strides_offsets", "_nested_view_from_buffer_copy", "_nested_view_from_jagged_copy", "_nested_get_values_copy",
    flops=_NO_FLOPS, source=_SOURCE,
)  # fmt: skip
def nested(op: Signature) -> Cost:
    """``[t, *] = from_padded([b, l, *], lengths)``: every input is read once and every output is written once."""
    return count(op)
