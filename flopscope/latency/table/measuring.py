"""Extending a table by the ops of a model: measured on demand, kept at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flopscope.errors import OptionError
from flopscope.graph import Graph
from flopscope.latency.table import eager
from flopscope.latency.table.rounds import Clock, in_rounds, judged, measured
from flopscope.latency.table.setting import Setting
from flopscope.latency.table.store import Measured, Store

Progress = Callable[[int, int], None]
"""Called with how many ops are done, and how many there are."""


@dataclass(slots=True)
class Outcome:
    """What came of measuring: how many ops are new in the table, and of those that are not, why, by key."""

    measured: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def measure_eager(
    store: Store, setting: Setting, graph: Graph, progress: Progress | None = None, clock: Clock = time.perf_counter
) -> Outcome:
    """Measure the ops of a traced model that a table lacks, on this machine, as PyTorch runs them.

    Each batch of ops is kept as soon as it is done, so that a run that is stopped goes on where it was.

    Args:
        store: the table.
        setting: this machine, as `Setting.here` says.
        graph: the model.
        progress: told after each batch.
        clock: seconds.

    Raises:
        OptionError: the setting is of another machine or runtime, or the table cannot be written.
    """
    if setting != Setting.here("eager", setting.threads):
        raise OptionError(f"ops can be measured here as {Setting.here('eager', setting.threads)}, but not as {setting}")
    known = store.times(setting)
    with eager.running(setting.threads):
        if eager.MODULE_CALL not in known:
            store.add(setting, [(eager.MODULE_CALL, measured(eager.module_call_runs(clock)))])
        wanted = frozenset(eager.keys_of(graph).keys() - known.keys())
        if not wanted:
            return Outcome()
        outcome = Outcome()
        for batch in eager.batches(graph, wanted, outcome.failed):
            _keep(store, setting, outcome, *judged(in_rounds(batch, wanted & {each.key for each in batch}, clock)))
            if progress is not None:
                progress(outcome.measured + len(outcome.failed), len(wanted))
    return outcome


def _keep(store: Store, setting: Setting, outcome: Outcome, kept: dict[str, Measured], noisy: dict[str, str]) -> None:
    store.add(setting, kept.items())
    outcome.measured += len(kept)
    outcome.failed |= noisy
