"""The largest size that fits: against asking every size, on made-up memory and on real models."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import flopscope
from flopscope.analyses.memory.fit import Fit, Measured, largest
from flopscope.analyses.memory.storages import Storage, storages
from flopscope.errors import InputError, OptionError
from flopscope.graph import TensorType


def made_up(*pieces: tuple[int, int, Callable[[int], int]], constant: int = 100, limit: int | None = None) -> Callable[[int], Measured]:
    """A model of pieces that are born and die at some ops, and have so many bytes at a size."""
    ops = max(died for _, died, _ in pieces)

    def measure(size: int) -> Measured:
        if limit is not None and size > limit:
            raise InputError(f"at most {limit}")
        found = [Storage(i, of(size), born, died, "result", born, None, TensorType.of(())) for i, (born, died, of) in enumerate(pieces)]
        return Measured(found, ops, constant, lambda piece: f"piece {piece.id}")

    return measure


def every_size(measure: Callable[[int], Measured], limit: int, most: int, step: int = 1) -> int | None:
    fitting = None
    for size in range(step, most + 1, step):
        try:
            if measure(size).peak_bytes > limit:
                break
        except InputError:
            break
        fitting = size
    return fitting


def test_made_up_models_by_asking_every_size() -> None:
    chance = random.Random(0)
    for _ in range(60):
        terms = [(chance.randint(0, 50), chance.randint(0, 9), chance.choice([0, 0, 1, 3])) for _ in range(chance.randint(1, 6))]
        pieces = [
            (born := chance.randint(-1, 3), born + chance.randint(1, 4), lambda n, t=t: t[0] + t[1] * n + t[2] * n * n) for t in terms
        ]
        measure, limit = made_up(*pieces), chance.randint(90, 4000)
        for most, step in ((300, 1), (300, 7)):
            found = largest(measure, limit, most=most, step=step)
            assert found.size == every_size(measure, limit, most, step)
            assert found.peak_bytes == measure(found.size or step).peak_bytes
            assert found.traces <= 8


def test_the_formula_of_the_peak() -> None:
    found = largest(made_up((-1, 2, lambda n: 4 * n), (0, 1, lambda n: 10 + 6 * n)), 1000)
    assert (found.size, found.peak_bytes, found.next_bytes) == (89, 1000, 1010)
    assert found.coefficients == (110, 10, 0)
    assert found.alive == [("piece 1", 544), ("piece 0", 356)]
    assert found.by_formula
    assert found.holds_from == 1
    # The peak moves from one op to another: 600 up to a size of 50, and 100 + 10 n from there on.
    moving = largest(made_up((0, 1, lambda n: 500), (1, 2, lambda n: 10 * n)), 1000)
    assert (moving.size, moving.coefficients, moving.holds_from) == (90, (100, 10, 0), 50)
    bent = largest(made_up((0, 1, lambda n: 500), (1, 2, lambda n: n * n)), 1000)
    assert (bent.size, bent.coefficients) == (30, None)
    assert largest(made_up((0, 1, lambda n: 3 * n * n + 1)), 1000, step=2).coefficients == (101, 0, 3)


def test_what_is_no_polynomial_is_searched_by_traces() -> None:
    def rounded(size: int) -> int:
        return -(-size // 8) * 80

    found = largest(made_up((0, 1, rounded)), 1000)
    assert (found.size, found.by_formula, found.coefficients) == (88, False, None)
    # The formula holds where it was looked at, and not at the answer.
    turning = made_up((0, 1, lambda n: 10 * n if n < 50 else 20 * n))
    assert largest(turning, 1700).size == every_size(turning, 1700, 200)


def test_a_model_that_takes_no_more() -> None:
    found = largest(made_up((0, 1, lambda n: n), limit=77), 10**6)
    assert (found.size, found.next_bytes, found.refusal, found.capped) == (77, None, "at most 77", False)


def test_nothing_and_everything_fits() -> None:
    nothing = largest(made_up((0, 1, lambda n: 1000 * n)), 1000)
    assert (nothing.size, nothing.peak_bytes, nothing.limit_bytes, nothing.next_size) == (None, 1100, 1000, 1)
    everything = largest(made_up((0, 1, lambda n: 5)), 1000, most=5000)
    assert (everything.size, everything.capped) == (5000, True)


class Attention(nn.Module):
    """Of memory that grows with the square of the sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.project = nn.Embedding(50, 16), nn.Linear(16, 48)

    def forward(self, ids: Tensor) -> Tensor:
        query, key, value = self.project(self.embedding(ids)).chunk(3, -1)
        return F.gelu(torch.softmax(query @ key.transpose(-2, -1), -1) @ value)


def of_model(model: nn.Module, inputs: Callable[[int], Tensor]) -> Callable[[int], Measured]:
    def measure(size: int) -> Measured:
        graph = flopscope.analyze(model, inputs(size)).graph
        return Measured(storages(graph), len(graph.ops), 0, lambda piece: piece.role)

    return measure


@pytest.mark.parametrize("limit", [3_000, 40_000, 200_000])
def test_real_models_by_asking_every_size(limit: int) -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 36, 10)).eval()
    for measure in (
        of_model(layers, lambda size: torch.empty(size, 3, 8, 8, device="meta")),
        of_model(Attention(), lambda size: torch.zeros(2, size, dtype=torch.int64)),
    ):
        found = largest(measure, limit)
        assert found.size == every_size(measure, limit, 120)
        assert found.by_formula or found.size is None
        assert found.traces <= 8


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(OptionError, match="there must be some memory to fit into, but -5 bytes are left"):
        largest(made_up((0, 1, lambda n: n)), -5)
    with pytest.raises(OptionError, match="the step is 0"):
        largest(made_up((0, 1, lambda n: n)), 5, step=0)
    with pytest.raises(InputError, match="at most 0"):
        largest(made_up((0, 1, lambda n: n), limit=0), 500)


def test_an_answer_knows_what_comes_next() -> None:
    found: Fit = largest(made_up((0, 1, lambda n: n)), 1000, step=32)
    assert (found.size, found.next_size, found.next_bytes) == (896, 928, 1028)
