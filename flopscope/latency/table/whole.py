"""Running a whole model, to see how well a sum of its ops meets it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from flopscope.latency.table.eager import running
from flopscope.latency.table.nodes import session, zeros
from flopscope.latency.table.rounds import LEAST_ROUNDS, WARM_UP, Clock, is_steady

MOST_SECONDS = 30.0
"""After so long, the median so far is taken."""


def run_model(model: Any, args: Any, kwargs: Any, threads: int, clock: Clock = time.perf_counter) -> float:
    """The median seconds of a call of a PyTorch model on the processor."""
    with running(threads):
        return _median(lambda: model(*args, **kwargs), clock)


def run_file(path: str, threads: int, inputs: dict[str, Any] | None = None, clock: Clock = time.perf_counter) -> float:
    """The median seconds of a run of an ONNX file in ONNX Runtime on the processor."""
    made = session(path, threads)
    feeds = zeros(made) if inputs is None else inputs
    return _median(lambda: made.run(None, feeds), clock)


def _median(run: Callable[[], object], clock: Clock) -> float:
    found: list[float] = []
    begin = clock()
    while True:
        start = clock()
        run()
        end = clock()
        found.append(end - start)
        counted = found[WARM_UP:]
        if len(counted) >= LEAST_ROUNDS and (is_steady(counted) or end - begin > MOST_SECONDS):
            return statistics.median(counted)
