"""Robust measuring: all ops of a model in turn, round after round.

An op that is run again and again finds its weights in the cache, which in a model it does not: there, every other op has run since. So ops
are measured in rounds, in the order of the model. Before each run its inputs are written, as the op before it would have done. What is
slow about a machine at one moment falls on one round of many, and the median does not see it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flopscope.latency.table.store import Measured

WARM_UP: Final = 2
"""Rounds that do not count."""
LEAST_ROUNDS: Final = 9
MOST_ROUNDS: Final = 41
STEADY: Final = 0.05
"""A time is steady when its median is known this well, as a part of it."""
NOISY: Final = 0.25
"""After the last round, a median that is known less well than this is refused."""
SHORT_SECONDS: Final = 1e-6
"""What a clock and an interpreter add at random: a time that is known this well is steady, however short it is."""
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An op that can be run.

    Attributes:
        key: as `flopscope.latency.table.keys.written` makes it.
        prepare: writes its inputs.
        run: runs it.
    """

    key: str
    prepare: Callable[[], object]
    run: Callable[[], object]


def in_rounds(candidates: Sequence[Candidate], wanted: frozenset[str], clock: Clock = time.perf_counter) -> dict[str, list[float]]:
    """The seconds of each run of each wanted op: as many rounds as it takes until all are steady.

    Args:
        candidates: all ops of a model. Those that are not wanted are run too, so that the others find the caches as in the model.
        wanted: the keys of the ops whose times are kept.
        clock: seconds.
    """
    runs: dict[str, list[float]] = {key: [] for key in wanted}
    for number in range(WARM_UP + MOST_ROUNDS):
        for candidate in candidates:
            candidate.prepare()
            start = clock()
            candidate.run()
            seconds = clock() - start
            if number >= WARM_UP and candidate.key in wanted:
                runs[candidate.key].append(seconds)
        if number + 1 >= WARM_UP + LEAST_ROUNDS and all(is_steady(found) for found in runs.values()):
            break
    return runs


def judged(runs: Mapping[str, Sequence[float]], overhead: float = 0.0) -> tuple[dict[str, Measured], dict[str, str]]:
    """The times of ops by their runs, and of those that are too noisy to be kept, why.

    Args:
        runs: seconds of each run, by key.
        overhead: seconds that measuring adds to each run, which are taken off.
    """
    kept: dict[str, Measured] = {}
    noisy: dict[str, str] = {}
    for key, found in runs.items():
        if is_steady(found, NOISY):
            kept[key] = measured(found, overhead)
        else:
            low, high = median_bounds(found)
            noisy[key] = f"too noisy: after {len(found)} runs its median is known only to lie between {low:.2e} and {high:.2e} s"
    return kept, noisy


def measured(runs: Sequence[float], overhead: float = 0.0) -> Measured:
    """The median, and between what nine in ten runs lay."""
    ordered = sorted(max(0.0, seconds - overhead) for seconds in runs)
    edge = round(0.05 * (len(ordered) - 1))
    return Measured(statistics.median(ordered), ordered[edge], ordered[len(ordered) - 1 - edge], len(ordered))


def is_steady(runs: Sequence[float], within: float = STEADY) -> bool:
    """Whether the median is known well enough."""
    if len(runs) < LEAST_ROUNDS:
        return False
    low, high = median_bounds(runs)
    return high - low <= max(2 * within * statistics.median(runs), 2 * SHORT_SECONDS)


def median_bounds(runs: Sequence[float]) -> tuple[float, float]:
    """Between what the true median lies, 19 times in 20, whatever the distribution.

    The number of runs below the median is binomial: about ``n/2 -+ 1.96 sqrt(n)/2``. Source: Conover 1999, Practical Nonparametric
    Statistics, 3.2.
    """
    ordered, count = sorted(runs), len(runs)
    rank = max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)))
    return ordered[rank], ordered[count - 1 - rank]
