"""Ops that run together, and how often: the bodies of loops and functions are kept once and counted as often as they run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from flopscope.graph import Signature, Tensor


@dataclass(slots=True, eq=False)
class Pending:
    """An op that waits for its place in the graph."""

    signature: Signature
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    scope: str
    name: str
    shares: bool = False
    """Whether runtimes let the output lie in the memory of the input: a reshape and its like."""


@dataclass(slots=True, eq=False)
class Repeat:
    """A block that runs so many times here."""

    block: Block
    times: int


@dataclass(slots=True, eq=False)
class Block:
    """Ops and blocks in the order in which they run."""

    entries: list[Pending | Repeat] = field(default_factory=list)

    def repeat(self, block: Block, times: int) -> None:
        """Run another block here; where it was run here before, more often."""
        for entry in self.entries:
            if isinstance(entry, Repeat) and entry.block is block:
                entry.times += times
                return
        self.entries.append(Repeat(block, times))


def flattened(block: Block) -> Iterator[tuple[Pending, int]]:
    """Every op once, in the order in which it first runs, and how often it runs in all."""
    times = _multiplicities(block)
    seen = {id(block)}
    todo: list[tuple[Block, Iterator[Pending | Repeat]]] = [(block, iter(block.entries))]
    while todo:
        current, entries = todo[-1]
        entry = next(entries, None)
        if entry is None:
            todo.pop()
        elif isinstance(entry, Pending):
            if times[id(current)]:
                yield entry, times[id(current)]
        elif id(entry.block) not in seen:
            seen.add(id(entry.block))
            todo.append((entry.block, iter(entry.block.entries)))


def _multiplicities(block: Block) -> dict[int, int]:
    """How often each block runs, by its id: every block after all those that run it."""
    times = {id(block): 1}
    for current in reversed(_inner_first(block)):
        for entry in current.entries:
            if isinstance(entry, Repeat):
                times[id(entry.block)] = times.get(id(entry.block), 0) + entry.times * times[id(current)]
    return times


def _inner_first(block: Block) -> list[Block]:
    order: list[Block] = []
    seen = {id(block)}
    todo = [(block, iter(block.entries))]
    while todo:
        current, entries = todo[-1]
        for entry in entries:
            if isinstance(entry, Repeat) and id(entry.block) not in seen:
                seen.add(id(entry.block))
                todo.append((entry.block, iter(entry.block.entries)))
                break
        else:
            todo.pop()
            order.append(current)
    return order
