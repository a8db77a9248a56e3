"""Which types the values of a float32 graph have under CUDA's automatic mixed precision, and what the casts between them move.

The rules are those of ``torch.autocast("cuda")``: contractions read and write 16 bits, and what they are given in 32 is cast first; layer
and group norm, softmax, norms and powers are done in 32; any other op takes the widest type of its inputs. Weights are cast once for a
whole forward pass. Source: PyTorch documentation, "CUDA Ops that can autocast to float16" and "... to float32".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flopscope.graph import Graph, Op, Tensor
from flopscope.rules import price

_HALF, _FULL = 2, 4
_FLOAT32 = "float32"
_IN_FULL = frozenset(
    ("layer_norm", "group_norm", "softmax", "log_softmax", "pow", "exp", "expm1", "log", "log2", "log10", "log1p", "rsqrt", "reciprocal",
     "sum", "prod", "cumsum", "cumprod", "norm", "linalg_vector_norm", "linalg_norm", "softplus", "softmin", "acos", "asin", "cosh", "sinh",
     "tan", "dist", "renorm", "erfinv", "cross_entropy", "nll_loss", "mse_loss", "rms_norm", "cosine_similarity")
)  # fmt: skip
_AS_STORED = ("view", "inplace")


@dataclass(frozen=True, slots=True)
class Widths:
    """The bytes of an element of each floating-point value, and of each op the elements that must be cast for it."""

    by_value: Mapping[int, int]
    cast_elements: Mapping[int, int]
    """By the index of the op: elements of activations that are read in 4 bytes and written in 2."""
    weight_elements: Mapping[int, int]
    """The same of weights."""
    halves: frozenset[int]
    """The indexes of the ops that compute in 16 bits."""

    def of(self, value: Tensor) -> int | None:
        """The bytes of an element, or ``None`` for what autocast does not touch."""
        return self.by_value.get(value.id) if value.type.dtype == _FLOAT32 else None


def autocast_widths(graph: Graph) -> Widths:
    """Follow autocast through a graph that was traced in float32."""
    by_value: dict[int, int] = {}
    casts: dict[int, int] = {}
    weights: dict[int, int] = {}
    halves: set[int] = set()
    seen: set[int] = set()
    for op in graph.ops:
        given = [value for value in op.inputs if value.type.dtype == _FLOAT32]
        is_half = _contracts(op)
        if is_half:
            halves.add(op.index)
            casts[op.index], weights[op.index] = _cast(given, by_value, seen)
        if op.signature.effect in _AS_STORED and given:
            width = by_value.get(given[0].id, _FULL)
        elif is_half:
            width = _HALF
        elif op.kind in _IN_FULL:
            width = _FULL
        else:
            width = _widest(given, by_value, op)
        by_value.update((value.id, width) for value in op.outputs)
    return Widths(by_value, casts, weights, frozenset(halves))


def _contracts(op: Op) -> bool:
    cost = price(op.signature)
    return cost is not None and cost.macs > 0


def _cast(given: list[Tensor], by_value: Mapping[int, int], seen: set[int]) -> tuple[int, int]:
    """The elements of activations and of weights that are cast; a weight once."""
    activations = weights = 0
    for value in given:
        if by_value.get(value.id, _FULL) == _HALF or value.id in seen:
            continue
        if value.role in ("parameter", "buffer", "constant"):
            seen.add(value.id)
            weights += value.type.stored_elements
        else:
            activations += value.type.stored_elements
    return activations, weights


def _widest(given: list[Tensor], by_value: Mapping[int, int], op: Op) -> int:
    """What type promotion gives; the weights of a batch norm do not widen its result, and numbers without dimension none."""
    counted = given[:1] if op.kind == "batch_norm" else [value for value in given if value.shape]
    return max((by_value.get(value.id, _FULL) for value in counted), default=_FULL)
