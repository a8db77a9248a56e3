"""The roofline: the time of an op from the work that it does, the bytes that it moves, and what a device achieves.

The time of a kernel is the larger of its arithmetic at the achievable rate and its traffic at the achievable bandwidth, plus the overhead
of starting it. Source: Williams et al. 2009, "Roofline: an insightful visual performance model", Communications of the ACM 52(4). Where
calibration finds that the smaller one does not hide behind the larger altogether, the part that does not is added (`Ceilings.overlap`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flopscope.graph import Graph, Op
from flopscope.latency.ceilings import VECTOR, Ceilings, known
from flopscope.latency.device import Device, device
from flopscope.latency.estimate import Estimate, combined
from flopscope.latency.kernels import Amp, Kernel, Runtime, check_runtime, kernels
from flopscope.rules import price

Binds = Literal["compute", "memory", "cache", "launch"]


@dataclass(frozen=True, slots=True)
class Timed:
    """A kernel and the seconds of all its launches, by what takes them."""

    kernel: Kernel
    compute_seconds: float
    memory_seconds: float
    cache_seconds: float
    launch_seconds: float
    seconds: float

    @property
    def binds(self) -> Binds:
        """Which ceiling takes most of the time."""
        parts: dict[Binds, float] = {
            "compute": self.compute_seconds, "memory": self.memory_seconds, "cache": self.cache_seconds, "launch": self.launch_seconds,
        }  # fmt: skip
        return max(parts, key=lambda name: parts[name])


class Roofline:
    """A `flopscope.latency.source.LatencySource` that knows nothing but a device and its ceilings."""

    def __init__(
        self, device_or_name: Device | Path | str, ceilings: Ceilings | None = None, *, runtime: Runtime = "eager", amp: Amp | None = None
    ) -> None:
        """Describe a device, and how it is used.

        Args:
            device_or_name: a device, its name, or a TOML file.
            ceilings: what it achieves; by default as it was calibrated, or else assumed parts of its peaks, with a wide bar.
            runtime: ``"eager"``, or ``"compile"``, which fuses elementwise ops.
            amp: mixed precision, for graphs that were traced in float32.

        Raises:
            OptionError: there is no such device, runtime or precision.
        """
        check_runtime(runtime, amp)
        self.device = device(device_or_name)
        self.ceilings = ceilings if ceilings is not None else known(self.device, runtime, amp)
        self.runtime: Runtime = runtime
        self.amp: Amp | None = amp

    @property
    def name(self) -> str:
        """What a report calls it."""
        how = f"{self.runtime}{f', {self.amp} autocast' if self.amp else ''}"
        return f"roofline of {self.device.title} ({how})"

    def kernels(self, graph: Graph) -> list[Kernel]:
        """What the runtime makes of a graph."""
        return kernels(graph, runtime=self.runtime, amp=self.amp, cache_bytes=self.device.cache_bytes)

    def timed(self, graph: Graph) -> list[Timed]:
        """The kernels of a graph with their times."""
        return [self.time(kernel) for kernel in self.kernels(graph)]

    def time(self, kernel: Kernel) -> Timed:
        """The time of a kernel."""
        found, ceilings, family = self.device, self.ceilings, kernel.family
        peak = found.vector(kernel.dtype) if family == "depthwise" else found.peak(kernel.dtype)
        matrix = kernel.matrix_flops / (peak * ceilings.compute[family]) if kernel.matrix_flops else 0.0
        compute = max(matrix, kernel.vector_flops / (found.vector(kernel.dtype) * VECTOR))
        bandwidth = found.bandwidth_bytes_per_second * ceilings.bandwidth[family]
        memory, cache = kernel.memory_bytes / bandwidth, kernel.cache_bytes / (bandwidth * ceilings.cache_speedup)
        launch = ceilings.launch_seconds * kernel.launches
        moved = memory + cache
        seconds = max(compute, moved) + (1 - ceilings.overlap) * min(compute, moved) + launch
        return Timed(kernel, compute, memory, cache, launch, seconds)

    def estimate(self, op: Op) -> Estimate | None:
        """The time of an op by itself, as if nothing were fused and nothing cached; ``None`` where no rule prices it."""
        if price(op.signature) is None:
            return None
        timed = self.timed(Graph(name="", ops=[_alone(op)]))
        return self.of(timed, self.ceilings.op_factor)

    def total(self, graph: Graph) -> Estimate:
        """The time of a whole graph: of its kernels, one after the other. Ops without a rule make it a lower bound.

        The bar is that of whole models, but never narrower than if the errors of single kernels were independent: few kernels even each
        other out less than the many of a network.
        """
        timed = self.timed(graph)
        found = self.of(timed, self.ceilings.factor)
        apart = combined((self.of([each], self.ceilings.op_factor) for each in timed), correlation=0.0)
        unknown = sum(op.times for op in graph.ops if price(op.signature) is None)
        return Estimate(found.seconds, min(found.low, apart.low), max(found.high, apart.high), self.ceilings.why, unknown)

    def of(self, timed: Sequence[Timed], factor: float) -> Estimate:
        """The time of some kernels together, known up to a factor, and what takes most of it. Launches may be known less well."""
        launch = math.fsum(each.launch_seconds for each in timed)
        seconds = math.fsum(each.seconds for each in timed)
        launches = Estimate.within(launch, max(factor, self.ceilings.launch_factor))
        both = Estimate.within(max(0.0, seconds - launch), factor) + launches
        return Estimate(both.seconds, both.low, both.high, binding(timed) or "")


def binding(timed: Sequence[Timed]) -> Binds | None:
    """The ceiling under which some kernels spend most of their time; ``None`` where there are none."""
    spent: dict[Binds, float] = {}
    for each in timed:
        spent[each.binds] = spent.get(each.binds, 0.0) + each.seconds
    return max(spent.items(), key=lambda item: item[1])[0] if spent else None


def _alone(op: Op) -> Op:
    return Op(0, op.signature, op.inputs, op.outputs, op.scope, op.times)
