"""Where autograd writes gradients in place: into the sum of those of a value that several ops read, and into zeros.

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

aten = torch.ops.aten
ADD = aten.add.Tensor
IN_PLACE = {
    ADD: aten.add_.Tensor,
    aten.scatter.src: aten.scatter_.src,
    aten.scatter.value: aten.scatter_.value,
    aten.scatter_add.default: aten.scatter_add_.default,
    aten.index_add.default: aten.index_add_.default,
    aten.index_put.default: aten.index_put_.default,
}
"""What autograd, and the formulas of gradients that fill zeros, do with plain tensors instead of these."""
_HOLDERS_OF_A_CELL = 3
"""References to the root of a tensor that no other tensor shares memory with: the tensor's own, and two of `owned`."""


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


def owned(tensor: Any) -> bool:
    """Whether autograd, and nothing else, holds a tensor, so that it may write a gradient there."""
    if torch.is_grad_enabled() or not isinstance(tensor, StandIn):
        return False
    root = tensor._flopscope_cell.root  # type: ignore[attr-defined]
    return sys.getrefcount(root) == _HOLDERS_OF_A_CELL and tensor._use_count() == _holders_of_one() and _is_dense(tensor)


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
    """The references to a gradient that only autograd holds, seen from where `owned` sees them. They differ between versions."""
    with _disable_current_modes(), torch.inference_mode(False), torch.enable_grad():
        leaf = stand_in_for(torch.empty(1), requires_grad=True)
        with _Count() as count:
            (leaf.sin() + leaf.cos()).backward()
    return int(count.holders)


class _Count(TorchDispatchMode):
    """Counts the references to a gradient to which another is added."""

    holders: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Tensor:
        if func is ADD and not torch.is_grad_enabled():
            self._look(args[0])
        return stand_in_for(args[0])

    def _look(self, tensor: Any) -> None:
        self.holders = tensor._use_count()
