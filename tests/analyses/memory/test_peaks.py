"""Peaks that can be counted on paper. ``UNIT`` is the bytes of one tensor of 16 floats."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import flopscope
from flopscope.report.memory import Memory

UNIT = 16 * 4


def memory(function: object, *shapes: str) -> Memory:
    return flopscope.analyze(function, *(shapes or ("4x4",))).memory


def live(found: Memory) -> list[int]:
    """Live bytes of each op, in tensors of 16 floats."""
    assert all(count % UNIT == 0 for count in found.timeline.live_bytes)
    return [count // UNIT for count in found.timeline.live_bytes]


def test_a_chain_holds_two_tensors_and_the_input() -> None:
    def chain(x: Tensor) -> Tensor:
        y = x.exp()
        y = y.sin()
        return y.cos()

    found = memory(chain)
    assert live(found) == [2, 3, 3]  # x and its exp; then two results and x
    assert (found.peak_bytes, found.input_bytes, found.activation_peak_bytes) == (3 * UNIT, UNIT, 2 * UNIT)
    assert found.fused.activation_peak_bytes == UNIT, "sin and cos write over what they read"


def test_a_result_that_is_not_let_go_of_stays() -> None:
    def holds(x: Tensor) -> Tensor:
        first = x.exp()
        second = first.sin()
        return second.cos()

    found = memory(holds)
    assert live(found) == [2, 3, 4]
    assert found.fused.peak_bytes == 2 * UNIT


def test_a_residual_block() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            y = y.relu_()
            y = self.second(y)
            return y + x

    found = flopscope.analyze(Block(), "4x4").memory
    assert live(found) == [2, 2, 3, 3]
    assert found.peak is not None
    assert (found.peak.op, found.peak.scope, found.peak.target) == (2, "second", "aten::linear")
    assert found.parameter_bytes == 2 * (4 * 4 + 4) * 4
    assert found.total_bytes == 3 * UNIT + found.parameter_bytes


def test_views_share_memory_and_keep_it() -> None:
    def views(x: Tensor) -> Tensor:
        row = x.exp().view(16)[:4]  # holds all sixteen
        return row.sin()

    found = memory(views)
    assert list(found.timeline.live_bytes) == [2 * UNIT, 2 * UNIT, 2 * UNIT, 2 * UNIT + 4 * 4]


def test_concatenation_meets_all_its_parts() -> None:
    def joined(x: Tensor) -> Tensor:
        return torch.cat([x.exp(), x.sin(), x.cos()])

    assert live(memory(joined)) == [2, 3, 4, 7]


def test_what_is_returned_stays_and_an_input_may_be_returned() -> None:
    assert live(memory(lambda x: (x.exp(), x, x.sin(), x.cos()))) == [2, 3, 4]


def test_a_function_without_ops_holds_its_inputs() -> None:
    found = memory(lambda x: x)
    assert (found.peak_bytes, found.activation_peak_bytes, found.peak, found.timeline.live_bytes) == (UNIT, 0, None, ())
    assert [piece.bytes for piece in found.alive] == [UNIT]
    assert found.plan.arena_bytes == 0
    assert "64 bytes" in found.to_text(exact=True)


def test_writing_into_the_input_takes_nothing() -> None:
    assert live(memory(lambda x: x.relu_())) == [1]


def test_a_shared_parameter_counts_once_and_buffers_apart() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(8, 8, bias=False)
            self.second = nn.Linear(8, 8, bias=False)
            self.second.weight = self.first.weight
            self.register_buffer("mean", torch.zeros(3, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    found = flopscope.analyze(Shared(), "2x8").memory
    assert (found.parameter_bytes, found.buffer_bytes) == (8 * 8 * 4, 3 * 8)


def test_a_sparse_buffer_counts_as_stored() -> None:
    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer(
                "table", torch.sparse_coo_tensor([[0, 1, 2], [2, 0, 1]], [1.0, 2.0, 3.0], (100, 100), check_invariants=True)
            )

        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    assert flopscope.analyze(Sparse(), "2x8").memory.buffer_bytes == 3 * 4 + 2 * 3 * 8  # elements, and int64 indices


def test_in_place_needs_one_view_that_dies() -> None:
    """The sum of a matrix and its transpose cannot be written over either: each element is read twice."""

    def turned(x: Tensor) -> Tensor:
        y = x.exp()
        return y + y.t()

    def twice(x: Tensor) -> Tensor:
        y = x.exp()
        return y + y

    def outlives(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.exp()
        return y + 1, y

    assert memory(turned).fused.activation_peak_bytes == 2 * UNIT
    assert memory(twice).fused.activation_peak_bytes == UNIT
    assert memory(outlives).fused.activation_peak_bytes == 2 * UNIT


def test_a_smaller_operand_is_not_written_over() -> None:
    found = memory(lambda x, row: x + row.exp(), "4x4", "4")
    assert found.fused.activation_peak_bytes == UNIT + 4 * 4


@pytest.mark.parametrize("count", [1, 7])
def test_what_is_alive_adds_up_to_the_peak(count: int) -> None:
    found = flopscope.analyze(nn.Sequential(*(nn.Linear(4, 4) for _ in range(count))), "4x4").memory
    assert sum(piece.bytes for piece in found.alive) == found.peak_bytes
    for op in range(count):
        assert sum(piece.bytes for piece in found.alive_at(op)) == found.timeline.live_bytes[op]
    assert found.alive[0].bytes == max(piece.bytes for piece in found.alive)
