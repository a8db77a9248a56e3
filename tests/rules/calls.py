"""Calls of ops as a front end describes them, for ops that this machine cannot run."""

from __future__ import annotations

from typing import Any

from flopscope.frontends.torch.kinds import normalise
from flopscope.graph import Effect, Signature, TensorType
from flopscope.rules import price


def t(*shape: int, dtype: str = "float32") -> TensorType:
    return TensorType.of(shape, dtype)


def cost(target: str, *outputs: TensorType, effect: Effect = "fresh", **arguments: Any) -> tuple[int, int]:
    """Multiply-accumulates and other FLOPs of a call with these arguments, by the names of the op's schema."""
    kind, renamed = normalise(target, arguments)
    found = price(Signature(target, kind, renamed, outputs, effect))
    assert found is not None, f"{target} has no price"
    return found.macs, found.flops - 2 * found.macs
