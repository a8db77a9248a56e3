"""The pieces of memory that the values of a graph lie in, each with the ops between which it is held."""

from __future__ import annotations

from dataclasses import dataclass

from flopscope.graph import Graph, Role, Tensor


@dataclass(frozen=True, slots=True)
class Storage:
    """One piece of memory. Views and values written in place lie in the piece that they were made from."""

    id: int
    """The id of the value that it was made for."""
    bytes: int
    born: int
    """The index of the op that made it; -1 for what was there before the first op."""
    died: int
    """The index of the first op that runs without it; the number of ops for what is alive at the end."""
    role: Role
    producer: int | None
    name: str | None


def storages(graph: Graph, *, ideal: bool = False) -> list[Storage]:
    """The pieces of memory of a graph, in the order in which they were made. Weights are not among them.

    Args:
        graph: a traced model.
        ideal: let each piece live from its first write to its last use, as dataflow tells, and not for as long as the program that ran
            held it. Inputs and outputs live throughout and to the end in both cases.
    """
    made = [*graph.inputs, *(value for op in graph.ops for value in op.outputs)]
    deaths = last_uses(graph) if ideal or graph.deaths is None else graph.deaths
    end = len(graph.ops)
    return [_storage(value, min(deaths.get(value.id, end), end)) for value in made if value.storage is None]


def _storage(value: Tensor, died: int) -> Storage:
    born = -1 if value.producer is None else value.producer
    return Storage(value.id, value.type.bytes(value.type.extent), born, max(died, born + 1), value.role, value.producer, value.name)


def last_uses(graph: Graph) -> dict[int, int]:
    """By the id of the value that memory was made for: the index of the first op after the last that uses it.

    Inputs belong to the caller, who holds them; what is returned is never given back.
    """
    uses: dict[int, int] = {}
    for op in graph.ops:
        for value in (*op.inputs, *op.outputs):
            uses[owner_of(value)] = op.index + 1
    for value in (*graph.inputs, *graph.outputs):
        uses.pop(owner_of(value), None)
    return uses


def owner_of(value: Tensor) -> int:
    """The id of the value that the memory of a value was made for."""
    return value.id if value.storage is None else value.storage
