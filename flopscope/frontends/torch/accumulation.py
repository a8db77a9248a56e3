"""Where autograd adds gradients up in place: the gradients of a value that several ops read.

Autograd adds the second gradient to the first without new memory if nothing else holds the first. It never does so while a mode looks on,
as one does here, so what it would do is found out and told to the tracer, op by op.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from flopscope.frontends.torch.stand_ins import StandIn, stand_in_for

ADD = torch.ops.aten.add.Tensor
_HOLDERS_OF_A_CELL = 3
"""References to the root of a tensor that no other tensor shares memory with: the tensor's own, and two of `adds_in_place`."""


def watch_sums(node: Any, ended: Callable[[], None]) -> None:
    """Call ``ended`` when a node of autograd's graph is done whose gradients may be added to others next, and not before.

    Args:
        node: where the backward pass starts.
        ended: is called while that node is autograd's current one.
    """
    _holders_of_one()  # which cannot be found out while a backward pass runs
    sources: dict[tuple[Any, int], list[Any]] = {}
    seen, left = {node}, [node]
    while left:
        source = left.pop()
        for target, index in source.next_functions:
            if target is None:
                continue
            sources.setdefault((target, index), []).append(source)
            if target not in seen:
                seen.add(target)
                left.append(target)
    for source in {source for each in sources.values() if len(each) > 1 for source in each}:
        source.register_hook(lambda *_: ended())


def adds_in_place(args: Sequence[Any]) -> bool:
    """Whether autograd, adding up two gradients, writes the sum into the first."""
    if torch.is_grad_enabled() or not (isinstance(args[0], StandIn) and isinstance(args[1], StandIn)):
        return False
    root = args[0]._flopscope_cell.root
    return (
        sys.getrefcount(root) == _HOLDERS_OF_A_CELL
        and args[0]._use_count() == _holders_of_one()
        and _is_dense(args[0])
    )


def _is_dense(tensor: Tensor) -> bool:
    """Whether a tensor fills its memory without a gap or an overlap."""
    expected = 1
    for stride, size in sorted((stride, size) for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size != 1):
        if stride != expected:
            return False
        expected *= size
    return True


@cache
def _holders_of_one() -> int:
    """The references to a gradient that only autograd holds, seen from where `adds_in_place` sees them. They differ between versions."""
    with _disable_current_modes(), torch.inference_mode(False), torch.enable_grad():
        leaf = stand_in_for(torch.empty(1), requires_grad=True)
        with _Count() as count:
            (leaf.sin() + leaf.cos()).backward()
    return count.holders


class _Count(TorchDispatchMode):
    """Counts the references to a gradient to which another is added."""

    holders: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Tensor:
        if func is ADD and not torch.is_grad_enabled():
            self._look(args)
        return stand_in_for(args[0])

    def _look(self, args: Sequence[Any]) -> None:
        self.holders = args[0]._use_count()
