"""Ops that compute nothing and move nothing, each group with the reason. A cost of zero is written down here or by `VIEW`, nowhere else."""

from __future__ import annotations

from flopscope.rules.registry import free, rule

_SOURCE = "definition of the op"


def _zero(reason: str, *names: str) -> None:
    rule(*names, flops=f"none: {reason}", source=_SOURCE)(free)


_zero(
    "a fact about a tensor that Python reads, no element of it",
    "size", "stride", "sym_size", "sym_stride", "sym_numel", "sym_storage_offset", "sym_is_contiguous", "numel", "dim", "storage_offset",
    "get_device", "is_contiguous", "is_coalesced", "is_complex", "is_conj", "is_distributed", "is_floating_point", "is_inference", "is_leaf",
    "is_neg", "is_pinned", "is_set_to", "is_signed", "is_same_size", "_is_zerotensor", "requires_grad", "output_nr", "_version", "retains_grad",
    "result_type", "qscheme", "q_scale", "q_zero_point", "q_per_channel_axis", "dense_dim", "sparse_dim", "_dimI", "_dimV", "_nnz",
    "_debug_has_internal_overlap", "_has_same_storage_numel", "_has_compatible_shallow_copy_type", "_shape_as_tensor", "_nested_get_ragged_idx",
    "_nested_get_lengths", "_nested_get_offsets", "_nested_get_min_seqlen", "_nested_get_max_seqlen", "_nested_get_jagged_dummy",
    "mkldnn::_nbytes", "mkldnn::data_ptr", "mkldnn::_get_mkldnn_serialized_md",
)  # fmt: skip
_zero(
    "a choice between kernels, made from shapes and devices",
    "_fused_sdp_choice", "cudnn_is_acceptable", "_use_cudnn_ctc_loss", "_use_miopen_ctc_loss", "_nested_tensor_from_mask_left_aligned",
)  # fmt: skip
_zero(
    "a check, or a single value that Python reads",
    "_assert_async", "_assert_scalar", "_assert_tensor_metadata", "_functional_assert_async", "_functional_assert_scalar", "sym_constrain_range",
    "sym_constrain_range_for_size", "_functional_sym_constrain_range", "_functional_sym_constrain_range_for_size", "_local_scalar_dense",
    "item", "is_nonzero", "prims::item", "_linalg_check_errors", "_validate_compressed_sparse_indices", "_validate_sparse_compressed_tensor_args",
    "_validate_sparse_coo_tensor_args", "_validate_sparse_csr_tensor_args", "_validate_sparse_csc_tensor_args", "_validate_sparse_bsr_tensor_args",
    "_validate_sparse_bsc_tensor_args", "_make_dep_token", "prims::_make_token", "prims::_sink_tokens",
)  # fmt: skip
_zero(
    "memory is reserved, and nothing is written",
    "empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "empty_permuted", "empty_quantized", "_empty_affine_quantized",
    "_empty_per_channel_affine_quantized", "prims::empty", "prims::empty_strided", "prims::empty_permuted", "_efficientzerotensor",
)  # fmt: skip
_zero(
    "a tensor gets another shape, memory or mark, and no element changes",
    "resize", "resize_as", "resize_as_sparse", "_resize_output", "sparse_resize", "sparse_resize_and_clear", "set", "set_data", "shallow_copy_data",
    "data", "record_stream", "retain_grad", "prims::resize", "inductor::resize_storage_bytes_", "inductor::_alloc_from_pool",
    "inductor::_reinterpret_tensor", "_coalesced", "_propagate_xla_data", "_add_batch_dim", "_remove_batch_dim", "_make_dual", "_unpack_dual",
    "_fw_primal", "_lazy_clone", "unflatten_dense_tensors", "_reshape_from_tensor", "swapdims", "_reshape_alias",
    "view_as_real", "view_as_complex", "_neg_view", "slice_inverse", "indices", "values", "_indices", "_values", "crow_indices", "col_indices",
    "ccol_indices", "row_indices", "_nested_get_values", "_nested_view_from_buffer", "_nested_view_from_jagged", "_sparse_broadcast_to",
    "prims::view_of", "prims::view_of_dtype", "prims::broadcast_in_dim", "prims::collapse_view", "prims::split_dim",
)  # fmt: skip
_zero(
    "a result is waited for",
    "_c10d_functional::wait_tensor", "_c10d_functional::wait_tensors", "c10d_functional::wait_tensor",
)  # fmt: skip
_zero(
    "a mark for the profiler",
    "profiler::_record_function_enter_new", "profiler::_record_function_enter", "profiler::_record_function_exit",
)  # fmt: skip
_zero("the backward pass is a call back into autograd, whose ops are counted one by one", "_backward", "get_gradients")
