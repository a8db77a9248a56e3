"""What a tensor is without its data: its shape, dtype and strides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flopscope.errors import GraphError

_BITS_BY_NAME = {"bool": 8, "string": 64, "complex32": 32, "complex64": 64, "complex128": 128}


def bits_of(dtype: str) -> int:
    """The bits that one element of a dtype takes in memory, such as 32 for ``"float32"`` or 8 for ``"float8_e4m3fn"``."""
    known = _BITS_BY_NAME.get(dtype)
    if known is not None:
        return known
    digits = ""
    for character in dtype.lstrip("abcdefghijklmnopqrstuvwxyz"):
        if not character.isdigit():
            break
        digits += character
    if not digits:
        raise GraphError(f"the width of dtype {dtype!r} is unknown: expected a name that ends in its bits, such as 'float32'")
    _BITS_BY_NAME[dtype] = int(digits)
    return _BITS_BY_NAME[dtype]


@dataclass(frozen=True, slots=True, eq=False)
class TensorType:
    """The shape, dtype and, where a front end knows them, the strides of a tensor.

    Types are compared by identity where speed matters: front ends make them through `TensorType.of`, which returns one
    object for equal contents.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    strides: tuple[int, ...] | None = None
    nonzero: int | None = None
    """Of a sparse tensor, how many elements are stored; ``None`` for dense ones."""

    @staticmethod
    def of(shape: Sequence[int], dtype: str = "float32", strides: Sequence[int] | None = None, nonzero: int | None = None) -> TensorType:
        """The one type with these contents."""
        key = (tuple(shape), dtype, None if strides is None else tuple(strides), nonzero)
        found = _TYPES.get(key)
        return _TYPES.setdefault(key, TensorType(*key)) if found is None else found

    @property
    def elements(self) -> int:
        """How many elements the tensor shows."""
        return math.prod(self.shape)

    @property
    def stored_elements(self) -> int:
        """How many different elements lie in memory: a dimension that was expanded (stride 0) counts once."""
        if self.nonzero is not None:
            return self.nonzero
        if self.strides is None or 0 not in self.strides:
            return math.prod(self.shape)
        kept = (size for size, stride in zip(self.shape, self.strides, strict=True) if stride != 0 or _is_zero(size))
        return math.prod(kept)

    @property
    def extent(self) -> int:
        """How many elements lie between its first and its last one in memory, both included: what a tensor of its own takes."""
        if self.nonzero is not None:
            return self.nonzero
        if self.strides is None or 0 in self.shape:
            return math.prod(self.shape)
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))

    def bytes(self, elements: int) -> int:
        """The bytes that so many elements of this dtype take."""
        bits = bits_of(self.dtype)
        return elements * (bits // 8) if bits % 8 == 0 else (elements * bits + 7) // 8

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


_TYPES: dict[tuple[Any, ...], TensorType] = {}


def _is_zero(size: Any) -> bool:
    """Whether a size is fixed at zero. A relaxed size never is."""
    return isinstance(size, int) and size == 0
