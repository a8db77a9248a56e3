"""Measuring in rounds, with a clock that the test turns."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from flopscope.latency.table.rounds import (
    LEAST_ROUNDS,
    MOST_ROUNDS,
    WARM_UP,
    Candidate,
    in_rounds,
    is_steady,
    judged,
    measured,
    median_bounds,
)


class Machine:
    """Ops that take the seconds that they are said to, and a clock that shows it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def clock(self) -> float:
        return self.now

    def op(self, name: str, seconds: object) -> Candidate:
        times = seconds if hasattr(seconds, "__next__") else itertools.repeat(seconds)

        def run() -> None:
            self.log.append(name)
            self.now += next(times)  # type: ignore[call-overload]

        def prepare() -> None:
            self.log.append(f"write {name}")
            self.now += 1000  # what is not measured may take as long as it likes

        return Candidate(name, prepare, run)


def test_ops_run_in_turn_each_after_its_inputs_were_written() -> None:
    machine = Machine()
    runs = in_rounds([machine.op("a", 1.0), machine.op("b", 2.0)], frozenset("ab"), machine.clock)
    assert machine.log[:8] == ["write a", "a", "write b", "b"] * 2
    assert runs == {"a": [1.0] * LEAST_ROUNDS, "b": [2.0] * LEAST_ROUNDS}
    assert machine.log.count("a") == WARM_UP + LEAST_ROUNDS


def test_known_ops_run_too_but_are_not_kept() -> None:
    machine = Machine()
    runs = in_rounds([machine.op("known", 1.0), machine.op("new", 2.0)], frozenset(["new"]), machine.clock)
    assert set(runs) == {"new"}
    assert machine.log.count("known") == machine.log.count("new")


def test_slow_first_runs_and_a_slow_moment_change_nothing() -> None:
    machine = Machine()
    seconds = iter([50.0, 40.0, 3.0, 3.0, 90.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, *[3.0] * 99])
    runs = in_rounds([machine.op("a", seconds)], frozenset("a"), machine.clock)
    kept, noisy = judged(runs)
    assert kept["a"].seconds == 3.0
    assert not noisy


def test_what_varies_is_run_longer_and_what_varies_too_much_is_refused() -> None:
    machine = Machine()
    draw = random.Random(0)
    wild = (draw.choice([1.0, 10.0]) for _ in itertools.count())
    runs = in_rounds([machine.op("wild", wild), machine.op("calm", 1.0)], frozenset(["wild", "calm"]), machine.clock)
    assert len(runs["wild"]) == MOST_ROUNDS
    kept, noisy = judged(runs)
    assert set(kept) == {"calm"}
    assert "41 runs" in noisy["wild"]


def test_what_measuring_adds_is_taken_off_and_nothing_is_below_zero() -> None:
    found = measured([5.0, 1.0, 3.0], overhead=2.0)
    assert (found.seconds, found.low, found.high, found.runs) == (1.0, 0.0, 3.0, 3)


@pytest.mark.parametrize("count", [9, 15, 25, 41])
def test_the_median_lies_within_its_bounds_nineteen_times_in_twenty(count: int) -> None:
    """The number of runs below the true median is binomial; the chance is added up outcome by outcome."""
    low, high = median_bounds(list(range(count)))
    chance = sum(math.comb(count, below) for below in range(count + 1) if low < below <= high) / 2**count
    assert 0.93 <= chance <= 0.985


def test_too_few_runs_are_never_steady() -> None:
    assert not is_steady([1.0] * (LEAST_ROUNDS - 1))
    assert is_steady([1.0] * LEAST_ROUNDS)
