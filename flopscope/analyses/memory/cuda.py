"""What CUDA's caching allocator makes of the sizes that are asked for, so that `torch.cuda.max_memory_allocated` can be predicted.

c10/cuda/CUDACachingAllocator.cpp: sizes are rounded up to blocks of 512 bytes (``kMinBlockSize``). A block of more than 1 MiB is cut from a
larger one only if more than 1 MiB would be left of that (``should_split``), so the true figure may be higher by up to 1 MiB per large
tensor; it depends on what was freed before. What cuDNN and cuBLAS take as workspaces is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flopscope.analyses.memory.storages import Storage

BLOCK = 512
"""Bytes."""


def in_blocks(size: int) -> int:
    """The bytes of the smallest block that holds so many."""
    return -(-size // BLOCK) * BLOCK


def on_cuda(pieces: Sequence[Storage]) -> list[Storage]:
    """The same pieces of memory, each in a block of its own."""
    return [replace(piece, bytes=in_blocks(piece.bytes)) for piece in pieces]
