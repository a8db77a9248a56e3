"""Traces of one model at several sizes, put side by side: what is equal stays, integers that differ become expressions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flopscope.graph import Op, Signature, TensorType
from flopscope.relax.closed.fitting import Values
from flopscope.rules import rule_for
from flopscope.rules.registry import free

Fit = Callable[[Values], Any]
Column = tuple[Signature, ...]
"""One op of the model in all traces."""


class Misaligned(Exception):  # noqa: N818 - a finding, not a failure
    """Values of several traces differ in more than integers."""


def combine(values: Sequence[Any], fit: Fit) -> Any:
    """One value for all traces, leaf by leaf: what is equal stays, and ``fit`` makes one of integers that differ.

    Floats that differ follow from sizes, as scale factors do. No rule asks for more than whether they are there, so the first one stays.

    Raises:
        Misaligned: something else differs.
    """
    first = values[0]
    if all(value is first for value in values):
        return first
    kind = type(first)
    if len(set(map(type, values))) > 1:
        raise Misaligned(f"{first!r} here is {next(value for value in values if type(value) is not kind)!r} there")
    if kind is int:
        return first if values.count(first) == len(values) else fit(tuple(values))
    if kind is tuple:
        if len(set(map(len, values))) > 1:
            raise Misaligned(f"{len(first)} items here are {next(len(value) for value in values if len(value) != len(first))} there")
        return tuple(combine(items, fit) for items in zip(*values, strict=True))
    if kind is TensorType:
        return _combine_types(values, fit)
    if kind is not float and any(value != first for value in values):
        raise Misaligned(f"{first!r} here is {next(value for value in values if value != first)!r} there")
    return first


def _combine_types(types: Sequence[TensorType], fit: Fit) -> TensorType:
    """One type. Of the strides only those stay that say that a dimension was expanded."""
    first = types[0]
    shape = combine([type.shape for type in types], fit)
    if any(type.dtype != first.dtype for type in types):
        raise Misaligned(f"{first} here is {next(type for type in types if type.dtype != first.dtype)} there")
    expanded = [None if type.strides is None else tuple(int(stride != 0) for stride in type.strides) for type in types]
    if any(strides != expanded[0] for strides in expanded):
        raise Misaligned(f"{first} is expanded in one trace and not in another")
    return TensorType(shape, first.dtype, expanded[0])


def merged(column: Column, fit: Fit) -> Signature:
    """The signature of an op for all sizes.

    Raises:
        Misaligned: the traces differ in more than integers.
    """
    first = column[0]
    if all(signature is first for signature in column):
        return first
    names = tuple(first.arguments)
    if any(tuple(signature.arguments) != names for signature in column):
        raise Misaligned(f"{first.target} has other arguments in another trace")
    arguments = {name: combine([signature.arguments[name] for signature in column], fit) for name in names}
    outputs = combine([signature.outputs for signature in column], fit)
    return Signature(first.target, first.kind, arguments, outputs, first.effect, first.written_only)


def is_free(signature: Signature) -> bool:
    """Whether the rule of an op says that it costs nothing at any size."""
    rule = rule_for(signature)
    return rule is not None and rule.formula is free


@dataclass(frozen=True, slots=True)
class Calls:
    """The ops of a trace that cost something, in order, with the modules that ran them."""

    signatures: tuple[Signature, ...]
    scopes: tuple[str, ...]

    @staticmethod
    def of(ops: Sequence[Op]) -> Calls:
        """Those of a graph. What is free at any size, as views are, is left out: a slice that takes all of a tensor is another op."""
        costly = [op for op in ops if not is_free(op.signature)]
        return Calls(tuple([op.signature for op in costly]), tuple([op.scope for op in costly]))

    def difference(self, other: Calls) -> str | None:
        """In words, where another trace stops running the same ops; ``None`` where it does not."""
        for index, (mine, theirs) in enumerate(zip(self.signatures, other.signatures, strict=False)):
            if mine is not theirs and (mine.target != theirs.target or mine.effect != theirs.effect or mine.kind != theirs.kind):
                place = self.scopes[index] or "the model itself"
                return f"it runs {_named(mine)} in {place} at one size, and {_named(theirs)} at another"
        if len(self.signatures) != len(other.signatures):
            return f"it runs {len(self.signatures)} ops at one size and {len(other.signatures)} at another"
        return None


def columns_of(traces: Sequence[Calls]) -> Counter[Column]:
    """The ops of traces that run the same ones, each with how often it occurs.

    Raises:
        Misaligned: the traces run other ops, or another number of them.
    """
    for trace in traces[1:]:
        difference = traces[0].difference(trace)
        if difference is not None:
            raise Misaligned(difference)
    by_identity: dict[tuple[int, ...], Column] = {}
    counts: Counter[tuple[int, ...]] = Counter()
    for column in zip(*(trace.signatures for trace in traces), strict=True):
        key = tuple(map(id, column))
        counts[key] += 1
        by_identity[key] = column
    return Counter({by_identity[key]: count for key, count in counts.items()})


def _named(signature: Signature) -> str:
    return f"{signature.target}{f' ({signature.effect})' if signature.effect != 'fresh' else ''}"


def sequences_in(column: Column) -> Iterator[Values]:
    """The integers in an op that differ between the traces."""
    found: list[Values] = []

    def note(values: Values) -> int:
        found.append(values)
        return values[0]

    try:
        merged(column, note)
    except Misaligned:
        return iter(())
    return iter(found)
