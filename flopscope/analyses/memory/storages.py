"""The pieces of memory that the values of a graph lie in, each with the ops between which it is held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flopscope.analyses.memory.regions import Held
from flopscope.analyses.widths import width_of
from flopscope.graph import Graph, Op, Role, Tensor, TensorType


@dataclass(frozen=True, slots=True)
class Storage:
    """One piece of memory. Views and values written in place lie in the piece that they were made from."""

    id: int
    """The id of the value that it was made for."""
    bytes: int
    born: int
    """The index of the op that made it; -1 for what was there before the first op."""
    died: int
    """The index of the first op that runs without it: the number of ops for what dies with the last one, one more for what outlives it."""
    role: Role
    producer: int | None
    name: str | None
    type: TensorType
    what: str = ""
    """What it is, where it is no value of the graph: the turns of a loop that were made before this one."""


def storages(graph: Graph, *, ideal: bool = False) -> list[Storage]:
    """The pieces of memory of a graph, in the order in which they were made. Weights are not among them.

    Nor is what a front end that runs nothing can make of weights alone, before the first run (`folded`), nor what lies inside one node.

    Args:
        graph: a traced model.
        ideal: let each piece live from its first write to its last use, as dataflow tells, and not for as long as the program that ran
            held it. Inputs and outputs live throughout and to the end in both cases.
    """
    end = len(graph.ops)
    held = Held(graph)
    deaths = last_uses(graph, held) if ideal or graph.deaths is None else graph.deaths
    apart = folded(graph)
    made = [*graph.inputs, *(value for op in graph.ops for value in op.outputs)]
    roomy = {} if ideal or graph.deaths is None else {op.outputs[0].id: _room_of(op) for op in graph.ops if op.kind in _ROOMY}
    found = [
        _storage(value, _born(value), _died(value, deaths, end), roomy.get(value.id, 0))
        for value in made
        if value.storage is None and value.role != "inner" and value.id not in apart
    ]
    found += _of_loops(graph, deaths)
    return sorted(found, key=lambda piece: piece.born) if graph.regions else found


def bytes_of(type: TensorType) -> int:
    """The bytes that a tensor of its own takes, packed where an element has less than eight bits; 0 where its width is not known."""
    return 0 if width_of(type.dtype) is None else type.bytes(type.extent)


def _born(value: Tensor) -> int:
    return -1 if value.producer is None else value.producer


def _died(value: Tensor, deaths: dict[int, int], end: int) -> int:
    """What has no death lives on after the last op."""
    return min(deaths[value.id], end) if value.id in deaths else end + 1


_ROOMY = ("mse_loss", "smooth_l1_loss", "binary_cross_entropy", "soft_margin_loss")
"""Losses whose number lies at the start of the memory that the loss of each element was computed in (ATen's ``Loss.cpp``)."""


def _room_of(op: Op) -> int:
    elements = max(value.type.elements for value in op.inputs[:2])
    return bytes_of(TensorType.of((elements,), op.outputs[0].type.dtype))


def _storage(value: Tensor, born: int, died: int, room: int) -> Storage:
    return Storage(value.id, max(room, bytes_of(value.type)), born, max(died, born + 1), value.role, value.producer, value.name, value.type)


def _of_loops(graph: Graph, deaths: dict[int, int]) -> Iterator[Storage]:
    """What a loop holds besides the values of one turn: what the turn before it made, and what all turns put together."""
    end = len(graph.ops)
    for region in graph.regions:
        first, last = region.first, region.last
        for given, made in region.carried:
            is_new = region.turns > 1 and made.producer is not None and first <= made.producer <= last
            if is_new and owner_of(made) not in (owner_of(given), given.id):
                what = "carried from the turn before"
                yield Storage(-made.id, bytes_of(made.type), first, last + 1, "result", made.producer, None, made.type, what)
        for each in region.gathered:
            whole, born = each.whole, first if each.at_once else last
            died = _died(whole, deaths, end)
            yield Storage(whole.id, bytes_of(whole.type), born, max(died, born + 1), "result", born, whole.name, whole.type)
            earlier = (region.turns - 1) * sum(bytes_of(part.type) for part in each.slices) if len(each.slices) == 1 else 0
            if earlier and not each.at_once:
                what = f"of {region.turns - 1} earlier turns"
                yield Storage(-whole.id, earlier, first, last + 1, "result", last, None, each.slices[0].type, what)


def last_uses(graph: Graph, held: Held | None = None) -> dict[int, int]:
    """By the id of the value that memory was made for: the index of the first op after the last that uses it.

    A node of a file holds what it reads until it has ended, also where several ops stand for it, and where it runs a graph many times.
    Inputs belong to the caller, who holds them; what is returned is never given back.
    """
    held = Held(graph) if held is None else held
    uses: dict[int, int] = {}
    born: dict[int, int] = {}
    for op in graph.ops:
        for value in op.outputs:
            born.setdefault(owner_of(value), op.index)
        for value in (*op.inputs, *op.outputs):
            owner = owner_of(value)
            uses[owner] = max(uses.get(owner, 0), held.until(op.index, born.get(owner, -1)) + 1)
    for region in graph.regions:
        for value in (*region.holds, *(made for _, made in region.carried), *(part for each in region.gathered for part in each.slices)):
            owner = owner_of(value)
            uses[owner] = max(uses.get(owner, 0), region.last + 1)
        for each in region.gathered:
            uses.setdefault(owner_of(each.whole), region.last + 1)
    for value in (*graph.inputs, *graph.outputs):
        uses.pop(owner_of(value), None)
    return uses


def owner_of(value: Tensor) -> int:
    """The id of the value that the memory of a value was made for."""
    return value.id if value.storage is None else value.storage


_DRAWN = ("uniform", "bernoulli")


def folded(graph: Graph) -> dict[int, Tensor]:
    """The values, by id, that are made of weights and constants alone in a graph that only a file describes.

    A runtime makes them once, when it loads the model. A program that was traced makes them anew in every run, as it says.
    """
    if graph.deaths is not None:
        return {}
    varying = {value.id for region in graph.regions for value in (*region.varying, *(given for given, _ in region.carried))}
    varying |= {each.whole.id for region in graph.regions for each in region.gathered}
    found: dict[int, Tensor] = {}
    for op in graph.ops:
        if op.inputs and op.kind not in _DRAWN and all(_is_fixed(value, found, varying) for value in op.inputs):
            found.update((value.id, value) for value in op.outputs)
    for value in graph.outputs:  # which each run makes for its caller
        found.pop(value.id, None)
    return found


def _is_fixed(value: Tensor, found: dict[int, Tensor], varying: set[int]) -> bool:
    return value.id not in varying and (value.role in ("parameter", "buffer", "constant") or value.id in found)


def constants(graph: Graph) -> list[Tensor]:
    """The tensors that ops read and that are neither inputs nor weights nor made by an op: what the model holds elsewhere."""
    apart = {value.id for region in graph.regions for value in (*region.varying, *(each.whole for each in region.gathered))}
    read = (value for op in graph.ops for value in op.inputs if value.role == "constant" and value.id not in apart)
    return list({owner_of(value): value for value in read if value.storage is None}.values())
