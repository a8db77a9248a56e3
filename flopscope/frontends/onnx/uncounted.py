"""The ONNX ops that are known and have no price, each with the reason. A total with such an op says "at least"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UNCOUNTED: Final[Mapping[str, str]] = {}
"""The reason for each op, by its domain and name."""
