"""The element types of ONNX, by the names that the rest of flopscope uses and by the dtypes of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

UNDEFINED = "undefined"

NAMES: dict[int, str] = {
    0: UNDEFINED, 1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16", 17: "float8_e4m3fn",
    18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4", 23: "float4_e2m1fn", 24: "float8_e8m0fnu",
    25: "uint2", 26: "int2",
}  # fmt: skip
"""The numbers of ``TensorProto.DataType`` (onnx.proto)."""

CODES = {name: code for code, name in NAMES.items()}
FLOATING = frozenset(name for name in NAMES.values() if name.startswith(("float", "bfloat")))
INTEGER = frozenset(name for name in NAMES.values() if name.startswith(("int", "uint")))

_NUMPY = {
    "float32": np.float32, "uint8": np.uint8, "int8": np.int8, "uint16": np.uint16, "int16": np.int16, "int32": np.int32,
    "int64": np.int64,
    "bool": np.bool_, "float16": np.float16, "float64": np.float64, "uint32": np.uint32, "uint64": np.uint64,
}  # fmt: skip
_FROM_NUMPY = {np.dtype(kind): name for name, kind in _NUMPY.items()}


def numpy_dtype(name: str) -> Any:
    """The NumPy dtype whose arithmetic an element type has; ``None`` where NumPy has none of its own."""
    return _NUMPY.get(name)


def name_of(dtype: Any) -> str | None:
    """The name of a NumPy dtype; ``None`` where ONNX has no such type."""
    found = _FROM_NUMPY.get(np.dtype(dtype))
    if found is None:  # complex numbers, texts, and the narrow types of the package ml_dtypes have the names that ONNX uses
        kind = np.dtype(dtype)
        found = "string" if kind.kind in "OUS" else kind.name
    return found if found in CODES else None
