"""The table from ONNX ops to the kinds that rules price.

An entry is a function of a `Call` that adds the pieces of the op: for most ops one, for a fused op several. It holds no formula.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flopscope.frontends.onnx.values import Call

Lower = Callable[[Call], None]
AnyLower = TypeVar("AnyLower", bound=Lower)
CONTRIB, CLASSIC, TRAINING = "com.microsoft", "ai.onnx.ml", "ai.onnx.preview.training"
EXTENSIONS = "ai.onnx.contrib"
QUANTISERS = ("onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general")
"""The domains of ops that round numbers as if they were integers of a width."""

_table: dict[tuple[str, str], Lower] = {}


def lowers(*ops: str, domain: str = "") -> Callable[[AnyLower], AnyLower]:
    """Register what the ops of a domain become."""

    def register(function: AnyLower) -> AnyLower:
        for op in ops:
            if (domain, op) in _table:
                raise ValueError(f"{domain or 'ai.onnx'}::{op} is in the table twice")
            _table[domain, op] = function
        return function

    return register


def lowering_of(domain: str, op: str) -> Lower | None:
    """What an op becomes; ``None`` where the table does not have it."""
    return _table.get((domain, op))


def known_ops() -> list[tuple[str, str]]:
    """Every op in the table, as domain and name."""
    return sorted(_table)


def plain(kinds: Mapping[str, str], domain: str = "") -> None:
    """Register ops that are one piece of a kind, whose inputs need no names."""
    for op, kind in kinds.items():
        lowers(op, domain=domain)(_one_piece(kind))


def _one_piece(kind: str) -> Lower:
    def lower(call: Call) -> None:
        given = [slot for slot in call.inputs if slot is not None] or [call[0]]
        names = ("input", "other") if len(given) <= 2 else tuple(f"input{position}" for position in range(len(given)))
        arguments: dict[str, Any] = dict(zip(names, given, strict=False))
        call.add(kind, call.outputs, **arguments)

    return lower
