"""The arena planner: no overlaps, by brute force, and known sizes."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flopscope.analyses.memory.planner import Plan, plan
from flopscope.analyses.memory.storages import Storage
from flopscope.errors import GraphError
from flopscope.graph import TensorType

OPS = 12


def piece(number: int, size: int, born: int, died: int) -> Storage:
    return Storage(number, size, born, died, "result", born, None, TensorType.of((size,), "int8"))


PIECES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, OPS - 1), st.integers(1, OPS)).map(lambda t: (t[0], t[1], min(t[1] + t[2], OPS))),
    max_size=14,
).map(lambda found: [piece(i, *facts) for i, facts in enumerate(found)])


def overlaps(pieces: list[Storage], found: Plan) -> list[tuple[int, int]]:
    """Pairs that share both an op and a byte, by looking at every op and every byte."""
    cells = [
        {(op, byte) for op in range(p.born, p.died) for byte in range(offset, offset + p.bytes)}
        for p, offset in zip(pieces, found.offsets, strict=True)
    ]
    return [(i, j) for i, j in combinations(range(len(pieces)), 2) if cells[i] & cells[j]]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(PIECES, st.sampled_from([1, 4]))
def test_no_two_live_pieces_overlap(pieces: list[Storage], alignment: int) -> None:
    found = plan(pieces, OPS, alignment)
    found.verify(pieces)
    assert overlaps(pieces, found) == []
    assert all(offset % alignment == 0 for offset in found.offsets)
    live = [sum(p.bytes for p in pieces if p.born <= op < p.died) for op in range(OPS)]
    assert found.lower_bound_bytes == max(live)
    assert found.lower_bound_bytes <= found.arena_bytes <= sum(p.bytes + alignment - 1 for p in pieces)


def test_verify_finds_an_overlap() -> None:
    pieces = [piece(0, 4, 0, 2), piece(1, 4, 1, 3), piece(2, 4, 2, 3)]
    Plan(8, 8, (0, 4, 0), "by hand").verify(pieces)
    for offsets in ((0, 3, 0), (0, 4, 5), (0, 4, -1)):
        with pytest.raises(GraphError):
            Plan(8, 8, offsets, "by hand").verify(pieces)


def test_a_chain_takes_its_two_largest_neighbours() -> None:
    sizes = [5, 9, 2, 8, 8, 1]
    chain = [piece(i, size, i, i + 2) for i, size in enumerate(sizes)]
    found = plan(chain, len(sizes) + 1)
    assert found.lower_bound_bytes == found.arena_bytes == 16


def test_first_fit_beats_any_order_only_where_the_bound_allows() -> None:
    """Of five pieces, the best of all orders in which they can be put into the lowest free place."""
    pieces = [piece(0, 3, 0, 3), piece(1, 2, 1, 5), piece(2, 4, 3, 6), piece(3, 1, 2, 6), piece(4, 2, 5, 7)]
    best = min(lowest_places(pieces, order) for order in permutations(range(len(pieces))))
    assert plan(pieces, 7).arena_bytes == best


def lowest_places(pieces: list[Storage], order: tuple[int, ...]) -> int:
    taken: dict[int, int] = {}
    for i in order:
        mine = pieces[i]
        others = [(taken[j], taken[j] + pieces[j].bytes) for j in taken if pieces[j].born < mine.died and mine.born < pieces[j].died]
        taken[i] = next(at for at in range(100) if all(at + mine.bytes <= low or high <= at for low, high in others))
    return max(taken[i] + pieces[i].bytes for i in taken)


def test_sizes_beyond_64_bits() -> None:
    huge = 2**70
    found = plan([piece(0, huge, 0, 2), piece(1, huge, 1, 3)], 3)
    assert found.arena_bytes == 2 * huge


def test_five_thousand_pieces() -> None:
    pieces = [piece(i, 1 + i * 7919 % 1000, i, min(i + 1 + i * 31 % 17, 5000)) for i in range(5000)]
    found = plan(pieces, 5000)
    found.verify(pieces)
    assert found.arena_bytes < 1.25 * found.lower_bound_bytes


def test_nothing_to_place() -> None:
    assert plan([], 0).arena_bytes == 0
