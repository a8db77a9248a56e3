"""The bytes of parameters and buffers."""

from __future__ import annotations

from flopscope.graph import Weight

_INDEX_BYTES = 8


def bytes_of(weight: Weight) -> int:
    """The bytes that a parameter or buffer takes; of a sparse one, its elements and indices as stored."""
    return weight.type.bytes(weight.elements) + _INDEX_BYTES * weight.indices
