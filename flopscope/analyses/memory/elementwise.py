"""Which results a runtime may write over one of the op's own inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flopscope.analyses.memory.regions import Held
from flopscope.analyses.memory.storages import Storage, owner_of
from flopscope.graph import Graph, Op, Tensor
from flopscope.rules import activation, elementwise

_NEW = ("arange", "linspace", "logspace", "range", "frexp", "polar")
KINDS = (frozenset(elementwise.FLOPS_PER_ELEMENT) | frozenset(activation.FLOPS_PER_ELEMENT) | {"where", "masked_fill"}) - frozenset(_NEW)
"""Element i of the result depends on element i of the inputs alone."""
_IN_EVALUATION = ("batch_norm", "dropout")
"""The same, where the layer is not in training."""


def in_place(graph: Graph, pieces: Sequence[Storage]) -> list[Storage]:
    """The pieces that are left when elementwise ops write in place wherever they can.

    The rule: the result of an elementwise op takes the memory of the first input of the op that dies there, was made by an op of the
    model, has the shape of the result, and takes as many bytes. So a chain of elementwise ops takes one piece, as in a fused kernel.

    Args:
        graph: the graph.
        pieces: its pieces, each from its first write to its last use.
    """
    by_id = {piece.id: piece for piece in pieces}
    held = Held(graph)
    root: dict[int, int] = {}
    returned = {owner_of(value) for value in graph.outputs}
    for op in graph.ops:
        if len(op.outputs) != 1 or not _is_elementwise(op) or op.outputs[0].id not in by_id or held.until(op.index, op.index) != op.index:
            continue
        result = by_id[op.outputs[0].id]
        for value in op.inputs:
            owner = root.get(owner_of(value), owner_of(value))
            source = by_id.get(owner)
            if source is not None and source.role == "result" and owner not in returned and _fits(op, value, source, result):
                by_id[owner] = replace(source, died=result.died)
                del by_id[result.id]
                root[result.id] = owner
                if result.id in returned:
                    returned.add(owner)
                break
    return list(by_id.values())


def _is_elementwise(op: Op) -> bool:
    if op.signature.effect != "fresh" or op.times != 1:
        return False
    in_evaluation = not op.signature.get("training", False) and not op.signature.get("train", False)
    return op.kind in KINDS or (op.kind in _IN_EVALUATION and in_evaluation)


def _fits(op: Op, value: Tensor, source: Storage, result: Storage) -> bool:
    """Whether a result may be written over an input, and no other input is another view of the same memory."""
    others = [other for other in op.inputs if owner_of(other) == owner_of(value) and other.id != value.id]
    dies = source.died == op.index + 1
    return (
        dies
        and not others
        and value.shape == op.outputs[0].shape
        and source.bytes == result.bytes
        and value.type.extent == value.type.elements
    )
