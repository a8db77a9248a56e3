"""Telling the ops of a supernet's relaxation from those of the networks in it.

Multiplying candidates by their probabilities, adding them up and drawing a path are work of the search. No network that a search derives
does it. An op belongs to the relaxation if

1. it computes with nothing but what probabilities are made of (a softmax, a draw); or
2. it applies such a value to data: a gate, or a weighted sum; or
3. it runs in the forward of a choice itself and reads what a candidate of that call returned (the sum over candidates); or
4. it needs no data at all, and only ops of the relaxation use it (random numbers for a draw).
"""

from __future__ import annotations

from collections.abc import Sequence

from flopscope.frontends.torch.choices import Chain, Span
from flopscope.graph import Graph, Op, Tensor
from flopscope.rules.registry import rule_for

_MIXING_FAMILIES = frozenset(("elementwise", "activation", "movement", "reduction", "softmax", "sorting", "matmul", "einsum"))
"""What a gate can be. A convolution or normalisation that reads architecture parameters is a layer of the network."""

_SHAPE_ONLY = frozenset((
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones", "new_full", "new_empty",
))  # fmt: skip
"""Ops that take the shape of a tensor and none of its data."""


def mixing_ops(
    graph: Graph, chains: Sequence[Chain], own_calls: Sequence[Span | None], paths: Sequence[str], sources: Sequence[Tensor]
) -> set[int]:
    """The indices of the ops that belong to the relaxation.

    Args:
        graph: the traced supernet.
        chains: of each op the candidates that it is inside of.
        own_calls: of each op the call of a choice in whose forward, outside its candidates, it ran.
        paths: the path of each choice.
        sources: the values that probabilities are made of.
    """
    pure = {value.id for value in sources}  # made of nothing but architecture parameters
    free: set[int] = set()  # made of nothing
    mixing: set[int] = set()
    for op in graph.ops:
        reads_pure = any(value.id in pure for value in op.inputs)
        if op.kind in _SHAPE_ONLY or all(value.id in pure or value.id in free or _is_constant(value) for value in op.inputs):
            (pure if reads_pure else free).update(value.id for value in op.outputs)
            if reads_pure:
                mixing.add(op.index)
        elif (reads_pure and _can_mix(op)) or _adds_up(op, own_calls[op.index], chains, paths, mixing):
            mixing.add(op.index)
    _spread_back(graph, free, mixing)
    return mixing


def _is_constant(value: Tensor) -> bool:
    return value.role == "constant"


def _can_mix(op: Op) -> bool:
    found = rule_for(op.signature)
    return found is None or found.family in _MIXING_FAMILIES


def _adds_up(op: Op, call: Span | None, chains: Sequence[Chain], paths: Sequence[str], mixing: set[int]) -> bool:
    """Whether an op in the forward of a choice reads what a candidate returned in this call, or what was mixed from it."""
    if call is None or op.scope != paths[call.choice]:
        return False
    for value in op.inputs:
        producer = value.producer
        if producer is None or producer < call.first:
            continue
        if producer in mixing or any(choice == call.choice for choice, _ in chains[producer]):
            return True
    return False


def _spread_back(graph: Graph, free: set[int], mixing: set[int]) -> None:
    """Add the ops that are made of nothing and that only the relaxation uses."""
    readers: dict[int, list[int]] = {}
    for op in graph.ops:
        for value in op.inputs:
            readers.setdefault(value.id, []).append(op.index)
    for op in reversed(graph.ops):
        users = [reader for value in op.outputs for reader in readers.get(value.id, [])]
        if users and all(value.id in free for value in op.outputs) and mixing.issuperset(users):
            mixing.add(op.index)


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
