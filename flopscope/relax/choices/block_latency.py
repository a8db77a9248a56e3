"""The expected latency of a chain of blocks, each of which is a choice, from a table of blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from flopscope.errors import SupernetError
from flopscope.latency.estimate import Estimate
from flopscope.relax.choices.cost_model import CostModel
from flopscope.relax.choices.decisions import Decision
from flopscope.relax.choices.parts import Part
from flopscope.relax.choices.timing import SECONDS, picoseconds

Block = TypeVar("Block")


def block_latency(
    of: Callable[[Block], Estimate],
    choices: Mapping[str, Sequence[Block | None]],
    fixed: Sequence[Block] = (),
    name: str = "blocks",
) -> CostModel:
    """The latency of every network of a space of blocks, as a differentiable function of the probabilities of its choices.

    ``model("seconds")`` is ``E[lat] = sum over choices of sum_j p_j F(o_j)``, plus the fixed blocks: Cai et al. 2019, arXiv:1812.00332,
    eq. 5 and 6. ``model.attach(supernet)`` takes the probabilities from the choices of a supernet, whose module paths are the keys of
    ``choices``; architectures can be given without one.

    Args:
        of: the time of a block, such as ``BlockTable.of``.
        choices: by path, the block that each candidate is; ``None`` for a candidate that leaves the block out and takes no time.
        fixed: the blocks that every network has.
        name: what to call it.

    Raises:
        SupernetError: there are no choices, or one has no candidates.
        OptionError: a block is not in the table (from ``of``).
    """
    if not choices or not all(choices.values()):
        raise SupernetError("an expected latency needs at least one choice, and at least one candidate in each")
    decisions = [Decision((path,), tuple(str(block) for block in blocks)) for path, blocks in choices.items()]
    parts = [Part(((),), frozenset([frozenset()]), (sum(picoseconds(of(block).seconds) for block in fixed),))]
    for decision, (path, blocks) in enumerate(choices.items()):
        for candidate, block in enumerate(blocks):
            time = 0 if block is None else picoseconds(of(block).seconds)
            parts.append(Part((((path, candidate),),), frozenset([frozenset([(decision, candidate)])]), (time,)))
    return CostModel(name, decisions, parts, ["seconds add up blocks that were measured one by one"], partial=False, metrics=(SECONDS,))
