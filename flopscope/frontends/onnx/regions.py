"""Which nodes more than one op stands for, and which values share memory: what the memory of a model depends on besides its dataflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flopscope.frontends.onnx.blocks import Pending, Repeat
from flopscope.frontends.onnx.values import Value
from flopscope.graph import Gathered, Graph, Region, Tensor

SHARING = frozenset(("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Optional", "OptionalGetElement"))
"""Ops whose output lies in the memory of their input. ONNX Runtime declares them so (``Alias`` in its CPU kernels)."""


@dataclass(slots=True, eq=False)
class Draft:
    """A region before its ops have their places in the graph."""

    entries: Sequence[Pending | Repeat]
    is_kernel: bool = True
    turns: int = 1
    carried: Sequence[tuple[Value, Value]] = ()
    varying: Sequence[Value] = ()
    gathered: Sequence[tuple[Value, Sequence[Value]]] = ()
    at_once: bool = False
    holds: Sequence[Tensor] = ()


def place(graph: Graph, pending: Sequence[Pending], drafts: Sequence[Draft]) -> None:
    """Give a graph its regions, and say which of its values share memory."""
    indices = {id(item): index for index, item in enumerate(pending)}
    for draft in drafts:
        found = [indices[id(item)] for item in _pendings(draft.entries) if id(item) in indices]
        if found:  # else it lies in a branch or a turn that does not count
            graph.regions.append(_region(draft, min(found), max(found)))
    returned = {value.id for value in graph.outputs}
    for item in pending:
        if item.shares and len(item.inputs) and len(item.outputs) == 1 and item.outputs[0].id not in returned:
            source = item.inputs[0]
            item.outputs[0].storage = source.id if source.storage is None else source.storage


def _pendings(entries: Sequence[Pending | Repeat]) -> Iterator[Pending]:
    seen: set[int] = set()
    todo = list(entries)
    while todo:
        entry = todo.pop()
        if isinstance(entry, Pending):
            yield entry
        elif isinstance(entry, Repeat) and id(entry.block) not in seen:
            seen.add(id(entry.block))
            todo += entry.block.entries


def _region(draft: Draft, first: int, last: int) -> Region:
    carried = [(a.tensor, b.tensor) for a, b in draft.carried if a.tensor is not None and b.tensor is not None]
    gathered = [
        Gathered(whole.tensor, tuple(_placed(slices)), draft.at_once) for whole, slices in draft.gathered if whole.tensor is not None
    ]
    return Region(
        first, last, draft.is_kernel, draft.turns, tuple(carried), tuple(_placed(draft.varying)), tuple(gathered), tuple(draft.holds)
    )


def _placed(values: Sequence[Value]) -> Iterator[Tensor]:
    return (value.tensor for value in values if value.tensor is not None)
