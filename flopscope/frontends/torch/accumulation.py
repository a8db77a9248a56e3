"""Whether autograd would add a gradient to another one in place.

Where a value is used several times, the engine adds up its gradients as they come in, into the memory of the first if nobody else holds it.
Under a dispatch mode it never does so; these functions tell where it would have.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from flopscope.frontends.torch.cells import Cell
from flopscope.frontends.torch.stand_ins import StandIn, stand_in_for

ADD, ADD_IN_PLACE = torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor


def adds_in_place(args: Sequence[Any], kwargs: Mapping[str, Any], root: Cell) -> bool:
    """Whether an addition in a backward pass is the engine's, and the first gradient, whose memory has this root, is held by it alone."""
    if kwargs or len(args) != 2 or torch.is_grad_enabled() or not all(isinstance(item, StandIn) for item in args):
        return False
    same = args[0].shape == args[1].shape and args[0].dtype == args[1].dtype
    if not same or not _is_dense(args[0]):
        return False
    # The root is held by the tensor whose own it is, or by the one view that is left: most views hold their base, too.
    return _holders(args) <= holders_of_one() and sys.getrefcount(root) <= _HOLDERS_OF_ROOT


_HOLDERS_OF_ROOT = 3
"""One cell or tensor, the argument of `adds_in_place`, and that of ``getrefcount``."""


def _holders(args: Sequence[Any]) -> tuple[int, int]:
    return args[0]._use_count(), sys.getrefcount(args[0])


@cache
def holders_of_one() -> tuple[int, int]:
    """How often a gradient that only the engine holds is referred to, in C++ and in Python, when it reaches a dispatch mode.

    It must be asked for the first time outside of any op, below which there is no autograd.
    """
    seen: list[tuple[int, int]] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is ADD and not torch.is_grad_enabled():
                seen.append(_holders(args))
            return stand_in_for(args[0])

    with _disable_current_modes(), torch.inference_mode(False), torch.enable_grad():
        like = torch.empty(2, device="meta")
        x = stand_in_for(like, requires_grad=True)
        with Watch():
            torch.autograd.backward([x * 2, x * 3], [stand_in_for(like), stand_in_for(like)])
    return seen[0]


def _is_dense(tensor: Tensor) -> bool:
    """Whether its elements fill its memory without gaps, in whatever order."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True
