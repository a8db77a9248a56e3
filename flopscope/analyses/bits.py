"""How wide the numbers are that a model multiplies: multiply-accumulates by the bits of weights and activations, bit operations, sizes.

A bit operation is what van Baalen et al. 2020 (arXiv:2005.07093, appendix B.2.1) count: BOPs = MACs x bits of the weight x bits of the
activation. A product of two activations, as in attention, takes the widths of both. (Baskin et al. 2018, arXiv:1804.10969, add the bits of
the accumulator, which depend on hardware; these are not counted here.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flopscope.analyses.totals import cost_of
from flopscope.analyses.widths import Origin, origin_of, origins, widest, width_of
from flopscope.errors import OptionError
from flopscope.graph import Graph, Op, Packed, Tensor, TensorType

_WEIGHT = "weight"
_FOUR_BITS = (
    "_weight_int4pack_mm", "_weight_int4pack_mm_for_cpu", "_weight_int4pack_mm_with_scales_and_zeros", "_dyn_quant_matmul_4bit",
    "quantized::int4mm_packed_weight_cpu",
)  # fmt: skip
_BESIDE = re.compile(r"bias|^b_|mask|scale|zero|offset|^hx$|^cx$|^out$|indices|index|group|cum_seq|cu_seq|^offs$")
"""Names of arguments that are no factor of a product."""
_DYNAMIC = "quint8"
"""What PyTorch's dynamic layers make of their inputs."""


@dataclass(frozen=True, slots=True)
class Row:
    """The multiply-accumulates between numbers of two types."""

    weight: str | None
    """The element type of the weights; ``None`` for products of two activations."""
    weight_bits: int
    """The bits of a weight, or of the second activation; 0 where the type is not known."""
    activation: str
    activation_bits: int
    macs: int

    @property
    def bops(self) -> int:
        """Bit operations."""
        return self.macs * self.weight_bits * self.activation_bits


@dataclass(frozen=True, slots=True)
class Bits:
    """What a model multiplies and stores, in bits."""

    rows: tuple[Row, ...]
    """They add up to all multiply-accumulates of the model; the most first."""
    model_bytes: int
    """The bytes of all parameters in the element types in which they are stored, those of less than a byte packed."""
    buffer_bytes: int
    """The same of the buffers: scales, zero points, running statistics."""
    partial: bool = False
    """Whether all counts are lower bounds, because an op or the width of a type is not known."""
    assumed: str | None = None
    """The widths that were assumed, such as ``"w8a8"``."""
    hidden: bool = False
    """Whether the bytes are lower bounds, because a backend keeps weights to itself or the width of a type is not known."""
    weights: tuple[tuple[int, int], ...] = ()
    """Elements and bytes of each parameter that a product meets as a weight."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(row.macs for row in self.rows)

    @property
    def bops(self) -> int:
        """Bit operations: the sum of MACs x weight bits x activation bits."""
        return sum(row.bops for row in self.rows)

    def assume(self, text: str) -> Bits:
        """The same model with other widths of all its products.

        Products with a weight take both widths, products of two activations twice that of activations. The parameters that are such weights
        are stored in their new width; biases, norms and tables that are only looked up stay as they are.

        Args:
            text: the bits of weights and activations, such as ``"w8a8"`` or ``"w4a16"``.

        Raises:
            OptionError: it is no such text.
        """
        weight, activation = parse_widths(text)
        sums: dict[tuple[str | None, str], int] = {}
        names = _name(weight), _name(activation)
        for row in self.rows:
            key = (None if row.weight is None else names[0], names[1])
            sums[key] = sums.get(key, 0) + row.macs
        rows = [Row(w, activation if w is None else weight, a, activation, macs) for (w, a), macs in sums.items()]
        packed = sum((elements * weight + 7) // 8 for elements, _ in self.weights)
        unknown = self.partial and all(row.weight_bits and row.activation_bits for row in self.rows)
        size = self.model_bytes - sum(stored for _, stored in self.weights) + packed
        return replace(self, rows=_sorted(rows), model_bytes=size, assumed=f"w{weight}a{activation}", partial=unknown)

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain data."""
        rows = [
            {
                "weight": row.weight, "weight_bits": row.weight_bits, "activation": row.activation, "activation_bits": row.activation_bits,
                "macs": row.macs, "bops": row.bops,
            }
            for row in self.rows
        ]  # fmt: skip
        counts = {"macs": self.macs, "bops": self.bops, "model_bytes": self.model_bytes, "buffer_bytes": self.buffer_bytes}
        return {"assumed": self.assumed, "partial": self.partial, "bytes_partial": self.hidden, **counts, "rows": rows}


def parse_widths(text: str) -> tuple[int, int]:
    """The bits of weights and of activations in a text such as ``"w4a16"``.

    Raises:
        OptionError: it is no such text, or a width is not between 1 and 64.
    """
    match = re.fullmatch(r"w(\d{1,2})a(\d{1,2})", text.strip().lower()) if isinstance(text, str) else None
    widths = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(1 <= width <= 64 for width in widths):
        raise OptionError(
            f"assumed widths are written as w8a8 (8-bit weights, 8-bit activations) or w4a16, each from 1 to 64, but {text!r} was given"
        )
    return widths


def _name(bits: int) -> str:
    return f"float{bits}" if bits in (16, 32, 64) else f"int{bits}"


def bits(graph: Graph) -> Bits:
    """The widths of everything that a graph multiplies, and the size of its parameters."""
    known = origins(graph)
    sums: dict[tuple[str | None, str, str], int] = {}
    met: set[str] = set()
    partial = False
    for op in graph.ops:
        cost = cost_of(op.signature)
        partial = partial or bool(cost.uncounted)
        if not cost.macs:
            continue
        for macs, left, right in _products(op, cost.macs, known):
            first, second = (right, left) if left.weight and not right.weight else (left, right)
            of_weight = second.weight
            met |= second.names if of_weight else frozenset()
            key = (second.dtype if of_weight else None, second.dtype, first.dtype)
            sums[key] = sums.get(key, 0) + macs * op.times
    rows = [Row(weight, width_of(second) or 0, first, width_of(first) or 0, macs) for (weight, second, first), macs in sums.items() if macs]
    partial = partial or any(not row.weight_bits or not row.activation_bits for row in rows)
    sizes = {weight.name: (weight.type.stored_elements, _bytes(weight.type)) for weight in graph.parameters}
    weights = tuple(size for name, size in sizes.items() if name in met)
    stored = sum(size for _, size in sizes.values())
    hidden = any(_keeps_weights(op) for op in graph.ops) or any(width_of(weight.type.dtype) is None for weight in graph.parameters)
    return Bits(_sorted(rows), stored, sum(_bytes(weight.type) for weight in graph.buffers), partial, None, hidden, weights)


def _bytes(type: TensorType) -> int:
    return type.bytes(type.stored_elements) if width_of(type.dtype) is not None else 0


def _sorted(rows: list[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.macs, row.weight or "", row.activation)))


# -- the factors of an op -----------------------------------------------------------------------------------------------------


Products = list[tuple[int, Origin, Origin]]


def _products(op: Op, macs: int, known: dict[int, Origin]) -> Products:
    """The products that an op consists of: multiply-accumulates and both factors. They add up to its multiply-accumulates."""
    named = _named(op)
    if op.kind in ("attention", "attention_by_token"):
        return _attention(op, macs, named, known)
    if op.kind in ("multi_head_attention", "transformer_encoder_layer"):
        return _fused_layer(op, macs, named, known)
    return [(macs, *_factors(op, named, known))]


def _named(op: Op) -> dict[str, list[Tensor]]:
    """The values that an op reads, by the names of the arguments."""
    values = iter(op.inputs)
    found: dict[str, list[Tensor]] = {}
    for name, argument in op.signature.arguments.items():
        for part in argument if isinstance(argument, tuple) else (argument,):
            if isinstance(part, TensorType):
                found.setdefault(name, []).append(next(values))
    return found


def _factors(op: Op, named: Mapping[str, list[Tensor]], known: dict[int, Origin]) -> tuple[Origin, Origin]:
    """The two factors of a product."""
    packed = next((value for value in op.signature.arguments.values() if isinstance(value, Packed)), None)
    values = [(name, value) for name, group in named.items() if not _BESIDE.search(name) for value in group]
    found = [origin_of(value, known) for _, value in values]
    if not found:
        return Origin("undefined", weight=False), Origin("undefined", weight=True)
    first = found[0]
    if packed is not None:
        second = Origin(packed.weight.dtype, weight=True)
    elif _WEIGHT in named:
        second = origin_of(named[_WEIGHT][0], known)
    elif len(found) > 1 and op.kind == "einsum" and len(found) > 2:
        second = Origin(widest(origin.dtype for origin in found[1:]), all(origin.weight for origin in found[1:]))
    else:
        second = found[1] if len(found) > 1 else first
    if op.kind in _FOUR_BITS and _WEIGHT not in named:
        second = replace(second, dtype="uint4", weight=True, names=frozenset())  # its elements hold several weights each
    if _keeps_weights(op):
        second = Origin(str(op.signature.get("dtype", "qint8")), weight=True)
    if "params" in named:
        second = origin_of(named["params"][0], known)
        second = replace(
            second, names=frozenset().union(*(origin_of(value, known).names for value in named["params"] if _is_matrix(value)))
        )
    return _as_run(op, first), second


def _keeps_weights(op: Op) -> bool:
    """Whether a layer keeps its weights to itself, as PyTorch's quantised recurrent ones do."""
    return op.kind in ("quantized_lstm", "quantized_gru") or op.kind.startswith("quantized::quantized_")


def _is_matrix(value: Tensor) -> bool:
    return len(value.shape) > 1


def _as_run(op: Op, activation: Origin) -> Origin:
    """What a layer makes of its input before it multiplies."""
    dynamic = "dynamic" in op.target or _keeps_weights(op)
    runs_small = dynamic and "fp16" not in op.target and op.signature.get("dtype") != "float16"
    return replace(activation, dtype=_DYNAMIC) if runs_small else activation


def _attention(op: Op, macs: int, named: Mapping[str, list[Tensor]], known: dict[int, Origin]) -> Products:
    """Queries meet keys, and what the softmax makes of the scores meets values."""
    query, key, value = (origin_of(named[name][0], known) for name in ("query", "key", "value"))
    width, other = op.signature["query"].shape[-1], op.signature.output.shape[-1]
    first = macs * width // max(1, width + other)
    scores = Origin(op.signature.output.dtype, weight=False)
    return [(first, replace(query, weight=False), replace(key, weight=False)), (macs - first, scores, replace(value, weight=False))]


def _fused_layer(op: Op, macs: int, named: Mapping[str, list[Tensor]], known: dict[int, Origin]) -> Products:
    """A whole layer in one op: projections with weights, and products of activations."""
    x = next(iter(named.values()))[0]
    matrices = [value for group in named.values() for value in group if _is_matrix(value) and value.role in ("parameter", "buffer")]
    weights = [origin_of(value, known) for value in matrices]
    batch, length, width = op.signature.inputs[0].shape
    keys = op.signature["key"].shape[1] if "key" in op.signature.arguments else length
    projections = 2 * batch * (length + keys) * width * width
    if op.kind == "transformer_encoder_layer":
        projections += 2 * batch * length * width * op.signature["ffn_weight_1"].shape[0]
    origin = replace(origin_of(x, known), weight=False)
    names: frozenset[str] = frozenset().union(*(weight.names for weight in weights))
    weight = replace(weights[0], names=names) if weights else Origin(x.type.dtype, weight=True)
    return [(min(projections, macs), origin, weight), (macs - min(projections, macs), origin, origin)]
