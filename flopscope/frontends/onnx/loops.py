"""Loops: how often a body runs, turn by turn where its turns differ or its condition ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flopscope.errors import InputError
from flopscope.frontends.onnx.attributes import attributes_of
from flopscope.frontends.onnx.blocks import Block
from flopscope.frontends.onnx.control import inside, placed
from flopscope.frontends.onnx.regions import Draft
from flopscope.frontends.onnx.values import Value
from flopscope.graph import TensorType

if TYPE_CHECKING:
    import onnx

    from flopscope.frontends.onnx.facts import Context
    from flopscope.frontends.onnx.walker import Env, Walker

_MOST_TURNS, _MOST_NODES = 256, 50_000
"""Turns that are walked one by one where they differ: so many, or of small bodies as many as have so many nodes."""


def handler_of(node: onnx.NodeProto) -> Callable[..., list[Value]] | None:
    """What walks a loop; ``None`` for all other nodes."""
    return _loop if node.op_type == "Loop" and node.domain in ("", "ai.onnx") else None


def _loop(walker: Walker, node: onnx.NodeProto, values: Sequence[Value | None], env: Env, block: Block, context: Context) -> list[Value]:
    """``Loop(M, condition, carried...)``: the body as often as it runs where that is known; else once, and marked."""
    body = attributes_of(node).get("body")
    if body is None:
        raise InputError("it has no graph to run")
    carried = [value for value in values[2:] if value is not None]
    turns = _known_turns(values)
    scope = walker.scope_of(node, context)
    if turns == 0:
        return [*carried, *(_stacked(name.name, None, 0) for name in body.output[1 + len(carried) :])]
    visit = _Visit(walker, body, env, context, scope)
    before = walker.facts.mark()
    once = visit.turn(carried, None)
    stays = all(a.type is b.type and a.type is not None for a, b in zip(carried, once[1][1:], strict=False))
    may_end = not _always_true(once[1][0])
    most = max(_MOST_TURNS, _MOST_NODES // max(len(body.node), 1))
    differs = not stays or once[2]
    if may_end or (differs and turns is not None and turns <= most):
        after = walker.facts.mark()
        walker.facts.undo(before)  # what one turn of any number does not know, each turn by itself may
        known = visit.turn_by_turn(carried, turns, most, block, must_know=not differs or turns is None or turns > most)
        if known is not None:
            if turns is None and values[0] is not None and values[0].data is None:  # it may also end the loop
                _note_end(walker, scope)
            _note_first_condition(walker, values, scope)
            return known
        walker.facts.undo(after)
    if turns is None:
        walker.facts.notes["a Loop whose number of turns only data knows is counted per turn: one turn of each"] = None
        walker.facts.data_dependent.append(("ai.onnx::Loop", scope))
    elif may_end:
        _note_end(walker, scope)
    _note_first_condition(walker, values, scope)
    block.repeat(once[0], 1 if turns is None else turns)
    results = once[1][1:]
    if not stays and turns is not None:
        walker.facts.notes[
            f"a Loop of {turns:,} turns whose shapes change from turn to turn is counted as if all were like the first: neither an upper "
            "nor a lower bound"
        ] = None
        walker.facts.data_dependent.append(("ai.onnx::Loop", scope))
        results = [Value(b.name, b.dtype) if a.type is not b.type else b for a, b in zip(carried, results, strict=False)] + results[
            len(carried) :
        ]
    scans = [placed(walker, _stacked(value.name, value, 1 if turns is None else turns)) for value in results[len(carried) :]]
    gathered = [(whole, [turn]) for whole, turn in zip(scans, results[len(carried) :], strict=True)]
    handed = list(zip(carried, once[1][1:], strict=False))
    walker.drafts.append(Draft(once[0].entries, False, 1 if turns is None else turns, handed, visit.counts, gathered))
    return [*results[: len(carried)], *scans]


def _known_turns(values: Sequence[Value | None]) -> int | None:
    most = values[0] if values else None
    condition = values[1] if len(values) > 1 else None
    if condition is not None and condition.data is not None and not condition.data.any():
        return 0
    if most is None or most.data is None:
        return None
    turns = int(most.data.reshape(-1)[0])
    return max(turns, 0) if turns < 2**31 else None


def _always_true(condition: Value) -> bool:
    """Whether the condition that a body returns is the constant true, or what it was given."""
    return condition.name == "" or (condition.data is not None and bool(condition.data.all()))


def _note_end(walker: Walker, scope: str) -> None:
    walker.facts.notes["upper bound: a Loop that its condition may end early is counted with all its turns"] = None
    walker.facts.data_dependent.append(("ai.onnx::Loop", scope))


def _note_first_condition(walker: Walker, values: Sequence[Value | None], scope: str) -> None:
    """Say so where only data knows whether a loop begins."""
    condition = values[1] if len(values) > 1 else None
    if condition is not None and condition.data is None:
        walker.facts.notes["upper bound: a Loop that its first condition may skip is counted as if it began"] = None
        walker.facts.data_dependent.append(("ai.onnx::Loop", scope))


class _Visit:
    """The walk through the turns of one loop."""

    def __init__(self, walker: Walker, body: onnx.GraphProto, env: Env, context: Context, scope: str) -> None:
        self.walker, self.body, self.env, self.context, self.scope = walker, body, env, context, scope
        self.counts: list[Value] = []
        """The number of the turn and the condition, as the bodies know them."""

    def turn(self, carried: Sequence[Value], turn: int | None) -> tuple[Block, list[Value], bool]:
        """One turn: its ops, the results, and whether a shape in it is not known, or only bounded."""
        import numpy as np

        walker, inner = self.walker, Block()
        names = [value.name for value in self.body.input]
        count = Value(names[0], "int64", TensorType.of((), "int64"), None if turn is None else np.asarray(turn))
        condition = Value(names[1] if len(names) > 1 else "", "bool", TensorType.of((), "bool"), np.asarray(True))
        self.counts += [count, condition]
        if turn is None:  # what a later turn carries is not known
            carried = [Value(v.name, v.dtype, v.type, None, v.items, tensor=v.tensor) for v in carried]
        given = dict(zip(names, [count, condition, *carried], strict=False))
        before = len(walker.facts.unknown) + len(walker.facts.data_dependent)
        results = inside(walker, self.body, given, self.env, inner, self.context, self.scope)
        return inner, results, len(walker.facts.unknown) + len(walker.facts.data_dependent) > before

    def turn_by_turn(self, carried: Sequence[Value], turns: int | None, most: int, block: Block, *, must_know: bool) -> list[Value] | None:
        """The results of all turns, until the condition ends them.

        Args:
            carried: what the first turn is given.
            turns: how many there are at most; ``None`` where only the condition knows.
            most: how many are walked.
            block: takes the ops.
            must_know: whether to give up, with ``None``, where a condition is not known, or the loop goes on for too long.
        """
        entries: list[Any] = []
        scans: list[list[Value]] = []
        ended = False
        for turn in range(most if turns is None else min(turns, most)):
            inner, results, _ = self.turn(carried, turn)
            entries += inner.entries
            scans.append(results[1 + len(carried) :])
            carried = results[1 : 1 + len(carried)]
            known = _always_true(results[0]) or results[0].data is not None
            if not known and must_know:
                return None
            if not known:
                _note_end(self.walker, self.scope)
            elif not _always_true(results[0]):
                ended = True
                break
        if must_know and not ended and (turns is None or turns > most):
            return None
        block.entries += entries
        columns = list(zip(*scans, strict=True))
        stacked = [placed(self.walker, _stacked(column[0].name, column[0], len(column))) for column in columns]
        gathered = [(whole, list(column)) for whole, column in zip(stacked, columns, strict=True)]
        self.walker.drafts.append(Draft(entries, False, 1, [], self.counts, gathered))
        return [*carried, *stacked]


def _stacked(name: str, value: Value | None, turns: int) -> Value:
    """What a scan output becomes: its turns side by side."""
    if value is None or value.type is None:
        return Value(name, "undefined" if value is None else value.dtype)
    return Value(name, value.dtype, TensorType.of((turns, *value.type.shape), value.dtype))
