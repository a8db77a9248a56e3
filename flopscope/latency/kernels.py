"""What a runtime makes of a graph: kernels, each with the work that it does and the bytes that it moves from memory and from the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from flopscope.cost import Cost
from flopscope.errors import OptionError
from flopscope.graph import Graph, Op, Tensor
from flopscope.latency.families import FUSIBLE, family_of
from flopscope.latency.precision import Widths, autocast_widths
from flopscope.rules import price

_KEPT: Final = ("parameter", "buffer", "constant")
"""What is there before the first op, in every run."""
Runtime = Literal["eager", "compile"]
Amp = Literal["float16", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One launch, or several equal ones: one op, or several that a compiler fuses."""

    ops: tuple[int, ...]
    """The indexes of its ops."""
    family: str
    dtype: str
    """Of its operands."""
    matrix_flops: int
    """Two for each multiply-accumulate."""
    vector_flops: int
    """All other arithmetic."""
    memory_bytes: int
    cache_bytes: int
    """Bytes of values that were used so shortly before that they are still in the cache."""
    launches: int = 1


@dataclass(slots=True)
class _Touch:
    """A value that a kernel reads or writes."""

    storage: int
    bytes: int
    is_weight: bool
    is_write: bool


@dataclass(slots=True)
class _Draft:
    ops: list[int]
    family: str
    dtype: str
    matrix_flops: int
    vector_flops: int
    touches: list[_Touch]
    times: int
    level: int = 0
    elements: int = 0
    outputs: set[int] = field(default_factory=set)


def check_runtime(runtime: str, amp: str | None) -> None:
    """Refuse a runtime or precision that there is not.

    Raises:
        OptionError: there is none of that name.
    """
    if runtime not in get_args(Runtime):
        raise OptionError(f"the runtime must be {' or '.join(get_args(Runtime))}, but is {runtime!r}")
    if amp is not None and amp not in get_args(Amp):
        raise OptionError(f"mixed precision is {' or '.join(get_args(Amp))}, but {amp!r} was asked for")


def kernels(graph: Graph, *, runtime: Runtime = "eager", amp: Amp | None = None, cache_bytes: float = 0) -> list[Kernel]:
    """The kernels of a graph in order. Views make none, and neither do ops whose cost is not known.

    Args:
        graph: a traced model.
        runtime: ``"eager"``: each op is a kernel; ``"compile"``: elementwise ops, norms, reductions and movement that follow each other
            are one, which reads what comes from outside and writes what is used outside.
        amp: mixed precision, for a graph that was traced in float32.
        cache_bytes: the cache of the device.

    Raises:
        OptionError: there is no such runtime or precision.
    """
    check_runtime(runtime, amp)
    drafts = list(_drafts(graph, amp))
    if runtime == "compile":
        drafts = _fused(graph, drafts)
    return _through_cache(drafts, cache_bytes)


# -- one kernel for each op ---------------------------------------------------------------------------------------


def _drafts(graph: Graph, amp: Amp | None) -> Iterator[_Draft]:
    widths = autocast_widths(graph) if amp is not None else None
    for op in graph.ops:
        cost = price(op.signature)
        if cost is None or op.signature.effect == "view":
            continue
        if widths is not None and amp is not None:
            yield from _casts(op, widths)
        if cost.access_bytes or cost.flops:
            yield _draft(op, cost, widths, amp)


def _draft(op: Op, cost: Cost, widths: Widths | None, amp: Amp | None) -> _Draft:
    family = family_of(op.signature, cost)
    is_half = widths is not None and op.index in widths.halves
    dtype = _dtype(op) if not is_half or amp is None else amp
    draft = _Draft([op.index], family, dtype, 2 * cost.macs, cost.flops - 2 * cost.macs, _touches(op, cost, widths), op.times)
    draft.elements = op.outputs[0].type.elements if op.outputs else 0
    draft.outputs = {_owner(value) for value in op.outputs}
    return draft


def _casts(op: Op, widths: Widths) -> Iterator[_Draft]:
    """The casts that autocast puts before an op, all as one kernel."""
    for elements, is_weight in ((widths.cast_elements.get(op.index, 0), False), (widths.weight_elements.get(op.index, 0), True)):
        if elements:
            source = next((value for value in op.inputs if (value.role in _KEPT) == is_weight), op.inputs[0])
            touches = [_Touch(_owner(source), 4 * elements, is_weight, False), _Touch(-1 - op.index, 2 * elements, False, True)]
            yield _Draft([op.index], "movement", "float32", 0, 0, touches, op.times, elements=elements, outputs={-1 - op.index})


def _dtype(op: Op) -> str:
    """The type in which an op computes: that of its first floating-point operand, else of its first result."""
    for type in (*op.signature.inputs, *op.signature.outputs):
        if "float" in type.dtype or "complex" in type.dtype:
            return type.dtype
    return op.signature.inputs[0].dtype if op.signature.inputs else "float32"


def _owner(value: Tensor) -> int:
    return value.id if value.storage is None else value.storage


def _touches(op: Op, cost: Cost, widths: Widths | None) -> list[_Touch]:
    """The bytes of each value, so that they add up to those of the op's rule, in the widths that they have."""
    is_half = widths is not None and op.index in widths.halves
    read = [_Touch(_owner(value), _bytes(value, widths, is_half), value.role in _KEPT, False) for value in op.inputs]
    written = [_Touch(_owner(value), _bytes(value, widths, is_half), False, True) for value in op.outputs]
    _scale(read, cost.bytes_read, sum(value.type.bytes(value.type.stored_elements) for value in op.inputs))
    _scale(written, cost.bytes_written, sum(value.type.bytes(value.type.stored_elements) for value in op.outputs))
    return [touch for touch in (*read, *written) if touch.bytes]


def _bytes(value: Tensor, widths: Widths | None, is_half: bool) -> int:
    width = None if widths is None else widths.of(value)
    if width is None:
        if not is_half or value.type.dtype != "float32":
            return value.type.bytes(value.type.stored_elements)
        width = 2
    return value.type.stored_elements * (2 if is_half else width)


def _scale(touches: list[_Touch], counted: int, nominal: int) -> None:
    """A rule may know that less is read than the operands hold, as of an embedding, or more."""
    if nominal and counted != nominal:
        for touch in touches:
            touch.bytes = touch.bytes * counted // nominal


# -- fusion ---------------------------------------------------------------------------------------------------------


def _fused(graph: Graph, drafts: Sequence[_Draft]) -> list[_Draft]:
    """Join what can be fused with the kernel that makes what it reads.

    Two kernels are joined where no kernel that cannot be fused lies between them on any path: both have the same *level*, the largest
    number of such kernels before them. They must also work on equally many elements, but for a reduction, which ends a chain.
    """
    maker: dict[int, _Draft] = {}
    result: list[_Draft] = []
    for draft in drafts:
        makers = [maker[touch.storage] for touch in draft.touches if not touch.is_write and touch.storage in maker]
        draft.level = max((other.level + (other.family not in FUSIBLE) for other in makers), default=0)
        into = next((other for other in makers if _joins(other, draft)), None)
        if into is None:
            result.append(draft)
            into = draft
        else:
            _join(into, draft)
        for touch in draft.touches:
            if touch.is_write:
                maker[touch.storage] = into
    _drop_inner(graph, result)
    return result


def _joins(first: _Draft, second: _Draft) -> bool:
    if first.family not in FUSIBLE or second.family not in FUSIBLE or first.times != second.times:
        return False
    same = first.elements == second.elements or second.family == "reduction"
    return first.level == second.level and same and first.elements > 0


def _join(first: _Draft, second: _Draft) -> None:
    first.ops += second.ops
    first.vector_flops += second.vector_flops
    first.touches += second.touches
    first.outputs |= second.outputs
    first.elements = second.elements
    if second.family != "elementwise":
        first.family = second.family


def _drop_inner(graph: Graph, drafts: Sequence[_Draft]) -> None:
    """A kernel reads what others made, each value once, and writes what others or the caller read."""
    readers: dict[int, set[int]] = {}
    for number, draft in enumerate(drafts):
        for touch in draft.touches:
            if not touch.is_write:
                readers.setdefault(touch.storage, set()).add(number)
    returned = {_owner(value) for value in graph.outputs}
    for number, draft in enumerate(drafts):
        if len(draft.ops) < 2:
            continue
        kept: dict[tuple[int, bool], _Touch] = {}
        made: set[int] = set()
        for touch in draft.touches:
            if touch.is_write:
                made.add(touch.storage)
                if touch.storage in returned or readers.get(touch.storage, set()) - {number}:
                    kept[touch.storage, True] = touch
            elif touch.storage not in made:
                kept.setdefault((touch.storage, False), touch)
        draft.touches = list(kept.values())


# -- the cache ------------------------------------------------------------------------------------------------------


def _through_cache(drafts: Sequence[_Draft], cache_bytes: float) -> list[Kernel]:
    """Divide the bytes of each kernel between memory and cache.

    A read hits if no more bytes than the cache holds were touched since the same value was touched last, those of the value included
    (the reuse distance of a least-recently-used cache: Mattson et al. 1970). A write hits if its next read does, or else goes to memory.
    Models run again and again, so the last touch of a weight was in the run before.
    """
    total = sum(touch.bytes * draft.times for draft in drafts for touch in draft.touches)
    hits: list[list[bool]] = []
    clock = 0
    last: dict[int, int] = {}
    writer: dict[int, tuple[int, int]] = {}
    for number, draft in enumerate(drafts):
        row = []
        start = clock
        clock += sum(touch.bytes for touch in draft.touches)
        for place, touch in enumerate(draft.touches):
            before = last.get(touch.storage)
            hit = touch.is_weight and total <= cache_bytes if before is None else clock - before <= cache_bytes
            if touch.is_write:
                hit = False
                writer[touch.storage] = (number, place)
            elif hit and touch.storage in writer:
                at, index = writer[touch.storage]
                if at < number:
                    hits[at][index] = True
            row.append(hit)
        hits.append(row)
        for touch in draft.touches:
            last[touch.storage] = start
    return [_kernel(draft, row) for draft, row in zip(drafts, hits, strict=True)]


def _kernel(draft: _Draft, hits: Sequence[bool]) -> Kernel:
    cached = sum(touch.bytes for touch, hit in zip(draft.touches, hits, strict=True) if hit)
    moved = sum(touch.bytes for touch in draft.touches) - cached
    return Kernel(
        ops=tuple(dict.fromkeys(draft.ops)),
        family=draft.family,
        dtype=draft.dtype,
        matrix_flops=draft.matrix_flops * draft.times,
        vector_flops=draft.vector_flops * draft.times,
        memory_bytes=moved * draft.times,
        cache_bytes=cached * draft.times,
        launches=draft.times,
    )
