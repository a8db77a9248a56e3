"""How many pairs of query and key the mask of an attention allows, counted in the mask's own values.

For ``attention="effective"``: each fused attention op then carries the argument ``allowed_pairs`` (summed over batch and heads), which its
rule takes in place of all pairs. Masks that models make of positions and lengths hold true data in a trace, so they can be counted; a
mask that hangs on weights cannot, and its attention stays dense.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from flopscope.frontends.torch.kinds import ATTENTIONS
from flopscope.frontends.torch.schema import named_arguments, schema_of
from flopscope.frontends.torch.tracer import Tracer
from flopscope.graph import Signature

MOST_MASK_ELEMENTS = 2**26
"""Results up to this size are computed for real when masks are counted: a mask of 8,192 x 8,192 positions."""

EXCLUDES = -1e4
"""What a mask of numbers adds to a score to leave a pair out: at this or below, the exponential is zero in every floating dtype."""

_PADDING = 1  # `mask_type` of the fused multi-head ops


class MaskCounter(Tracer):
    """A tracer that looks into the masks of fused attention ops."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Answer one call of an op."""
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if not isinstance(func, OpOverload):
            return result
        schema = schema_of(func)
        if schema.target in ATTENTIONS:
            op = self.ops[-1]
            pairs = allowed_pairs(op.signature, named_arguments(schema, args, kwargs or {}), self.data_of)
            if pairs is not None:
                op.signature = self._with_pairs(op.signature, pairs)
        return result

    def _with_pairs(self, signature: Signature, pairs: int) -> Signature:
        key = ("allowed_pairs", signature, pairs)
        found = self._memo.signatures.get(key)
        if found is None:
            found = dataclasses.replace(signature, arguments={**signature.arguments, "allowed_pairs": pairs})
            self._memo.signatures[key] = found
        return found


def allowed_pairs(signature: Signature, arguments: Mapping[str, Any], data_of: Callable[[Tensor], Tensor | None]) -> int | None:
    """The pairs that the mask of an attention allows, over batch and heads; ``None`` where there is no mask, or its values are unknown.

    Args:
        signature: of the op.
        arguments: of the call, by the names in torch's schema.
        data_of: gives the true data of a tensor, or ``None`` where it has none.
    """
    fused_layer = signature.kind != "attention"
    mask = arguments.get("mask") if fused_layer else arguments.get("attn_mask", arguments.get("attn_bias"))
    batch_and_heads, queries, keys = _sizes(signature)
    if mask is None:
        return batch_and_heads * _below_diagonal(queries, keys) if arguments.get("is_causal") else None
    data = data_of(mask)
    if data is None:
        return None
    allowed = (~data if fused_layer else data) if data.dtype is torch.bool else data > EXCLUDES
    pairs = batch_and_heads * queries * keys
    if arguments.get("mask_type") == _PADDING:  # of shape [batch, keys]
        return int(allowed.sum()) * (pairs // allowed.numel())
    if arguments.get("is_causal"):
        allowed = allowed.expand(*allowed.shape[:-2], queries, keys).tril()
    return int(allowed.sum()) * (pairs // allowed.numel())


def _sizes(signature: Signature) -> tuple[int, int, int]:
    """Batch times heads, queries and keys of an attention."""
    if signature.kind == "attention":
        *outer, queries, _ = signature.output.shape
        return prod(outer), queries, signature["key"].shape[-2]
    if signature.kind == "multi_head_attention":
        query, key = signature["query"].shape, signature["key"].shape
        return query[0] * signature["num_head"], query[1], key[1]
    batch, length, _ = signature["src"].shape
    return batch * signature["num_heads"], length, length


def _below_diagonal(rows: int, columns: int) -> int:
    """Entries on and below the diagonal that starts at the upper left, as torch's causal attention is defined."""
    square = min(rows, columns)
    return square * (square + 1) // 2 + (rows - square) * columns
