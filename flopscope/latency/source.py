"""Where times come from: what a roofline, a table of measurements and a learned predictor have in common."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from flopscope.graph import Graph, Op
from flopscope.latency.estimate import Estimate, combined


@runtime_checkable
class LatencySource(Protocol):
    """Anything that can tell how long ops take. The unit is the second everywhere."""

    @property
    def name(self) -> str:
        """What a report calls it, such as ``"roofline of rtx4090"``."""
        ...

    def estimate(self, op: Op) -> Estimate | None:
        """The time of an op by itself, all its runs (`Op.times`) together; ``None`` where it is not known, which is not zero."""
        ...

    def total(self, graph: Graph) -> Estimate:
        """The time of a whole graph. It may be less than the sum over ops, because a runtime may run several as one."""
        ...


def summed(source: LatencySource, graph: Graph, correlation: float = 1.0) -> Estimate:
    """The sum of the times of all ops, a lower bound where some are not known."""
    times = [source.estimate(op) for op in graph.ops]
    found = combined(times, correlation, source.name)
    missing = sum(op.times - 1 for op, time in zip(graph.ops, times, strict=True) if time is None)
    if not missing:
        return found
    return Estimate(found.seconds, found.low, found.high, found.why, found.unknown + missing)
