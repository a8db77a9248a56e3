"""A traced training step: its graph, and what a forward pass leaves for the backward pass. It knows no framework."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from flopscope.graph import Graph

Phase = Literal["forward", "backward", "recompute"]
"""``"recompute"`` are the ops of a checkpointed module, run again in the backward pass."""
LOSS_SCOPE = "(loss)"


@dataclass
class Step:
    """A traced training step: the forward pass, the loss and the backward pass, with the gradients as they are left for the optimizer."""

    graph: Graph
    phases: list[Phase]
    """The phase of each op."""
    saved: dict[int, int] = field(default_factory=dict)
    """What autograd keeps between one forward pass and its backward pass, weights apart: bytes by the id of the value that the memory was
    made for."""
    gradients: dict[str, int] = field(default_factory=dict)
    """By the name of each parameter that got a gradient: the id of the value that its memory was made for."""
    loss: str = ""
    """What was minimised, in words."""
    amp: str | None = None
    accumulate: int = 1
    checkpoint: tuple[str, ...] = ()
    """The paths of the modules that ran under checkpoints."""
