"""A table of measured ops as a source of latencies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from flopscope.graph import Graph, Op
from flopscope.latency.estimate import Estimate
from flopscope.latency.source import summed
from flopscope.latency.table.calls import FREE
from flopscope.latency.table.eager import MODULE_CALL, key_of
from flopscope.latency.table.setting import Setting
from flopscope.latency.table.store import Measured, Store, Whole

ASSUMED_FACTOR = 1.3
"""How far a sum of ops may be from a whole model, where fewer than `FEWEST_WHOLES` were run to tell."""
FEWEST_WHOLES = 10


@dataclass(frozen=True)
class MeasuredOps:
    """A `flopscope.latency.source.LatencySource`: the times of ops that were measured one by one, in one setting."""

    setting: Setting
    times: Mapping[str, Measured]
    wholes: Mapping[str, Whole] = field(default_factory=dict)
    """Whole models that were run too, which is what the error bar of a sum comes from."""

    @classmethod
    def read(cls, store: Store, setting: Setting) -> MeasuredOps:
        """What a file has for a setting, which may be nothing."""
        return cls(setting, store.times(setting), store.wholes(setting))

    @property
    def name(self) -> str:
        """What a report calls it."""
        return f"measured ops of {self.setting}"

    def estimate(self, op: Op) -> Estimate | None:
        """The time of an op, all its runs together, and between what nine in ten runs lay; ``None`` where it was not measured."""
        if op.target.startswith(FREE):
            return Estimate(0.0, 0.0, 0.0)
        key = key_of(op)
        found = None if key is None else self.times.get(key)
        if found is None:
            return None
        return Estimate(found.seconds, found.low, found.high, f"measured {found.runs} times") * op.times

    def total(self, graph: Graph) -> Estimate:
        """The sum over all ops, and what calling the modules takes. A lower bound where ops were not measured.

        The bar is that of whole models: see `factor`.
        """
        found = summed(self, graph)
        seconds = found.seconds + self.module_seconds(graph)
        below, above = self.factor
        return Estimate(seconds, seconds * below, seconds * above, self._why, found.unknown)

    def module_seconds(self, graph: Graph) -> float:
        """What calling the modules of a graph takes, beside their ops: only where Python calls them."""
        each = self.times.get(MODULE_CALL)
        return 0.0 if each is None else each.seconds * sum(module.calls for module in graph.modules)

    @property
    def factor(self) -> tuple[float, float]:
        """Between what parts of the sum the time of a whole model lies, nine times in ten, judged by those that were run.

        Conformal bounds of the ratios, one twentieth on either side (Lei et al. 2018, arXiv:1604.04173, section 2), or `ASSUMED_FACTOR`.
        """
        ratios = sorted(whole.measured / whole.predicted for whole in self.wholes.values() if whole.predicted > 0)
        if len(ratios) < FEWEST_WHOLES:
            return 1 / ASSUMED_FACTOR, ASSUMED_FACTOR
        rank = min(len(ratios), math.ceil(0.95 * (len(ratios) + 1)))
        return min(1.0, ratios[len(ratios) - rank]), max(1.0, ratios[rank - 1])

    @property
    def _why(self) -> str:
        if len(self.wholes) < FEWEST_WHOLES:
            return f"the sum of measured ops; how far a model may be from it is assumed ({ASSUMED_FACTOR}), too few were run to tell"
        return f"the sum of measured ops, within what {len(self.wholes)} whole models were"

    def missing(self, graph: Graph) -> list[Op]:
        """The first op of each signature that was not measured."""
        seen: dict[str | None, Op] = {}
        for op in graph.ops:
            if self.estimate(op) is None:
                seen.setdefault(key_of(op), op)
        return list(seen.values())
