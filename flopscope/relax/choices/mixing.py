"""Telling the ops of a supernet's relaxation from those of the networks in it.

Multiplying candidates by their probabilities, adding them up and drawing a path are work of the search. No network that a search derives
does it. An op belongs to the relaxation if

1. it computes with nothing but what probabilities are made of (a softmax, a draw); or
2. it applies such a value to data: a gate, or a weighted sum; or
3. it reads a value that holds some, but not all, of the candidates that the forward of a choice called: a sum that is not complete, or
   several outputs in one tensor. What is done with the complete sum is work of the network; or
4. it adds a number or nothing to what candidates returned, or scales it, in the forward of the choice (``sum`` begins with 0); or
5. it needs no data at all, and only ops of the relaxation use it (random numbers for a draw); or
6. it is a part of a candidate that was called a second time with the same inputs (a path that was drawn twice).

An op that reads a weight is a layer of the network, whatever else it reads. One that reads what a single candidate returned, before it is
mixed with others, is work of that candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flopscope.frontends.torch.choices import Call, Place
from flopscope.graph import Graph, Op, Tensor
from flopscope.rules.registry import rule_for

_MERGING = ("reduction", "matmul", "einsum")
_MIXING = frozenset(("elementwise", "movement", *_MERGING))
"""What can mix. A convolution, a normalisation or an activation is a layer of the network, whatever it reads."""
_ELEMENTWISE_MOVES = frozenset(("where", "masked_fill", "copy", "clone", "to", "contiguous"))
_PARTS = frozenset((
    "select", "unbind", "chunk", "split", "split_with_sizes", "tensor_split", "index", "index_select", "gather", "slice", "narrow",
))  # fmt: skip
"""Ops that take a part of several outputs in one tensor: which one is not known."""
_SCALING = frozenset(("add", "sub", "mul", "div", "copy"))

_SHAPE_ONLY = frozenset((
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones", "new_full", "new_empty",
))  # fmt: skip
"""Ops that take the shape of a tensor and none of its data."""


@dataclass(frozen=True, slots=True)
class _Mixture:
    """What a value holds of the candidates of one call."""

    call: Call
    candidates: frozenset[int]
    stacked: bool = False
    """Whether several outputs lie side by side in it."""

    @property
    def is_complete(self) -> bool:
        """Whether it is what the choice computes."""
        return not self.stacked and self.candidates.issuperset(self.call.ran)


class MixingFinder:
    """Finds the ops of the relaxation in one walk over the graph.

    Args:
        graph: the traced supernet.
        places: where each op ran.
        sources: the values that probabilities are made of.
    """

    def __init__(self, graph: Graph, places: Sequence[Place], sources: Sequence[Tensor]) -> None:
        self._graph = graph
        self.places = list(places)
        """Where each op ran, where what is done with the output of one candidate counts as a part of it."""
        self._pure = {value.id for value in sources}  # made of nothing but architecture parameters
        self._free: set[int] = set()  # made of nothing
        self._mixtures: dict[int, _Mixture] = {}
        self.found: set[int] = set()
        for op in graph.ops:
            if places[op.index].repeated or self._is_mixing(op):
                self.found.add(op.index)
        self._spread_back()

    def _is_mixing(self, op: Op) -> bool:
        reads_pure = any(value.id in self._pure for value in op.inputs)
        if op.kind in _SHAPE_ONLY or all(self._is_small(value) for value in op.inputs):
            (self._pure if reads_pure else self._free).update(value.id for value in op.outputs)
            return reads_pure
        read = [mixture for value in op.inputs if (mixture := self._mixture_of(value, op)) is not None]
        family = _family_of(op)
        # After a choice has returned its candidates one by one, they are added up, and nothing else.
        after = [mixture for mixture in read if op.index >= mixture.call.end] if family in ("matmul", "einsum") else []
        reads_part = any(not mixture.is_complete for mixture in read if mixture not in after)
        if family not in _MIXING or any(value.role == "parameter" and not self._is_small(value) for value in op.inputs):
            self._give_to_candidate(op, read)
            return False
        if not (reads_pure or reads_part or self._only_scales(op, read)):
            return False
        if read:
            mixture = _joined(read, op, family)
            self._mixtures.update({value.id: mixture for value in op.outputs})
        return True

    def _is_small(self, value: Tensor) -> bool:
        is_number = value.role in ("parameter", "buffer") and value.type.elements == 1
        return value.id in self._pure or value.id in self._free or value.role == "constant" or is_number

    def _only_scales(self, op: Op, read: Sequence[_Mixture]) -> bool:
        """Whether an op in the forward of a choice puts what its candidates returned together with nothing but numbers."""
        own = self.places[op.index].own
        others = sum(not self._is_small(value) for value in op.inputs)
        return op.kind in _SCALING and bool(read) and others == len(read) and all(mixture.call is own for mixture in read)

    def _give_to_candidate(self, op: Op, read: Sequence[_Mixture]) -> None:
        own = self.places[op.index].own
        if len(read) == 1 and own is read[0].call and not read[0].is_complete and len(read[0].candidates) == 1 and not read[0].stacked:
            (candidate,) = read[0].candidates
            self.places[op.index] = replace(self.places[op.index].inside(own, candidate, False), own=None)

    def _mixture_of(self, value: Tensor, op: Op) -> _Mixture | None:
        """What an op reads of candidates that it is not inside of."""
        mixture = self._mixtures.get(value.id)
        if value.producer is not None:
            inner, outer = self.places[value.producer], self.places[op.index]
            depth = len(outer.calls)
            if len(inner.calls) > depth and inner.calls[:depth] == outer.calls and inner.chain[:depth] == outer.chain:
                again = inner.repeated and not outer.repeated  # which adds nothing to what the first call returned
                mixture = _Mixture(inner.calls[depth], frozenset(() if again else [inner.chain[depth][1]]))
        if mixture is None or (op.index >= mixture.call.end and value.id in mixture.call.returned):
            return None  # what a choice returns is a value of the network
        return mixture

    def _spread_back(self) -> None:
        """Add the ops that are made of nothing and that only the relaxation uses."""
        readers = readers_of(self._graph)
        for op in reversed(self._graph.ops):
            users = [reader for value in op.outputs for reader in readers.get(value.id, [])]
            place = self.places[op.index]
            is_free = all(value.id in self._free for value in op.outputs or op.inputs)
            is_draw = not op.outputs and place.own is not None  # Python reads it
            is_beside = all(self.places[reader].chain == place.chain for reader in users)  # no fill of a candidate that is all zeros
            if is_free and (is_draw or users) and is_beside and self.found.issuperset(users):
                self.found.add(op.index)


def _family_of(op: Op) -> str:
    if op.kind in _ELEMENTWISE_MOVES:
        return "elementwise"
    if op.signature.effect == "view":
        return "movement"
    rule = rule_for(op.signature)
    return "" if rule is None else rule.family


def _joined(read: Sequence[_Mixture], op: Op, family: str) -> _Mixture:
    """What an op makes of the mixtures that it reads, those of the innermost call."""
    call = max(read, key=lambda mixture: mixture.call.end or float("inf")).call
    mine = [mixture for mixture in read if mixture.call is call]
    if op.kind in _PARTS and any(mixture.stacked for mixture in mine):
        return _Mixture(call, frozenset())
    candidates = frozenset().union(*(mixture.candidates for mixture in mine))
    stacked = any(mixture.stacked for mixture in mine) or (family == "movement" and len(mine) > 1)
    return _Mixture(call, candidates, stacked and family not in _MERGING)


def readers_of(graph: Graph) -> dict[int, list[int]]:
    """The ops that read each value, by its id."""
    readers: dict[int, list[int]] = {}
    for op in graph.ops:
        for value in op.inputs:
            readers.setdefault(value.id, []).append(op.index)
    return readers


def given_to_candidates(graph: Graph, places: Sequence[Place]) -> list[Place]:
    """The places, where work in the forward of a choice that one candidate alone uses counts as work of that candidate."""
    readers = readers_of(graph)
    found = list(places)
    for op in reversed(graph.ops):
        own = found[op.index].own
        users = {found[reader] for value in op.outputs for reader in readers.get(value.id, [])}
        if own is None or not users:
            continue
        depth = len(found[op.index].calls)
        inside = {(user.calls[depth], user.chain[depth]) if len(user.calls) > depth else None for user in users}
        if len(inside) == 1 and (only := inside.pop()) is not None and only[0] is own:
            found[op.index] = replace(found[op.index].inside(own, only[1][1], False), own=None)
    return found


def weights_read(graph: Graph, mixing: set[int]) -> set[str]:
    """The names of the weights that ops of the networks read, also through views."""
    origin: dict[int, str] = {value.id: name for name, value in graph.weights.items()}
    read = set()
    for op in graph.ops:
        names = [origin[value.id] for value in op.inputs if value.id in origin]
        if op.index in mixing or not names:
            continue
        if op.signature.effect == "view":
            origin.update({value.id: names[0] for value in op.outputs})
        else:
            read.update(names)
    return read
