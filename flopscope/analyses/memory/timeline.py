"""The bytes that are alive while each op runs, and where they are the most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from flopscope.analyses.memory.storages import Storage


@dataclass(frozen=True, slots=True)
class Timeline:
    """The bytes of live tensors while each op runs: its inputs, its outputs, and whatever else is held."""

    live_bytes: tuple[int, ...]
    """One entry per op. A model without ops has none."""
    before_bytes: int
    """What is alive before the first op: the inputs."""
    after_bytes: int
    """What is alive after the last op: the inputs and the outputs."""

    @property
    def peak_bytes(self) -> int:
        """The largest of them."""
        return max(self.live_bytes, default=max(self.before_bytes, self.after_bytes))

    @property
    def peak_at(self) -> int | None:
        """The index of the first op at which the peak is reached, or ``None`` where there are no ops."""
        return self.live_bytes.index(self.peak_bytes) if self.live_bytes else None


def timeline(pieces: Sequence[Storage], ops: int, growths: Sequence[int] | None = None) -> Timeline:
    """The timeline of some pieces of memory over a number of ops.

    Args:
        pieces: the pieces of memory.
        ops: how many ops there are.
        growths: by op, the most bytes that are alive while it runs over what was alive before, scratch memory included. What its outputs
            take is the least.
    """
    changes = [0] * (ops + 3)
    made = [0] * (ops + 1)
    for piece in pieces:
        changes[piece.born + 1] += piece.bytes
        changes[piece.died + 1] -= piece.bytes
        made[piece.born + 1] += piece.bytes
    # Entry k + 1 of the sums is what is alive while op k runs; entry 0 what was there before.
    sums = list(accumulate(changes))
    live = sums[1 : ops + 1]
    if growths is not None:
        live = [total + max(growth - fresh, 0) for total, growth, fresh in zip(live, growths, made[1:], strict=True)]
    after = sum(piece.bytes for piece in pieces if piece.died > ops)
    return Timeline(tuple(live), sums[0], after)


def alive_at(pieces: Sequence[Storage], op: int) -> list[Storage]:
    """The pieces that are held while an op runs, the largest first."""
    return sorted((piece for piece in pieces if piece.born <= op < piece.died), key=lambda piece: (-piece.bytes, piece.id))
