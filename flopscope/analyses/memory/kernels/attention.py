"""Scratch memory of fused attention on the CPU, from aten/src/ATen/native/cpu/FlashAttentionKernel.cpp."""

from __future__ import annotations

import math

from flopscope.analyses.memory.kernels.host import Host
from flopscope.analyses.memory.kernels.registry import bytes_of, copy_bytes, kernel, outputs_bytes
from flopscope.graph import Signature, TensorType, bits_of

KEY_BLOCK = 512
ACCUMULATED = 4
"""Bytes of a number in which sums are kept."""


def _query_block(queries: int) -> int:
    """How many queries a thread takes at a time."""
    block = 256 if queries >= 768 else 64 if queries >= 192 else 32
    return min(block, queries)


def _buffers(query: TensorType, key: TensorType, host: Host) -> int:
    queries, width = query.shape[-2:]
    keys = key.shape[-2]
    rows, columns = _query_block(queries), min(KEY_BLOCK, keys)
    accumulated = 8 if query.dtype == "float64" else ACCUMULATED
    per_thread = rows * (columns + 2 + width) * accumulated
    if query.dtype in ("bfloat16", "float16"):
        per_thread += rows * columns * 2
    return per_thread * host.threads


def _sums(query: TensorType) -> int:
    return math.prod(query.shape[:-1]) * (8 if query.dtype == "float64" else ACCUMULATED)


def is_flash(op: Signature) -> bool:
    """Whether torch takes the fused kernel: ``use_flash_attention_cpp`` in transformers/sdp_utils_cpp.cpp."""
    query, key, value = op["query"], op["key"], op["value"]
    same_width = query.shape[-1] == key.shape[-1] == value.shape[-1]
    packed = all(type.strides is None or type.strides[-1] == 1 for type in (query, key, value))
    ranks = {len(type.shape) for type in (query, key, value)}
    mask = op.get("attn_mask")
    if mask is not None and len(mask.shape) not in (2, 4):
        return False
    known = query.dtype in ("float32", "float64", "bfloat16", "float16")
    return ranks == {4} and same_width and packed and known and not op.get("dropout_p", 0.0) and 0 not in (*query.shape, *key.shape)


@kernel("aten::scaled_dot_product_attention")
def attention(op: Signature, host: Host) -> int | None:
    """The result, a sum per query, buffers per thread, and a mask of booleans as numbers; unknown where torch takes another way."""
    query, mask = op["query"], op.get("attn_mask")
    if not is_flash(op):
        return None
    numbers = bytes_of(mask) * bits_of(query.dtype) // 8 if mask is not None and mask.dtype == "bool" else 0
    return numbers + bytes_of(op.output) + _sums(query) + _buffers(query, op["key"], host)


@kernel("aten::_safe_softmax")
def safe_softmax(op: Signature, _: Host) -> int | None:
    """The result, which products are minus infinity, and which rows are nothing else (native/transformers/attention.cpp)."""
    source: TensorType = op["self"] if "self" in op.arguments else op["input"]
    rows: int = source.elements // max(source.shape[-1], 1)
    return bytes_of(op.output) + source.elements + rows


@kernel("aten::_scaled_dot_product_flash_attention_for_cpu")
def flash(op: Signature, host: Host) -> int | None:
    """The result, a sum per query, and buffers per thread."""
    return bytes_of(op.output) + _sums(op["query"]) + _buffers(op["query"], op["key"], host)


@kernel("aten::_scaled_dot_product_flash_attention_for_cpu_backward")
def flash_backward(op: Signature, host: Host) -> int | None:
    """The three gradients, a copy of the result's gradient that lies in order, and buffers per thread."""
    query, key = op["query"], op["key"]
    rows, columns = _query_block(query.shape[-2]), min(KEY_BLOCK, key.shape[-2])
    buffers: int = (2 * rows * columns + rows) * ACCUMULATED * host.threads
    return outputs_bytes(op) + _copy_by_position(op["grad_out"]) + buffers


def _copy_by_position(type: TensorType) -> int:
    """A copy that lies position by position, heads inside, if the tensor does not."""
    if type.strides is None:
        return bytes_of(type)
    batch, heads, positions, width = type.strides
    shape = type.shape[0], type.shape[2], type.shape[1], type.shape[3]
    return copy_bytes(TensorType.of(shape, type.dtype, (batch, positions, heads, width)))
