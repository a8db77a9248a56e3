"""Extending a table by the ops of a model: measured on demand, kept at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flopscope.errors import OptionError
from flopscope.graph import Graph
from flopscope.latency.table import compiled, eager, onnx_runtime
from flopscope.latency.table.rounds import Clock, in_rounds, judged, measured
from flopscope.latency.table.setting import Setting
from flopscope.latency.table.store import Measured, Store

TRIES = 3
"""How often an op is measured anew that was too noisy."""
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
    _check_here(setting, "eager")
    known = store.times(setting)
    with eager.running(setting.threads):
        if eager.MODULE_CALL not in known:
            store.add(setting, [(eager.MODULE_CALL, measured(eager.module_call_runs(clock)))])
        wanted = frozenset(eager.keys_of(graph).keys() - known.keys())
        if not wanted:
            return Outcome()
        outcome = Outcome()
        for batch in eager.batches(graph, wanted, outcome.failed):
            asked = wanted & {each.key for each in batch}
            for _ in range(TRIES):
                kept, noisy = judged(in_rounds(batch, asked, clock))
                _keep(store, setting, outcome, kept)
                asked = frozenset(noisy)
                if not noisy:
                    break
            outcome.failed |= noisy
            if progress is not None:
                progress(outcome.measured + len(outcome.failed), len(wanted))
    return outcome


def _check_here(setting: Setting, runtime: str) -> None:
    here = Setting.here(runtime, setting.threads)
    if setting != here:
        raise OptionError(f"ops can be measured here as {here}, but not as {setting}")


def _keep(store: Store, setting: Setting, outcome: Outcome, kept: dict[str, Measured]) -> None:
    store.add(setting, kept.items())
    outcome.measured += len(kept)


def measure_onnx_runtime(store: Store, setting: Setting, graph: Graph) -> Outcome:
    """Measure the nodes of a model that a table lacks, as ONNX Runtime runs them on this machine.

    Args:
        store: the table.
        setting: this machine, as `Setting.here` says.
        graph: what `flopscope.latency.table.nodes.runtime_graph` makes of the model.

    Raises:
        OptionError: the setting is of another machine or runtime, or the table cannot be written.
    """
    _check_here(setting, "onnxruntime")
    ops = onnx_runtime.node_keys(graph)
    wanted = frozenset(ops.keys() - store.times(setting).keys())
    outcome = Outcome()
    if wanted:
        runs, outcome.failed = onnx_runtime.measured_nodes(ops, wanted, setting.threads)
        kept, noisy = judged(runs)
        _keep(store, setting, outcome, kept)
        outcome.failed |= noisy
    return outcome


def measure_compiled(
    store: Store, setting: Setting, graph: Graph, progress: Progress | None = None, clock: Clock = time.perf_counter
) -> Outcome:
    """Measure the kernels of a compiled model that a table lacks: each is compiled by itself, which takes seconds.

    Args:
        store: the table.
        setting: this machine, as `Setting.here` says.
        graph: what `flopscope.latency.table.compiled.compiled_graph` makes of the model.
        progress: told after each kernel.
        clock: seconds.

    Raises:
        OptionError: the setting is of another machine or runtime, or the table cannot be written.
    """
    _check_here(setting, "compile")
    ops = eager.keys_of(graph)
    wanted = frozenset(ops.keys() - store.times(setting).keys())
    outcome = Outcome()
    if not wanted:
        return outcome
    with eager.running(setting.threads):
        found = []
        for number, key in enumerate(sorted(wanted), 1):
            candidate = compiled.candidate_of(key, ops[key])
            if candidate is None:
                outcome.failed[key] = f"the compiler does not take {key[:80]}"
            else:
                found.append(candidate)
            if progress is not None:
                progress(number, len(wanted))
        runs = in_rounds(found, frozenset(candidate.key for candidate in found), clock)
        kept, noisy = judged(runs, compiled.call_seconds())
        _keep(store, setting, outcome, kept)
        outcome.failed |= noisy
    return outcome
