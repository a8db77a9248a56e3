"""How oneDNN lays out what it keeps for itself (``src/cpu/rnn/rnn_utils.cpp``): in whole cache lines, and in whole pages."""

from __future__ import annotations

_PAGE_BYTES = 4096
_LINE_ELEMENTS = 16
"""Numbers of 32 bits in a cache line of 64 bytes."""


def row_elements(elements: int) -> int:
    """How many numbers of 32 bits a row takes: whole cache lines, and one more where rows would lie 1 KiB apart."""
    padded = -(-elements // _LINE_ELEMENTS) * _LINE_ELEMENTS
    return padded + _LINE_ELEMENTS if padded % 256 == 0 else padded


def page_bytes(*elements: int) -> int:
    """The bytes of some parts of so many numbers of 32 bits, each part in whole pages."""
    return sum(-(-4 * part // _PAGE_BYTES) * _PAGE_BYTES for part in elements)
