"""The time of each candidate of a supernet, from any source of times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flopscope.frontends.torch.choices import Chain
from flopscope.graph import Graph, Op, Tensor
from flopscope.latency.estimate import Estimate
from flopscope.latency.source import LatencySource

SECONDS = "seconds"
"""The metric of a time."""
PICOSECOND = 1e-12
"""In seconds. Times are kept as whole numbers of it: sums of them are exact, up to a hundred days."""


def picoseconds(seconds: float) -> int:
    """The nearest whole number of picoseconds."""
    return round(seconds / PICOSECOND)


@dataclass(frozen=True, slots=True)
class Timed:
    """Picoseconds by candidate, and what is to be said of them."""

    found: Mapping[frozenset[Chain], int]
    notes: Sequence[str]

    def get(self, alternatives: frozenset[Chain], default: int) -> int:
        """The time of what is there with some chain of candidates; weights alone take none."""
        return self.found.get(alternatives, default)


def times_of(graph: Graph, ops: Mapping[Chain, Sequence[Op]], source: LatencySource) -> Timed:
    """The time of the ops of each chain of candidates, as a graph of their own."""
    # An alias is another name of a value; nothing runs for it. The trace of a supernet has them where a candidate hands its input on.
    ops = {chain: [op for op in members if op.kind != "alias"] for chain, members in ops.items()}
    totals = {chain: source.total(alone(graph, members)) for chain, members in ops.items() if members}
    found = {frozenset([chain]): picoseconds(total.seconds) for chain, total in totals.items()}
    notes = [f"seconds are those of {source.name}, each candidate by itself"]
    unknown = sum(total.unknown for total in totals.values())
    if unknown:
        notes.append(f"the time of {unknown} ops is not known, so that all seconds are lower bounds: {_kinds(ops, totals, source)}")
    return Timed(found, notes)


def alone(graph: Graph, members: Sequence[Op]) -> Graph:
    """Some ops of a graph as a graph of their own: what they read from elsewhere are its inputs."""
    values: dict[int, Tensor] = {}

    def copied(value: Tensor, producer: int | None) -> Tensor:
        if value.id not in values:
            role = "input" if producer is None and value.role == "result" else value.role
            values[value.id] = Tensor(value.id, value.type, role, producer, value.name, value.storage)
        return values[value.id]

    ops = []
    for index, op in enumerate(members):
        read = tuple(copied(value, None) for value in op.inputs)
        made = tuple(copied(value, index) for value in op.outputs)
        ops.append(Op(index, op.signature, read, made, op.scope, op.times, op.name))
    outside = [value for value in values.values() if value.producer is None]
    return Graph(graph.name, ops, outside, list_modules=graph.list_modules)


def _kinds(ops: Mapping[Chain, Sequence[Op]], totals: Mapping[Chain, Estimate], source: LatencySource) -> str:
    """Which kinds of ops a source does not know, where it knows ops; else what its totals say."""
    members = [op for found in ops.values() for op in found]
    kinds = Counter(op.kind for op in members if source.estimate(op) is None)
    if kinds.total() < len(members):
        return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
    return "; ".join(dict.fromkeys(total.why for total in totals.values() if total.unknown))
