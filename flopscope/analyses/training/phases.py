"""A training step by its phases, as a whole and by module."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from flopscope.analyses.memory.storages import owner_of
from flopscope.analyses.memory.weights import weight_bytes
from flopscope.analyses.totals import ancestors, counted, sum_of
from flopscope.cost import ZERO, Cost
from flopscope.graph import Op, Signature
from flopscope.step import Phase, Step

PHASES: tuple[Phase, ...] = ("forward", "backward", "recompute")


@dataclass(frozen=True, slots=True)
class ModuleStep:
    """What a module, with everything inside it, costs in a training step."""

    path: str
    class_name: str
    depth: int
    costs: dict[Phase, Cost]
    saved_bytes: int
    """What autograd keeps of what the module computed, or was the first to keep, for one backward pass."""
    gradient_bytes: int


def phase_costs(step: Step) -> dict[Phase, Cost]:
    """The cost of each phase of a step, all its passes together. Parameters belong to no phase."""
    return {phase: sum_of(counted(_ops_of(step, phase))) for phase in PHASES}


def _ops_of(step: Step, phase: Phase) -> list[Op]:
    return [op for op, its in zip(step.graph.ops, step.phases, strict=True) if its == phase]


def module_steps(step: Step, depth: int | None = None) -> list[ModuleStep]:
    """The module tree of a step, parents before children; the loss is listed like a module.

    Args:
        step: a traced training step.
        depth: the deepest level to list, where the model itself is level 0; ``None`` lists all.
    """
    own: dict[str, dict[Phase, Counter[Signature]]] = {}
    for op, phase in zip(step.graph.ops, step.phases, strict=True):
        own.setdefault(op.scope, {}).setdefault(phase, Counter())[op.signature] += op.times
    costs: dict[str, dict[Phase, Cost]] = {}
    for path, phases in own.items():
        found = {phase: sum_of(counts) for phase, counts in phases.items()}
        for above in ancestors(path):
            into = costs.setdefault(above, dict.fromkeys(PHASES, ZERO))
            for phase, cost in found.items():
                into[phase] += cost
    saved, gradients = _by_scope(step)
    rows = []
    for module in step.graph.modules:
        level = module.path.count(".") + 1 if module.path else 0
        if depth is not None and level > depth:
            continue
        of_phases = costs.get(module.path, dict.fromkeys(PHASES, ZERO))
        rows.append(ModuleStep(module.path, module.class_name, level, of_phases, saved[module.path], gradients[module.path]))
    return rows


def _by_scope(step: Step) -> tuple[Counter[str], Counter[str]]:
    """Bytes that are saved for the backward pass, and of gradients, by module."""
    graph = step.graph
    saved: Counter[str] = Counter()
    gradients: Counter[str] = Counter()
    makers = {value.id: op.scope for op in graph.ops for value in op.outputs}
    for op, phase in zip(graph.ops, step.phases, strict=True):
        if phase == "forward":
            for value in op.inputs:  # an input of the model is kept on behalf of the first module that reads it
                makers.setdefault(owner_of(value), op.scope)
    for storage, size in step.saved.items():
        for above in ancestors(makers.get(storage, "")):
            saved[above] += size
    for weight in graph.parameters:
        if weight.name in step.gradients:
            for above in ancestors(weight.scope):
                gradients[above] += weight_bytes(weight)
    return saved, gradients
