"""The ops that are known and have no rule, each with the reason. A total with such a call says "at least".

An op belongs here only if the front end's signature cannot tell what it does; a test compares this list with all ops of torch, and fails for one
that has a rule after all, or that torch no longer has. The higher-order ops are listed by what becomes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_NONZEROS = "its work is that of the non-zeros, whose number and place a tensor's type does not say"
_TESTS = "it exists for PyTorch's own tests"
_FILES = "its work depends on the bytes of a compressed file"


def _each(names: str, reason: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), reason)


UNCOUNTED: Final[Mapping[str, str]] = (
    _each(
        """
        aten::_coalesce aten::coalesce aten::_gather_sparse_backward aten::_sparse_addmm aten::_sparse_csr_prod aten::_sparse_csr_sum
        aten::_sparse_log_softmax aten::_sparse_log_softmax_backward_data aten::_sparse_mask_projection aten::_sparse_mm
        aten::_sparse_mm_reduce_impl aten::_sparse_mm_reduce_impl_backward aten::_sparse_softmax aten::_sparse_softmax_backward_data
        aten::_sparse_sparse_matmul aten::_sparse_sum aten::_sparse_sum_backward aten::_spsolve aten::_to_dense aten::copy_sparse_to_sparse
        aten::hspmm aten::smm aten::sparse_mask aten::sparse_sampled_addmm aten::sspaddmm sparse::qlinear sparse::qlinear_dynamic
        sparse::qlinear_relu sparse::qlinear_relu_dynamic
        """,
        _NONZEROS,
    )
    | _each(
        """
        aten::_foobar aten::_test_ambiguous_defaults aten::_test_autograd_multiple_dispatch aten::_test_autograd_multiple_dispatch_view
        aten::_test_autograd_multiple_dispatch_view_copy aten::_test_check_tensor aten::_test_functorch_fallback
        aten::_test_optional_filled_intlist aten::_test_optional_floatlist aten::_test_optional_intlist aten::_test_parallel_materialize
        aten::_test_serialization_subcmul aten::_test_string_default aten::_test_warn_in_autograd
        """,
        _TESTS,
    )
    | _each(
        """
        image::decode_gif image::decode_image image::decode_jpeg image::decode_jpegs_cuda image::decode_png image::decode_webp
        image::encode_jpeg image::encode_jpegs_cuda image::encode_png
        """,
        _FILES,
    )
    | {
        "aten::_cslt_sparse_mm_search": "it runs a product again and again, as often as it has kernels to try",
        "aten::choose_qparams_optimized": "it searches for a range, with as many steps as the values need",
        "torchvision::box_iou_rotated": "how many corners two rotated boxes share depends on the values",
    }
)
"""The reason for each op that no rule prices, by its name without an overload."""

OPENED: Final[frozenset[str]] = frozenset(
    _each(
        """
    _export_tracepoint associative_scan auto_functionalized auto_functionalized_v2 autograd_function_apply cond custom_function_call
    dynamo_bypassing_wrapper flat_apply flex_attention flex_attention_backward flex_gemm foreach_map graphsafe_run_with_rng_state hints_wrapper
    invoke_leaf_function invoke_quant invoke_quant_packed invoke_subgraph local_map_hop map_impl out_dtype print run_and_save_rng_state
    run_const_graph run_dtensor_rng_op run_with_rng_state scan strict_mode switch tag_activation_checkpoint trace_wrapped while_loop
    while_loop_stack_output with_effects wrap wrap_activation_checkpoint wrap_with_autocast wrap_with_set_grad_enabled
    """,
        "",
    )
)
"""Higher-order ops that are not priced themselves: the front end counts the ops of the functions that they are given, or says that it cannot."""

_COMPILED = "it runs compiled code, whose ops are not to be seen"
_TRITON = "it runs a Triton kernel, whose ops are not those of torch"
CLOSED: Final[Mapping[str, str]] = {
    "aoti_call_delegate": _COMPILED,
    "executorch_call_delegate": _COMPILED,
    "inductor_compiled_code": _COMPILED,
    "triton_kernel_wrapper_functional": _TRITON,
    "triton_kernel_wrapper_mutation": _TRITON,
    "inline_asm_elementwise": "it runs machine code that is given as text",
    "call_torchbind": "it calls a method of an object outside torch, which may do anything",
}
"""The reason for each higher-order op that nothing prices, by its name."""


def why_uncounted(target: str) -> str | None:
    """Why no rule prices an op, in words that follow its name; ``None`` where that is not known.

    Args:
        target: the qualified name without an overload, such as ``"aten::_sparse_mm"`` or ``"ai.onnx::StringSplit"``.
    """
    namespace, _, name = target.partition("::")
    if namespace.startswith("ai.onnx"):
        from flopscope.frontends.onnx.uncounted import UNCOUNTED as OF_ONNX

        return OF_ONNX.get(target)
    return CLOSED.get(name) if namespace == "higher_order" else UNCOUNTED.get(target)
