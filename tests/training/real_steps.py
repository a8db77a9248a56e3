"""A training step that really runs: what autograd saves, the FLOPs that torch counts, and the bytes that the allocator hands out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.memory.measuring import growth


@dataclass(frozen=True)
class RealStep:
    """What was measured of one step."""

    saved_bytes: int
    flops: int
    gradient_bytes: int
    peak_bytes: int
    """The most that was alive over what was alive before the step."""


def measured(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    loss: Callable[[Any], Tensor],
    *,
    amp: torch.dtype | None = None,
    passes: int = 1,
) -> RealStep:
    """Run a step of a model."""

    def forward() -> tuple[Any, Tensor]:
        with torch.autocast("cpu", dtype=amp, enabled=amp is not None):
            output = model(*args, **kwargs)
            return output, loss(output)

    def clear() -> None:
        for parameter in model.parameters():
            parameter.grad = None

    def step() -> Any:
        held: Any = None
        for _ in range(passes):
            del held
            held = forward()
            held[1].backward()
        return held

    clear()
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()  # the other one does not support gradients of gradients
    with counter:
        step()
    gradients = {p.grad.untyped_storage().data_ptr(): p.grad.untyped_storage().nbytes() for p in model.parameters() if p.grad is not None}
    clear()
    saved = _saved(model, forward)
    clear()
    step()
    clear()
    return RealStep(saved, counter.get_total_flops(), sum(gradients.values()), growth(step, warm=False))


class _NoModules:
    """In place of what tells the counter which modules run."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _saved(model: nn.Module, forward: Callable[[], Any]) -> int:
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    sizes: dict[int, int] = {}
    kept = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)  # so that no address is used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(sizes.values())
