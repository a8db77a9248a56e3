"""Weights that a backend has packed: script objects, whose shape torch tells only by unpacking them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from flopscope.frontends.torch.cells import type_of
from flopscope.graph import Packed

_PREFIX = "__torch__.torch.classes."
_UNPACK = "unpack"


def type_name(value: torch.ScriptObject) -> str:
    """The name of the class of a script object, which unlike its text does not change from run to run."""
    return str(value._type().qualified_name()).removeprefix(_PREFIX)


def packed(value: torch.ScriptObject) -> Packed | None:
    """The weights in a script object, or ``None`` where it holds none, or keeps them to itself."""
    with _disable_current_modes():
        parts = _parts(value, type_name(value))
    tensors = [part for part in parts if isinstance(part, Tensor)]
    return Packed(*(type_of(tensor) for tensor in tensors[:2])) if tensors else None


def _parts(value: Any, name: str) -> tuple[Any, ...]:
    try:
        if name == "quantized.EmbeddingPackedParamsBase":
            return (torch.ops.quantized.embedding_bag_unpack(value),)
        return tuple(value.unpack()) if value._has_method(_UNPACK) else ()
    except (RuntimeError, AttributeError, TypeError):
        return ()
