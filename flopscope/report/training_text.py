"""A training step as text: a table of modules, and lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flopscope.analyses.training.phases import PHASES, ModuleStep
from flopscope.report.rows import metrics
from flopscope.report.text import TableFormat, binary, counted, render, si

if TYPE_CHECKING:
    from flopscope.analyses.training.device import Device
    from flopscope.report.training import Training

MEMORY_NAMES = (
    "parameter_bytes", "buffer_bytes", "gradient_bytes", "optimizer_bytes", "optimizer_step_bytes", "input_bytes", "saved_bytes",
    "activation_peak_bytes",
)  # fmt: skip


def module_table(rows: Sequence[ModuleStep], style: TableFormat, exact: bool) -> str:
    """The module tree with the FLOPs of each phase and the bytes that it leaves for the backward pass."""
    again = any(row.costs["recompute"].flops for row in rows)
    phases = PHASES if again else PHASES[:2]
    headers = ["module", "class", *(f"{phase} FLOPs" for phase in phases), "backward/forward", "saved", "gradients"]
    if style == "csv":
        headers = ["module", "class", *(f"{phase}_flops" for phase in phases), "backward_per_forward", "saved_bytes", "gradient_bytes"]
    return render(headers, [_row(row, phases, style, exact) for row in rows], style, 2)


def _row(row: ModuleStep, phases: Sequence[Any], style: TableFormat, exact: bool) -> list[Any]:
    name = row.path or row.class_name
    if style == "table":
        name = "  " * row.depth + (row.path.rpartition(".")[2] if row.path else row.class_name)
    flops = [row.costs[phase].flops for phase in phases]
    ratio = f"{flops[1] / flops[0]:.2f}" if flops[0] else ""
    if style == "csv":
        return [name, row.class_name, *flops, ratio, row.saved_bytes, row.gradient_bytes]
    counts = [f"{count:,}" if exact else si(count) for count in flops]
    sizes = [_size(size, exact) for size in (row.saved_bytes, row.gradient_bytes)]
    return [name, row.class_name, *counts, ratio, *sizes]


def _size(size: int, exact: bool) -> str:
    return f"{size:,}" if exact else binary(size)


def module_dict(row: ModuleStep) -> dict[str, Any]:
    """A row as plain data."""
    phases = {phase: metrics(row.costs[phase]) for phase in PHASES}
    facts = {"path": row.path, "class": row.class_name, "depth": row.depth, "phases": phases}
    return {**facts, "saved_bytes": row.saved_bytes, "gradient_bytes": row.gradient_bytes}


def summary(training: Training, exact: bool) -> str:
    """The numbers of the step, and everything that a reader must know besides."""
    return "\n".join([*_lines(training, exact), *(f"note: {note}" for note in training.notes)]) + "\n"


def _lines(training: Training, exact: bool) -> Iterator[str]:
    step, memory = training.step, training.memory
    inputs = counted(str(value.type) for value in step.graph.inputs) or "none"
    often = f", {step.accumulate} passes of it" if step.accumulate > 1 else ""
    yield f"step      {inputs}{often}; {step.loss}; {training.optimizer.name}{f'; autocast to {step.amp}' if step.amp else ''}"
    at_least = "at least " if training.report.total.partial else ""
    forward, backward = training.forward.flops, training.backward.flops
    ratio = f" ({backward / forward:.2f} x forward)" if forward else ""
    again = f", {training.recomputed.flops:,} computed again" if training.recomputed.flops else ""
    yield f"FLOPs     {at_least}{forward:,} forward, {backward:,} backward{ratio}{again}, {training.optimizer_flops:,} optimizer"
    yield f"saved     {_size(memory.saved_bytes, exact)} for the backward pass"
    yield f"peak      {_size(memory.peak_bytes, exact)}, {_place(training)}:"
    for name, size in sorted(memory.at_peak().items(), key=lambda item: -item[1]):
        yield f"          {_size(size, exact):>10}  {name}"

    yield f"on a CPU  {_size(training.memory_on_cpu.peak_bytes, exact)} with the scratch memory of eager kernels"
    if training.shards > 1:
        yield from _device_lines(training, exact)


def _device_lines(training: Training, exact: bool) -> Iterator[str]:
    found = training.device
    yield f"device    {_size(found.peak_bytes, exact)} at most on each of {training.shards}, on inputs like these ({training.strategy}):"
    for name, size in _parts(found).items():
        if size:
            yield f"          {_size(size, exact):>10}  {name}"
    yield f"          {_size(found.share.sent_bytes, exact):>10}  sent to the others in a step"


def _parts(found: Device) -> dict[str, int]:
    share = found.share
    return {
        "parameters": share.parameter_bytes,
        "gradients": share.gradient_bytes,
        "optimizer state": share.state_bytes,
        "buckets of gradients": share.bucket_bytes,
        "parameters put together": share.gathered_bytes,
        "gradients not yet divided": found.unreduced_bytes,
        "buffers": found.buffer_bytes,
        "activations and inputs": found.activation_bytes,
    }


def device_dict(training: Training) -> dict[str, Any] | None:
    """The share of a device as plain data, or ``None`` where there is only one."""
    if training.shards == 1:
        return None
    found = training.device
    facts = {"shards": training.shards, "strategy": training.strategy, "peak_bytes": found.peak_bytes}
    return {**facts, "parts": _parts(found), "sent_bytes": found.share.sent_bytes}


def _place(training: Training) -> str:
    memory = training.memory
    if memory.peak_op is None:
        return "in the optimizer"
    op = training.step.graph.ops[memory.peak_op]
    where = {"forward": "in the forward pass", "backward": "in the backward pass", "recompute": "while activations are computed again"}
    return f"{where[memory.peak_phase]}, at {op.target} of {op.scope or 'the model itself'}"


def notes(training: Training) -> Iterator[str]:
    """What hangs on how the step was taken."""
    step = training.step
    if step.checkpoint:
        listed = ", ".join(step.checkpoint[:3]) + (f" and {len(step.checkpoint) - 3} more" if len(step.checkpoint) > 3 else "")
        yield f"checkpointed: {listed}"
    if step.amp:
        yield (
            "autocast takes the ops that torch's list for the CPU names; that for GPUs keeps softmax, normalisation and losses in float32, "
            "which saves more for the backward pass"
        )
    frozen = [weight for weight in step.graph.parameters if weight.name not in step.gradients]
    if frozen:
        elements = sum(weight.elements for weight in frozen)
        yield f"{len(frozen)} parameters ({elements:,} elements) get no gradient: they are frozen, or the loss does not depend on them"
