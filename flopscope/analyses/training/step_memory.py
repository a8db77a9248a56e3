"""What a training step holds in memory, and where it holds the most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from flopscope.analyses.memory.storages import Storage, storages
from flopscope.analyses.memory.timeline import Timeline, alive_at, timeline
from flopscope.analyses.memory.weights import weight_bytes
from flopscope.step import Step


@dataclass(frozen=True)
class StepMemory:
    """The memory of a training step after the first, when the optimizer's state is there.

    The step is: forward, backward, and the optimizer; the gradients are set to ``None`` after it. Output and loss are held to its end, as a
    training loop does that still prints them.
    """

    step: Step
    optimizer_bytes: int
    """What the optimizer keeps from one step to the next."""
    optimizer_step_bytes: int
    """What a step of the optimizer takes beside parameters, gradients and state."""
    growths: Sequence[int] | None = None
    """By op, the growth of memory while it runs, where scratch memory is counted too."""

    @cached_property
    def pieces(self) -> list[Storage]:
        """The pieces of memory that the forward and backward passes make, and the inputs."""
        return storages(self.step.graph)

    @cached_property
    def timeline(self) -> Timeline:
        """The bytes alive while each op of the forward and backward passes runs; weights and the optimizer's state apart."""
        return timeline(self.pieces, len(self.step.graph.ops), self.growths)

    @cached_property
    def parameter_bytes(self) -> int:
        """All parameters, each once."""
        return sum(map(weight_bytes, self.step.graph.parameters))

    @cached_property
    def buffer_bytes(self) -> int:
        """All buffers, each once."""
        return sum(map(weight_bytes, self.step.graph.buffers))

    @cached_property
    def gradient_bytes(self) -> int:
        """The gradients that the optimizer finds."""
        kept = set(self.step.gradients.values())
        return sum(piece.bytes for piece in self.pieces if piece.id in kept)

    @property
    def saved_bytes(self) -> int:
        """What autograd keeps between a forward pass and its backward pass, each piece once; weights apart."""
        return sum(self.step.saved.values())

    @property
    def input_bytes(self) -> int:
        """The inputs of the model."""
        return self.timeline.before_bytes

    @property
    def held_bytes(self) -> int:
        """What is there throughout: parameters, buffers and the optimizer's state."""
        return self.parameter_bytes + self.buffer_bytes + self.optimizer_bytes

    @property
    def activation_peak_bytes(self) -> int:
        """The most that the forward and backward passes hold beside the weights, the inputs and the optimizer's state."""
        return self.timeline.peak_bytes - self.timeline.before_bytes

    @property
    def peak_bytes(self) -> int:
        """The most that the step holds, everything together."""
        return self.held_bytes + max(self.timeline.peak_bytes, self._at_optimizer)

    @property
    def peak_phase(self) -> str:
        """Where: ``"forward"``, ``"backward"``, ``"recompute"`` or ``"optimizer"``."""
        at = self.timeline.peak_at
        return "optimizer" if at is None or self._at_optimizer > self.timeline.peak_bytes else self.step.phases[at]

    @property
    def peak_op(self) -> int | None:
        """The index of the op at which the peak is reached; ``None`` where it is in the optimizer."""
        return None if self.peak_phase == "optimizer" else self.timeline.peak_at

    @property
    def _at_optimizer(self) -> int:
        return self.timeline.after_bytes + self.optimizer_step_bytes

    def at_peak(self) -> dict[str, int]:
        """What is alive at the peak, by what it is: bytes that add up to `peak_bytes`."""
        found: Counter[str] = Counter()
        found["parameters"], found["buffers"], found["optimizer state"] = self.parameter_bytes, self.buffer_bytes, self.optimizer_bytes
        at = self.peak_op
        ops = len(self.step.graph.ops)
        alive = [piece for piece in self.pieces if piece.died > ops] if at is None else alive_at(self.pieces, at)
        gradients = set(self.step.gradients.values())
        for piece in alive:
            found[self._name_of(piece, gradients)] += piece.bytes
        if at is None:
            found["optimizer step"] = self.optimizer_step_bytes
        else:
            found["scratch memory"] = self.timeline.live_bytes[at] - sum(piece.bytes for piece in alive)
        return {name: size for name, size in found.items() if size}

    def _name_of(self, piece: Storage, gradients: set[int]) -> str:
        if piece.role == "input":
            return "inputs"
        if piece.id in gradients:
            return "gradients"
        return "saved for backward" if piece.id in self.step.saved else "other tensors"
