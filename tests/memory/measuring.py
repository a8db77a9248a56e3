"""How much a call takes from the CPU allocator when it runs for real: the allocator's own events, as torch's profiler records them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def events(call: Callable[[], Any], *, warm: bool = True) -> list[int]:
    """The bytes of each allocation, and minus the bytes of each free, in order. What the call returns is held until the end."""
    if warm:
        call()  # a first call may fill caches that later ones find
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        result = call()
    found = profiler.profiler.kineto_results.events()
    del result
    return [event.nbytes() for event in found if event.name() == "[memory]"]


def growth(call: Callable[[], Any], *, warm: bool = True) -> int:
    """The most bytes that were alive during a call, over what was alive before."""
    return max(accumulate(events(call, warm=warm)), default=0)


def real_like(tensor: torch.Tensor) -> torch.Tensor:
    """A real tensor with the shape and strides of another: random numbers, or zeros where they may be indices."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    count = last + 1 if tensor.numel() else 0
    memory = torch.randn(count).to(tensor.dtype) if tensor.dtype.is_floating_point else torch.zeros(count, dtype=tensor.dtype)
    return torch.as_strided(memory, tensor.shape, tensor.stride())
