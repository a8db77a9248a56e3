"""What one of several devices holds in a training step on its part of the batch: an upper bound, by formula."""

from __future__ import annotations

from dataclasses import dataclass

from flopscope.analyses.memory.timeline import timeline
from flopscope.analyses.training.optimizers import Optimizer
from flopscope.analyses.training.sharding import Share, Strategy, largest_unit_bytes, share, units_of
from flopscope.analyses.training.step_memory import StepMemory
from flopscope.graph import Weight


@dataclass(frozen=True, slots=True)
class Device:
    """The memory of one device, in bytes. The parts need not all be at their largest at once, so that their sum is an upper bound."""

    share: Share
    buffer_bytes: int
    activation_bytes: int
    """The most that the passes hold beside weights and gradients, inputs included."""
    unreduced_bytes: int
    """Gradients of one unit that are whole until each device has its part."""

    @property
    def peak_bytes(self) -> int:
        """All of it."""
        return self.share.held_bytes + self.buffer_bytes + self.activation_bytes + self.unreduced_bytes


def device(memory: StepMemory, trained: list[Weight], optimizer: Optimizer, shards: int, strategy: Strategy) -> Device:
    """What one of several devices holds.

    Args:
        memory: the step on the inputs of one device.
        trained: the parameters that have gradients.
        optimizer: what is kept of them.
        shards: the number of devices.
        strategy: what is divided among them; see `sharding`.

    Raises:
        OptionError: there is no such strategy, or no device.
    """
    graph = memory.step.graph
    names = {weight.name for weight in trained}
    weights = [Weight(w.name, w.type, w.scope, w.name in names) for w in graph.parameters]
    units = units_of(graph) if strategy == "fsdp" else []
    gradients = set(memory.step.gradients.values())
    others = [piece for piece in memory.pieces if piece.id not in gradients]
    whole = largest_unit_bytes(weights, units) if strategy == "fsdp" and shards > 1 else 0
    found = share(weights, optimizer, shards, strategy, units)
    return Device(found, memory.buffer_bytes, timeline(others, len(graph.ops), memory.growths).peak_bytes, whole)
