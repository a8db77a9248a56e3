"""Searches by queries, on spaces whose best is known."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator

import pytest
import torch

from nas.errors import BudgetError, RecipeError
from nas.search.queries import (
    SEARCHES,
    Architecture,
    Query,
    Space,
    best_after,
    local_search,
    regularised_evolution,
    reinforce,
    softmax,
)

SIZES = (3, 4, 2, 3)
BEST = (2, 1, 1, 0)


def closeness(architecture: Architecture) -> float:
    return float(sum(one == other for one, other in zip(architecture, BEST, strict=True)))


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_the_best_is_found_and_the_same_seed_asks_the_same(search: Callable[[Space], Iterator[Query]]) -> None:
    first, again = (best_after(search(Space(SIZES, closeness, random=random.Random(1))), 600) for _ in range(2))
    assert first == again
    assert first[-1] == Query(BEST, 4.0)
    assert all(one.reward <= other.reward for one, other in itertools.pairwise(first))


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_nothing_above_the_budget_is_ever_asked_about(search: Callable[[Space], Iterator[Query]]) -> None:
    asked: list[Architecture] = []

    def evaluate(architecture: Architecture) -> float:
        asked.append(architecture)
        return closeness(architecture)

    found = best_after(search(Space(SIZES, evaluate, lambda architecture: sum(architecture) <= 3, random.Random(2))), 300)
    assert max(map(sum, asked)) <= 3
    wanted = max(closeness(each) for each in itertools.product(*map(range, SIZES)) if sum(each) <= 3)
    assert found[-1].reward == wanted == 3
    with pytest.raises(BudgetError, match="above the budget"):
        next(search(Space(SIZES, closeness, lambda _: False, random.Random(2))))


def test_local_search_climbs_and_begins_elsewhere_at_the_top() -> None:
    queries = local_search(Space(SIZES, closeness, random=random.Random(0)))
    asked = [next(queries) for _ in range(100)]
    at = asked[0]
    place = 1
    while True:  # every neighbour of where it stands is asked about before it moves
        neighbours = {each.architecture for each in asked[place : place + sum(SIZES) - len(SIZES)]}
        assert all(sum(one != other for one, other in zip(each, at.architecture, strict=True)) == 1 for each in neighbours)
        assert len(neighbours) == sum(SIZES) - len(SIZES)
        top = max(asked[place : place + len(neighbours)], key=lambda query: query.reward)
        place += len(neighbours)
        if top.reward <= at.reward:
            break
        at = top
    assert at.architecture == BEST


def test_evolution_lets_the_oldest_die_however_good_it_is() -> None:
    """With one alive, each child is of the last one, better or worse: a walk of single steps."""
    queries = regularised_evolution(Space(SIZES, closeness, random=random.Random(0)), population=1, sample=1)
    walk = [next(queries) for _ in range(50)]
    for before, after in itertools.pairwise(walk):
        assert sum(one != other for one, other in zip(before.architecture, after.architecture, strict=True)) == 1
    assert any(after.reward < before.reward for before, after in itertools.pairwise(walk))


def test_reinforce_moves_as_adam_by_autograd_would() -> None:
    sizes, lr = (2, 3), 0.05
    seen: list[Architecture] = []

    def evaluate(architecture: Architecture) -> float:
        seen.append(architecture)
        return math.sin(1 + architecture[0] + 2 * architecture[1])

    queries = reinforce(Space(sizes, evaluate, random=random.Random(3)), lr)
    chances: list[list[list[float]]] = []
    frame: dict[str, object] = {}
    for _ in range(12):
        next(queries)
        frame = queries.gi_frame.f_locals  # type: ignore[attr-defined]
        chances.append([list(row) for row in frame["chances"]])  # type: ignore[attr-defined]
    alphas = [torch.zeros(size, dtype=torch.float64, requires_grad=True) for size in sizes]
    adam = torch.optim.Adam(alphas, lr, (0.0, 0.999))
    baseline = None
    for number, architecture in enumerate(seen):
        for mine, alpha in zip(chances[number], alphas, strict=True):
            assert mine == pytest.approx(alpha.softmax(0).tolist(), abs=1e-9)
        reward = math.sin(1 + architecture[0] + 2 * architecture[1])
        advantage = reward - (reward if baseline is None else baseline)
        baseline = reward if baseline is None else 0.9 * baseline + 0.1 * reward
        loss = -advantage * sum(alpha.log_softmax(0)[chosen] for alpha, chosen in zip(alphas, architecture, strict=True))
        adam.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        adam.step()


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(RecipeError, match="decisions with candidates"):
        Space((), closeness)
    space = Space(SIZES, closeness)
    with pytest.raises(RecipeError, match="among 1 to 5"):
        next(regularised_evolution(space, population=5, sample=9))
    with pytest.raises(RecipeError, match="above zero"):
        next(reinforce(space, lr=0))
    assert softmax([1000.0, 1000.0]) == [0.5, 0.5]
