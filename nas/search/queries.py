"""Searches that ask how good an architecture is: random search, local search, regularised evolution, REINFORCE.

A space is a number of candidates for each decision. A query is an architecture, one index for each decision. Nothing else is known of
either, so any table, training or predictor can answer. Where there is a budget, an architecture above it is never asked about: it is drawn
again, and is never a result.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nas.errors import BudgetError, RecipeError

Architecture = tuple[int, ...]
Evaluate = Callable[[Architecture], float]
"""How good an architecture is: the more the better."""
Allows = Callable[[Architecture], bool]
"""Whether an architecture keeps the budget."""
MOST_DRAWS = 100_000
"""After so many draws in a row above the budget, there is none within it that is worth waiting for."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question and its answer."""

    architecture: Architecture
    reward: float


def _anything(_: Architecture) -> bool:
    return True


@dataclass
class Space:
    """What can be asked.

    Attributes:
        sizes: the number of candidates of each decision.
        evaluate: answers.
        allows: tells what keeps the budget.
        random: draws.

    Raises:
        RecipeError: there is no decision, or one without candidates.
    """

    sizes: Sequence[int]
    evaluate: Evaluate
    allows: Allows = _anything
    random: random.Random = random.Random()  # noqa: RUF009 - one for all that ask for none of their own

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 1:
            raise RecipeError(f"a space needs decisions with candidates, but has the sizes {list(self.sizes)}")

    def ask(self, architecture: Architecture) -> Query:
        """Ask about one."""
        return Query(architecture, self.evaluate(architecture))

    def drawn(self, draw: Callable[[], Architecture] | None = None) -> Architecture:
        """One that keeps the budget, by default each with the same probability.

        Raises:
            BudgetError: none was found.
        """
        make = draw if draw is not None else self._uniform
        for _ in range(MOST_DRAWS):
            found = make()
            if self.allows(found):
                return found
        raise BudgetError(f"{MOST_DRAWS:,} architectures in a row were above the budget: raise it")

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """All that differ in one decision and keep the budget."""
        found = []
        for place, size in enumerate(self.sizes):
            for other in range(size):
                if other != architecture[place]:
                    changed = (*architecture[:place], other, *architecture[place + 1 :])
                    found += [changed] if self.allows(changed) else []
        return found

    def _uniform(self) -> Architecture:
        return tuple(self.random.randrange(size) for size in self.sizes)


def random_search(space: Space) -> Iterator[Query]:
    """Ask about architectures at random. Endless, like all searches here: take as many queries as there are to spend."""
    while True:
        yield space.ask(space.drawn())


def local_search(space: Space) -> Iterator[Query]:
    """Move to the best neighbour until none is better, then begin elsewhere (White et al. 2021, arXiv:2005.02960, algorithm 1)."""
    while True:
        best = space.ask(space.drawn())
        yield best
        improved = True
        while improved:
            improved = False
            asked = []
            neighbours = space.neighbours(best.architecture)
            space.random.shuffle(neighbours)
            for architecture in neighbours:
                asked.append(space.ask(architecture))
                yield asked[-1]
            top = max(asked, key=lambda query: query.reward, default=best)
            if top.reward > best.reward:
                best, improved = top, True


def regularised_evolution(space: Space, population: int = 50, sample: int = 10) -> Iterator[Query]:
    """The best of a random sample has a child that differs in one decision; the oldest dies (Real et al. 2019, arXiv:1802.01548, alg. 1).

    Args:
        space: what is asked.
        population: how many are alive.
        sample: among how many a parent is chosen.

    Raises:
        RecipeError: the sample is larger than the population, or either is none.
    """
    if not 1 <= sample <= population:
        raise RecipeError(f"evolution samples parents among 1 to {population} of its population, but {sample} were asked for")
    alive: deque[Query] = deque()
    while len(alive) < population:
        alive.append(space.ask(space.drawn()))
        yield alive[-1]
    while True:
        parent = max(space.random.sample(list(alive), sample), key=lambda query: query.reward)
        neighbours = space.neighbours(parent.architecture)
        alive.append(space.ask(space.random.choice(neighbours) if neighbours else space.drawn()))
        alive.popleft()
        yield alive[-1]


def reinforce(space: Space, lr: float = 0.01, decay: float = 0.9, betas: tuple[float, float] = (0.0, 0.999)) -> Iterator[Query]:
    """A softmax for each decision, moved by ``(R - b) grad log p`` with Adam (Cai et al. 2019, arXiv:1812.00332, eq. 8; their -R).

    Args:
        space: what is asked.
        lr: of Adam; theirs is 0.01.
        decay: of the moving mean b of rewards.
        betas: of Adam.

    Raises:
        RecipeError: the rate is not above zero, or a decay is no part.
    """
    if not lr > 0 or not all(0 <= part < 1 for part in (decay, *betas)):
        raise RecipeError(f"REINFORCE needs a rate above zero and decays from 0 to below 1, but has {lr}, {decay} and {betas}")
    alphas = [[0.0] * size for size in space.sizes]
    first = [[0.0] * size for size in space.sizes]
    second = [[0.0] * size for size in space.sizes]
    baseline: float | None = None
    step = 0
    while True:
        step += 1
        chances = [softmax(row) for row in alphas]
        query = space.ask(space.drawn(lambda chances=chances: _sampled(chances, space.random)))  # type: ignore[misc]
        yield query
        advantage = query.reward - (query.reward if baseline is None else baseline)
        baseline = query.reward if baseline is None else decay * baseline + (1 - decay) * query.reward
        for row, p, m, v, chosen in zip(alphas, chances, first, second, query.architecture, strict=True):
            for index in range(len(row)):
                slope = advantage * ((index == chosen) - p[index])
                m[index] = betas[0] * m[index] + (1 - betas[0]) * slope
                v[index] = betas[1] * v[index] + (1 - betas[1]) * slope * slope
                scale = math.sqrt(v[index] / (1 - betas[1] ** step)) + 1e-8
                row[index] += lr * m[index] / (1 - betas[0] ** step) / scale


def softmax(scores: Sequence[float]) -> list[float]:
    """Probabilities of scores."""
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    return [power / sum(powers) for power in powers]


def _sampled(chances: Sequence[Sequence[float]], draw: random.Random) -> Architecture:
    return tuple(draw.choices(range(len(row)), row)[0] for row in chances)


SEARCHES: dict[str, Callable[[Space], Iterator[Query]]] = {
    "random search": random_search,
    "local search": local_search,
    "regularised evolution": regularised_evolution,
    "REINFORCE": reinforce,
}


def best_after(queries: Iterator[Query], count: int) -> list[Query]:
    """After each of so many queries the best so far."""
    best: list[Query] = []
    for _ in range(count):
        query = next(queries)
        best.append(query if not best or query.reward > best[-1].reward else best[-1])
    return best
