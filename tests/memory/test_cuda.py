"""The blocks of CUDA's caching allocator."""

from __future__ import annotations

import pytest

from flopscope.analyses.memory.cuda import in_blocks, on_cuda
from flopscope.analyses.memory.storages import Storage
from flopscope.graph import TensorType


@pytest.mark.parametrize(("asked", "taken"), [(0, 0), (1, 512), (512, 512), (513, 1024), (2**20 + 1, 2**20 + 512)])
def test_sizes_are_rounded_up_to_blocks(asked: int, taken: int) -> None:
    assert in_blocks(asked) == taken


def test_each_piece_is_rounded_by_itself() -> None:
    pieces = [Storage(id, 100, 0, 1, "result", 0, None, TensorType.of((25,))) for id in range(3)]
    assert [piece.bytes for piece in on_cuda(pieces)] == [512] * 3
