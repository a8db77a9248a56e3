"""What an ideal planner makes of a model that runs again and again with the same shapes: one arena, and an offset for each piece of memory.

No arena can be smaller than the most bytes that are alive at once. Finding the smallest one is NP-hard, so planners are greedy. The two
here are those of Pisarchyk and Lee 2020, "Efficient Memory Management for Deep Neural Net Inference" (arXiv:2001.03288, section 5):
*by size* places the largest piece first; *by breadth* begins with the op around which the most bytes are alive. Each piece goes
into the smallest gap that it fits into between the pieces that are alive at the same time, or else above them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flopscope.analyses.memory.storages import Storage
from flopscope.analyses.memory.timeline import timeline
from flopscope.errors import GraphError

_LARGEST = 2**62


@dataclass(frozen=True, slots=True)
class Plan:
    """The places of pieces of memory in one arena."""

    arena_bytes: int
    lower_bound_bytes: int
    """The most bytes that are alive at once: no arena can be smaller."""
    offsets: tuple[int, ...]
    """Where each piece begins, in the order of the pieces."""
    strategy: str
    """The order in which they were placed: ``"greedy by size"`` or ``"greedy by breadth"``."""

    def verify(self, pieces: Sequence[Storage]) -> None:
        """Check that no two pieces that are alive at the same time overlap, and that all lie in the arena.

        Raises:
            GraphError: names two that do.
        """
        events = sorted([(piece.born, 1, i) for i, piece in enumerate(pieces)] + [(piece.died, 0, i) for i, piece in enumerate(pieces)])
        alive: dict[int, tuple[int, int]] = {}
        for _, begins, i in events:
            if not begins:
                alive.pop(i, None)
                continue
            start, stop = self.offsets[i], self.offsets[i] + pieces[i].bytes
            if start < 0 or stop > self.arena_bytes:
                raise GraphError(f"piece {pieces[i].id} lies outside the arena")
            for other, (low, high) in alive.items():
                if start < high and low < stop:
                    raise GraphError(f"pieces {pieces[i].id} and {pieces[other].id} are alive at the same time and overlap")
            if stop > start:
                alive[i] = (start, stop)


def plan(pieces: Sequence[Storage], ops: int, alignment: int = 1) -> Plan:
    """The smaller of the two plans for some pieces over a number of ops.

    Args:
        pieces: what is to be placed.
        ops: how many ops there are.
        alignment: the bytes of which every offset is a multiple.
    """
    lower = timeline(pieces, ops)
    bound = max(lower.peak_bytes, lower.before_bytes, lower.after_bytes)
    best: Plan | None = None
    for strategy, order in (("greedy by size", _by_size(pieces)), ("greedy by breadth", _by_breadth(pieces, lower.live_bytes))):
        offsets = _placed(pieces, order, alignment)
        arena = max((offset + piece.bytes for offset, piece in zip(offsets, pieces, strict=True)), default=0)
        if best is None or arena < best.arena_bytes:
            best = Plan(arena, bound, tuple(offsets), strategy)
        if arena <= bound:
            break
    assert best is not None
    return best


def _by_size(pieces: Sequence[Storage]) -> list[int]:
    return sorted(range(len(pieces)), key=lambda i: (-pieces[i].bytes, pieces[i].born, pieces[i].died))


def _by_breadth(pieces: Sequence[Storage], live: Sequence[int]) -> list[int]:
    """The pieces around the op with the most live bytes first, the largest of them first; then those around the next op."""
    rank = np.empty(len(live), dtype=np.int64)
    rank[sorted(range(len(live)), key=lambda op: -live[op])] = np.arange(len(live))
    first = [int(rank[max(piece.born, 0) : piece.died].min(initial=len(live))) for piece in pieces]
    return sorted(range(len(pieces)), key=lambda i: (first[i], -pieces[i].bytes, pieces[i].born))


def _placed(pieces: Sequence[Storage], order: Sequence[int], alignment: int) -> list[int]:
    # Python's own integers where NumPy's could overflow.
    kind: Any = np.int64 if sum(piece.bytes + alignment for piece in pieces) < _LARGEST else object
    born, died = (np.array([getattr(pieces[i], name) for i in order], dtype=np.int64) for name in ("born", "died"))
    starts, stops = np.zeros(len(order), dtype=kind), np.zeros(len(order), dtype=kind)
    offsets = [0] * len(pieces)
    for k, i in enumerate(order):
        size = pieces[i].bytes
        if size == 0:
            continue
        alive = np.flatnonzero((born[:k] < died[k]) & (died[:k] > born[k]) & (stops[:k] > starts[:k]))
        offset = _best_gap(starts[alive], stops[alive], size, alignment)
        offsets[i] = offset
        starts[k], stops[k] = offset, offset + size
    return offsets


def _best_gap(starts: Any, stops: Any, size: int, alignment: int) -> int:
    """The lowest aligned offset in the smallest gap of at least this size, or above everything."""
    if not len(starts):
        return 0
    order = np.argsort(starts, kind="stable")
    starts = starts[order]
    tops = np.maximum.accumulate(np.concatenate([starts[:1] * 0, stops[order]]))  # the end of all that lies below each gap
    bottoms = (tops + alignment - 1) // alignment * alignment
    gaps = starts - bottoms[:-1]
    fitting = np.flatnonzero(gaps >= size)
    if not len(fitting):
        return int(bottoms[-1])
    return int(bottoms[fitting[np.argmin(gaps[fitting])]])
