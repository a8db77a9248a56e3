"""What a training step of a model costs, ready to be asked, printed and saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flopscope.analyses.memory.kernels import growths
from flopscope.analyses.training.device import Device, device
from flopscope.analyses.training.optimizers import Optimizer
from flopscope.analyses.training.phases import ModuleStep, module_steps, phase_costs
from flopscope.analyses.training.sharding import Strategy
from flopscope.analyses.training.step_memory import StepMemory
from flopscope.cost import Cost
from flopscope.graph import Graph
from flopscope.report import training_text
from flopscope.report.report import Report
from flopscope.report.rows import metrics
from flopscope.report.text import TableFormat
from flopscope.step import Phase, Step
from flopscope.version import __version__


@dataclass(frozen=True)
class Training:
    """One training step: forward and backward passes, and the optimizer. It holds no module and no tensor."""

    step: Step
    optimizer: Optimizer
    shards: int = 1
    """How many devices share the model, each on inputs like those of the step."""
    strategy: Strategy = "fsdp"
    """What they divide: ``"ddp"``, ``"zero1"``, ``"zero2"`` or ``"fsdp"``."""

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.step.graph.name

    @property
    def graph(self) -> Graph:
        """The graph of the forward and backward passes; the annotation ``"phase"`` says which op belongs to which."""
        return self.step.graph

    @cached_property
    def report(self) -> Report:
        """The report of all ops of the forward and backward passes together."""
        return Report(self.step.graph)

    @cached_property
    def costs(self) -> dict[Phase, Cost]:
        """The cost of each phase: ``"forward"`` (with the loss), ``"backward"`` and ``"recompute"``, of all passes of the step."""
        return phase_costs(self.step)

    @property
    def forward(self) -> Cost:
        """The forward passes and the loss."""
        return self.costs["forward"]

    @property
    def backward(self) -> Cost:
        """The backward passes, without what checkpointed modules compute again."""
        return self.costs["backward"]

    @property
    def recomputed(self) -> Cost:
        """What checkpointed modules compute again in the backward passes."""
        return self.costs["recompute"]

    @cached_property
    def optimizer_flops(self) -> int:
        """The operations of the optimizer's step."""
        return self.optimizer.flops(self._trained)

    @property
    def flops(self) -> int:
        """All operations of the step."""
        return sum(cost.flops for cost in self.costs.values()) + self.optimizer_flops

    @cached_property
    def memory(self) -> StepMemory:
        """What the step holds, and where the most: tensors alone, whatever the machine."""
        return self._memory(None)

    @cached_property
    def memory_on_cpu(self) -> StepMemory:
        """The same on an eager CPU such as this one, whose kernels take scratch memory beside tensors."""
        return self._memory(growths(self.step.graph))

    def _memory(self, growth: list[int] | None) -> StepMemory:
        weights, optimizer = self._trained, self.optimizer
        step_bytes = optimizer.step_bytes(weights, optimizer.implementation_on("cpu"))
        return StepMemory(self.step, optimizer.state_bytes(weights), step_bytes, growth)

    @cached_property
    def _trained(self) -> list[Any]:
        """The parameters that have a gradient: the optimizer passes over the others, trainable or not."""
        return [weight for weight in self.step.graph.parameters if weight.name in self.step.gradients]

    @cached_property
    def device(self) -> Device:
        """What each of the devices holds."""
        return device(self.memory, self._trained, self.optimizer, self.shards, self.strategy)

    def by_module(self, depth: int | None = None) -> list[ModuleStep]:
        """The module tree with the cost of each phase, and the bytes saved for the backward pass."""
        return module_steps(self.step, depth)

    @cached_property
    def notes(self) -> list[str]:
        """What a reader of these numbers must know."""
        return [*self.report.notes, *training_text.notes(self)]

    # -- formats --------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<Training of {self.name}: {self.flops:,} FLOPs, peak {self.memory.peak_bytes:,} bytes>"

    def to_text(self, *, depth: int | None = 2, exact: bool = False) -> str:
        """A table of modules, and the numbers of the step under it, for people."""
        return f"{self.to_table(depth=depth, exact=exact)}\n{training_text.summary(self, exact)}"

    def to_table(self, style: TableFormat = "table", *, depth: int | None = None, exact: bool = False) -> str:
        """The modules in one of the formats ``"table"``, ``"markdown"``, ``"latex"`` and ``"csv"``.

        Raises:
            OptionError: there is no such format.
        """
        return training_text.module_table(self.by_module(depth), style, exact)

    def to_markdown(self, *, depth: int | None = 2, exact: bool = False) -> str:
        """The table and the numbers in GitHub's Markdown."""
        lines = training_text.summary(self, exact).rstrip("\n").splitlines()
        return self.to_table("markdown", depth=depth, exact=exact) + "\n" + "\n".join(f"- {line.strip()}" for line in lines) + "\n"

    def to_csv(self, *, depth: int | None = None) -> str:
        """A row per module with exact counts."""
        return training_text.module_table(self.by_module(depth), "csv", True)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        step, memory = self.step, self.memory
        place = memory.peak_op
        op = None if place is None else step.graph.ops[place]
        return {
            "flopscope": __version__,
            "model": self.name,
            "inputs": [str(value.type) for value in step.graph.inputs],
            "loss": step.loss,
            "amp": step.amp,
            "accumulate": step.accumulate,
            "checkpoint": list(step.checkpoint),
            "optimizer": self.optimizer.name,
            "complete": self.report.complete,
            "phases": {phase: metrics(cost) for phase, cost in self.costs.items()},
            "optimizer_flops": self.optimizer_flops,
            "flops": self.flops,
            "memory": {
                "peak_bytes": memory.peak_bytes,
                "peak_phase": memory.peak_phase,
                "peak": None if op is None else {"op": op.index, "target": op.target, "scope": op.scope},
                "at_peak": memory.at_peak(),
                **{name: getattr(memory, name) for name in training_text.MEMORY_NAMES},
                "timeline": list(memory.timeline.live_bytes),
            },
            "device": training_text.device_dict(self),
            "modules": [training_text.module_dict(row) for row in self.by_module()],
            "notes": self.notes,
        }

    def to_json(self, indent: int | None = 2) -> str:
        """Everything as JSON."""
        return json.dumps(self.to_dict(), indent=indent) + "\n"
