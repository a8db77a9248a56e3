"""Of every value of a graph: the element type that counts for the width of a product, and whether it is a weight.

A value that comes from a dequantisation counts as the integer that it was, through views, copies and other movement; so does one that was
rounded to a grid as if it were an integer (fake quantisation), and a weight of eight bits or fewer that was cast to floating point and
scaled. A value computed from weights alone is a weight.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flopscope.errors import GraphError
from flopscope.graph import Graph, Op, Signature, Tensor, bits_of
from flopscope.rules import price

_DEQUANTISING = ("dequantize", "dequantize_per_tensor", "dequantize_per_channel", "dequantize_per_channel_group", "dequantize_per_token")
_MOVING = frozenset(
    """
    view reshape _unsafe_view permute transpose t contiguous clone copy alias cat stack concat concatenate slice split split_with_sizes
    chunk unbind select narrow squeeze unsqueeze flatten unflatten expand expand_as repeat tile pad roll flip pixel_shuffle pixel_unshuffle
    channel_shuffle gather index index_select embedding slice_scatter im2col unfold detach movedim swapaxes unsafe_split unsafe_chunk
    max_pool _to_copy to int_repr
    """.split()  # noqa: SIM905 - a list would take thirty lines
)
_SCALING = ("mul", "sub", "add", "div")
_NARROW = 8
_FIXED = ("parameter", "buffer", "constant")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a value is, as an operand of a product."""

    dtype: str
    """The element type that counts."""
    weight: bool
    """Whether it does not depend on the inputs of the model."""
    names: frozenset[str] = frozenset()
    """The parameters that it shows."""


def width_of(dtype: str) -> int | None:
    """The bits of an element; ``None`` where the element type is not known."""
    try:
        return bits_of(dtype)
    except GraphError:
        return None


def origins(graph: Graph) -> dict[int, Origin]:
    """The origin of every value, by its id."""
    found: dict[int, Origin] = {}
    for op in graph.ops:
        before = [origin_of(value, found) for value in op.inputs]
        for value in op.outputs:
            found[value.id] = _after(op, value, before)
    return found


def origin_of(value: Tensor, known: dict[int, Origin]) -> Origin:
    """The origin of a value that an op reads."""
    found = known.get(value.id)
    if found is not None:
        return found
    names = frozenset((value.name,)) if value.role == "parameter" and value.name else frozenset()
    return Origin(value.type.dtype, value.role in _FIXED, names)


def _after(op: Op, value: Tensor, before: list[Origin]) -> Origin:
    """The origin of what an op makes."""
    weight = bool(before) and all(origin.weight for origin in before) and price(op.signature) is not None  # else it may read more
    names: frozenset[str] = frozenset().union(*(origin.names for origin in before)) if weight else frozenset()
    return Origin(_dtype_after(op, value, before), weight or _is_weight_besides(op, before), names)


def _is_weight_besides(op: Op, before: list[Origin]) -> bool:
    """Whether a weight was only converted, with scales that the op has beside it."""
    return bool(before) and before[0].weight and (_base(op.kind) in _DEQUANTISING or "quantize" in op.kind)


def _base(kind: str) -> str:
    return kind.rpartition("::")[2]


def _dtype_after(op: Op, value: Tensor, before: list[Origin]) -> str:
    dtype, kind = value.type.dtype, _base(op.kind)
    if not before:
        return dtype
    simulated = grid_bits(op.signature)
    if simulated is not None and ("fake_quant" in kind or "fq_helper" in kind):
        return f"{'int' if op.signature.get('signed', _signed(op.signature)) else 'uint'}{simulated}"
    if kind in _DEQUANTISING:
        return before[0].dtype if simulated is None else _narrowed(before[0].dtype, simulated)
    if "quantize_per" in kind and simulated is not None:
        return _narrowed(dtype, simulated)
    if op.signature.effect == "view" or kind in _MOVING:
        return _moved(kind, dtype, op, before)
    if kind in _SCALING and before[0].weight and is_integer(before[0].dtype) and all(origin.weight for origin in before):
        return before[0].dtype
    return dtype


def _moved(kind: str, dtype: str, op: Op, before: list[Origin]) -> str:
    """Moved values stay what they were; several together are as wide as the widest, and a cast makes others."""
    moved = [origin for origin, value in zip(before, op.inputs, strict=True) if value.type.dtype == dtype]
    if moved:
        return widest(origin.dtype for origin in moved) if kind in ("cat", "stack", "concat", "concatenate") else moved[0].dtype
    narrow = before[0].weight and is_integer(before[0].dtype) and (width_of(before[0].dtype) or 64) <= _NARROW
    return before[0].dtype if narrow and kind in ("to", "_to_copy") else dtype


def widest(dtypes: Iterable[str]) -> str:
    """The widest of some element types, the first of those that are equally wide."""
    return max(dtypes, key=lambda dtype: width_of(dtype) or 0)


def is_integer(dtype: str) -> bool:
    """Whether an element type is one of integers, quantised ones included."""
    return dtype.startswith(("int", "uint", "qint", "quint"))


def grid_bits(signature: Signature) -> int | None:
    """The bits of the integers that an op rounds to, where it says so: as a width, or by the least and the greatest."""
    bits = signature.get("bits")
    if isinstance(bits, int):
        return bits
    least, most = signature.get("quant_min"), signature.get("quant_max")
    if isinstance(least, int) and isinstance(most, int) and most > least:
        return (most - least).bit_length()
    return None


def _signed(signature: Signature) -> bool:
    return bool(signature.get("quant_min", -1) < 0)


def _narrowed(dtype: str, bits: int) -> str:
    """An integer type of so many bits, where the grid is finer than the type that stores it."""
    width = width_of(dtype)
    if width is None or bits >= width or not is_integer(dtype):
        return dtype
    return f"{'uint' if dtype.startswith(('uint', 'quint')) else 'int'}{bits}"
