"""Data movement: no arithmetic. A view moves nothing; a copy moves every element both ways; a lookup reads only what it looks up."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature, TensorType
from flopscope.rules.registry import VIEW, count, free, prod, rule
from flopscope.rules.sizes import largest, smallest

_NO_FLOPS = "none: elements are moved, not computed"
_SOURCE = "definition of the op"

# Every op whose results all share memory with its operands is priced by this rule, whatever its kind.
rule(VIEW, flops="none: the result is the same memory under another shape", source=_SOURCE)(free)


@rule(
    "clone", "contiguous", "_to_copy", "to", "type_as", "detach", "alias", "lift_fresh", "lift_fresh_copy", "lift",
    "reshape", "flatten", "unflatten", "view_as", "reshape_as", "ravel", "permute_copy", "expand_copy",
    "cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack", "row_stack", "block_diag", "cartesian_prod", "meshgrid",
    "split_copy", "split_with_sizes_copy", "unbind_copy", "broadcast_tensors", "atleast_1d", "atleast_2d", "atleast_3d",
    "repeat", "tile", "repeat_interleave", "roll", "flip", "fliplr", "flipud", "rot90", "tril", "triu", "diagflat", "diag_embed", "channel_shuffle",
    "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "im2col", "unfold", "_pad_circular", "_pad_enum",
    "complex", "view_as_real_copy", "view_as_complex_copy", "real", "imag", "resolve_conj", "resolve_neg", "tril_indices", "triu_indices",
    "masked_fill", "where", "as_strided_copy", "as_strided_scatter", "slice_scatter", "select_scatter", "diagonal_scatter", "vander",
    "combinations", "_unsafe_view", "_pack_padded_sequence", "_pad_packed_sequence",
    "_conj", "conj", "adjoint", "detach_copy", "squeeze_copy", "unsqueeze_copy", "t_copy", "transpose_copy", "view_copy", "_reshape_copy",
    "_cast_Float", "_cast_Half", "_autocast_to_full_precision",
    "_autocast_to_reduced_precision", "to_dense", "movedim", "swapaxes", "expand", "transpose", "squeeze", "unsqueeze",
    "unbind", "split", "split_with_sizes", "chunk", "tensor_split", "hsplit", "vsplit", "dsplit", "unsafe_split", "unsafe_chunk", "unsafe_split_with_sizes",
    "view", "select", "slice", "permute", "narrow", "as_strided", "t", "diagonal", "expand_as", "broadcast_to", "matrix_H", "mT", "mH", "numpy_T", "moveaxis",
    "_cast_Byte", "_cast_Char", "_cast_Double", "_cast_Int", "_cast_Long", "_cast_Short", "chalf", "_conj_copy", "_neg_view_copy", "alias_copy",
    "_fw_primal_copy", "_make_dual_copy", "_reshape_alias_copy", "unfold_copy", "values_copy", "indices_copy", "_values_copy",
    "_indices_copy", "crow_indices_copy", "col_indices_copy", "ccol_indices_copy", "row_indices_copy", "_sparse_broadcast_to_copy",
    "_chunk_cat", "_stack", "pad_sequence", "flatten_dense_tensors", "_to_cpu", "_pin_memory", "pin_memory", "lu_unpack", "prims::rev",
    "prims::collapse", "prims::copy_strided", "prims::device_put", "image::read_file", "image::write_file",
    flops=_NO_FLOPS, source=_SOURCE,
)  # fmt: skip
def move(op: Signature) -> Cost:
    """Every input is read once and every output is written once."""
    return count(op)


@rule("slice_copy", "select_copy", "narrow_copy", "diagonal_copy", "linalg_diagonal", "diag", flops=_NO_FLOPS, source=_SOURCE)
def part(op: Signature) -> Cost:
    """``[m] = x[...]``: of the input only the elements that are returned are read; `diag` of a vector reads that vector."""
    x, out = op.inputs[0], op.output
    spread = op.kind == "diag" and len(x.shape) == 1
    return count(op, reads=[(x.stored_elements if spread else out.elements, x)])


@rule("pad", "constant_pad_nd", flops=_NO_FLOPS, source=_SOURCE)
def pad(op: Signature) -> Cost:
    """``[n + before + after] = pad([n], (before, after))``: what a negative amount cuts off is not read."""
    x, amounts = op.inputs[0], op.get("pad", ())
    if not isinstance(amounts, tuple) or not any(isinstance(amount, int) and amount < 0 for amount in amounts):
        return count(op)
    kept = list(x.shape)
    for position, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True), 1):
        kept[-position] += smallest(before, 0) + smallest(after, 0)
    return count(op, reads=[(prod(kept), x)])


@rule("copy", "_foreach_copy", "prims::copy_to", flops=_NO_FLOPS, source=_SOURCE)
def overwrite(op: Signature) -> Cost:
    """``target[...] = source``: what the target held before is not read."""
    return count(op, reads=[(type.stored_elements, type) for type in op.inputs[len(op.outputs) :]])


@rule("_copy_from", "_copy_from_and_resize", flops=_NO_FLOPS, source=_SOURCE)
def copy_from(op: Signature) -> Cost:
    """``target[...] = source``, with the source first."""
    source = op.inputs[0]
    return count(op, reads=[(source.stored_elements, source)], writes=[(source.elements, op.inputs[1])])


@rule("col2im", flops="1 addition per input element", source="PyTorch documentation of torch.nn.Fold: overlapping values are summed")
def fold(op: Signature) -> Cost:
    """``[n, c, h, w] = fold([n, c*kh*kw, l])``."""
    return count(op, other=op.inputs[0].elements)


@rule(
    "zeros", "ones", "full", "eye", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "scalar_tensor", "fill", "zero",
    "fill_diagonal", "randperm", "one_hot", "_foreach_zero", "from_file", "_new_zeros_with_same_feature_meta",
    flops="none: constants are written", source=_SOURCE,
)  # fmt: skip
def write(op: Signature) -> Cost:
    """The output is written, and nothing is read (but for `one_hot`, its indices)."""
    return count(op, reads=[(type.elements, type) for type in op.inputs] if op.kind == "one_hot" else [])


def _rows(op: Signature, source_name: str) -> list[tuple[int, TensorType]]:
    """The looked-up elements of the source, and all other inputs (the indices)."""
    others = {name: value for name, value in op.arguments.items() if name != source_name}
    indices = Signature(op.target, op.kind, others, (), written_only=op.written_only).read
    return [(op.output.elements, op[source_name]), *((type.stored_elements, type) for type in indices)]


@rule(
    "embedding",
    "index_select",
    "index",
    "_unsafe_index",
    "gather",
    "take",
    "take_along_dim",
    "masked_select",
    "_unsafe_masked_index",
    flops=_NO_FLOPS,
    source=_SOURCE,
)
def look_up(op: Signature) -> Cost:
    """``out = source[indices]``: reads the elements that it returns, and the indices."""
    return count(op, reads=_rows(op, "weight" if op.kind == "embedding" else next(iter(op.arguments))))


@rule(
    "embedding_bag",
    "_embedding_bag",
    "_embedding_bag_forward_only",
    flops="1 per looked-up element for the sum, 1 per output for a mean",
    source="PyTorch documentation of torch.nn.EmbeddingBag",
)
def embedding_bag(op: Signature) -> Cost:
    """``[b, d] = embedding_bag([v, d], [l], offsets)``."""
    weight, indices, out = op["weight"], op["indices"], op.output
    looked_up = indices.elements * weight.shape[1]
    weighted = looked_up if op.get("per_sample_weights") is not None else 0
    average = out.elements if op.get("mode", 0) == 1 else 0
    reads = [(looked_up, weight), *((type.elements, type) for type in op.inputs if type is not weight)]
    return count(op, other=looked_up + weighted + average, reads=reads, writes=[(out.elements, out)])


@rule(
    "index_put",
    "_index_put_impl",
    "scatter",
    "index_copy",
    "masked_scatter",
    "index_fill",
    "put",
    "_unsafe_index_put",
    flops=_NO_FLOPS,
    source=_SOURCE,
)
def put(op: Signature) -> Cost:
    """``source[indices] = values``: in place only the values move; out of place the source is copied first."""
    return _put(op, 0)


@rule(
    "scatter_add",
    "scatter_reduce",
    "index_add",
    "index_reduce",
    "_unsafe_masked_index_put_accumulate",
    flops="1 per scattered element",
    source=_SOURCE,
)
def put_and_combine(op: Signature) -> Cost:
    """``source[indices] += values``."""
    return _put(op, 1)


def _put(op: Signature, flops_per_element: int) -> Cost:
    """What moves is the part of the target that the indices name, however small the values are that are spread over it."""
    target, *others = op.inputs
    moved = _named_elements(op)
    accumulates = flops_per_element or int(bool(op.get("accumulate", False)))
    reads = [(type.stored_elements, type) for type in others] + ([(moved, target)] if accumulates else [])
    if op.effect != "inplace":
        reads.append((target.elements, target))
    written = moved if op.effect == "inplace" else op.output.elements + moved
    return count(op, other=accumulates * moved, reads=reads, writes=[(written, target)])


def _named_elements(op: Signature) -> int:
    """How many elements of the target the indices name; of a mask as many as it has, which is an upper bound."""
    target, index = op.inputs[0], op.get("index")
    if "indices" in op.arguments:
        return _indexed_elements(target, op["indices"])
    if index is None:
        return largest(0, *(type.elements for type in op.inputs[1:]))  # type: ignore[no-any-return]
    if op.kind.startswith("index_"):
        dim = op["dim"] % len(target.shape) if target.shape else None
        return index.elements * prod(size for position, size in enumerate(target.shape) if position != dim)  # type: ignore[no-any-return]
    return index.elements  # type: ignore[no-any-return]


def _indexed_elements(target: TensorType, indices: tuple[TensorType | None, ...]) -> int:
    """``target[indices]``: index tensors broadcast; dimensions without one are taken whole."""
    dim, whole, named = 0, 1, 1
    for index in indices:
        if index is None:
            whole *= target.shape[dim]
        else:
            named = largest(named, index.elements)
        dim += len(index.shape) if index is not None and index.dtype in ("bool", "uint8") else 1
    return named * whole * prod(target.shape[dim:])
