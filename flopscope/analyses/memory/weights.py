"""The bytes of parameters and buffers."""

from __future__ import annotations

from flopscope.analyses.widths import width_of
from flopscope.graph import Weight

_INDEX_BYTES = 8
"""PyTorch and ONNX index sparse tensors with int64."""


def weight_bytes(weight: Weight) -> int:
    """The bytes that a parameter or buffer takes: a sparse one its elements and indices as stored, elements of unknown width none."""
    type = weight.type
    return (type.bytes(weight.elements) if width_of(type.dtype) is not None else 0) + _INDEX_BYTES * weight.indices
