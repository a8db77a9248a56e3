"""Sequences of tensors: lists that are taken apart and put together, each element with a type of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def handler_of(node: onnx.NodeProto) -> Callable[..., Any] | None:
    """What treats a node that takes or makes sequences; ``None`` for all others."""
    return _HANDLERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None


_HANDLERS: dict[str, Callable[..., Any]] = {}
