"""The algebra of dims: whatever was asked of them stays true at every size of the units that are left."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flopscope.relax.channels.dims import Dim, Flexible, Units, fixed, is_fixed, value_of

BASES = (2, 3, 4, 6, 8, 12, 16, 24)


class Story:
    """A random sequence of equations, and what they mean for numbers."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.units = Units()
        self.dims: list[Dim] = [self.units.new(self.rng.choice(BASES)) for _ in range(6)]
        self.claims: list[tuple[str, Any]] = []

    def pick(self) -> Dim:
        return self.rng.choice(self.dims)

    def step(self) -> None:
        getattr(self, self.rng.choice(("equate", "divide", "share", "cut", "merge", "factor", "join", "freeze")))()

    def equate(self) -> None:
        one = self.pick()
        alike = [dim for dim in self.dims if self.units.size(dim) == self.units.size(one)]
        other = self.rng.choice(alike)
        self.units.equate(one, other, "equal")
        self.claims.append(("equal", (one, other)))

    def divide(self) -> None:
        dim, divisor = self.pick(), self.rng.choice((2, 3, 4))
        if self.units.size(dim) % divisor == 0:
            found = self.units.divide(dim, divisor, "divide")
            self.claims.append(("product", (dim, [found, fixed(divisor)])))
            self.dims.append(found)

    def share(self) -> None:
        dim, parts = self.pick(), self.rng.choice((2, 3))
        if self.units.size(dim) % parts == 0:
            found = self.units.divide_equally(dim, parts, "share")
            self.claims.append(("sum", (dim, [found] * parts)))
            self.dims.append(found)

    def cut(self) -> None:
        dim = self.pick()
        size = self.units.size(dim)
        if size > 1:
            first = self.rng.randint(1, size - 1)
            pieces = self.units.cut(dim, [first, size - first], "cut")
            self.claims.append(("sum", (dim, pieces)))
            self.dims += pieces

    def merge(self) -> None:
        dims = [self.pick(), self.rng.choice([self.pick(), fixed(3)])]
        if math.prod(self.units.size(dim) for dim in dims) < 500:
            found = self.units.merge(dims, "merge")
            self.claims.append(("product", (found, dims)))
            self.dims.append(found)

    def factor(self) -> None:
        dim = self.pick()
        divisors = [number for number in range(2, self.units.size(dim)) if self.units.size(dim) % number == 0]
        if divisors:
            first = self.rng.choice(divisors)
            sizes = [first, self.units.size(dim) // first]
            found = self.units.factor(dim, sizes, Flexible(*self.rng.choice(((None, 0), (0, None), (1, 0), (None, None)))), "factor")
            assert [self.units.size(part) for part in found] == sizes
            self.claims.append(("product", (dim, found)))
            self.dims += found

    def join(self) -> None:
        dims = [self.pick(), self.pick()]
        joined = (*dims[0], *dims[1])
        self.claims.append(("sum", (joined, dims)))
        self.dims.append(self.units.resolve(joined))

    def freeze(self) -> None:
        if self.rng.random() < 0.1:
            dim = self.pick()
            self.units.freeze(dim, "frozen")
            self.claims.append(("fixed", (dim, self.units.size(dim))))

    def check(self, sizes: dict[int, int]) -> None:
        def value(dim: Dim) -> int:
            return value_of(self.units.resolve(dim), sizes)

        for claim, (one, other) in self.claims:
            if claim == "equal":
                assert value(one) == value(other)
            elif claim == "sum":
                assert value(one) == sum(map(value, other))
            elif claim == "product":
                assert value(one) == math.prod(map(value, other))
            else:
                assert value(one) == other


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 10**9))
def test_every_claim_holds_at_every_size(seed: int) -> None:
    story = Story(seed)
    bases = [story.units.size(dim) for dim in story.dims]
    for _ in range(25):
        story.step()
    story.units.settle()
    free = story.units.free(story.dims)
    story.check({unit: story.units.base(unit) for unit in free})
    assert [value_of(story.units.resolve(dim), {unit: story.units.base(unit) for unit in free}) for dim in story.dims[:6]] == bases
    for _ in range(3):
        story.check({unit: story.rng.randint(1, 30) for unit in free})


def test_equations_leave_freedom_where_they_can() -> None:
    units = Units()
    one, two, three = units.new(12), units.new(12), units.new(24)
    units.equate(one, two, "residual")
    units.equate(three, (*one, *two), "concatenation")
    assert units.resolve(three) == (*units.resolve(one), *units.resolve(one))
    quarter = units.divide(one, 4, "groups")
    assert value_of(units.resolve(three), {units.free([quarter])[0]: 5}) == 2 * 4 * 5
    assert len(units.free([one, two, three])) == 1


def test_multiples_meet_in_their_least_common_multiple() -> None:
    units = Units()
    one, two = units.new(6), units.new(4)
    twice, thrice = units.merge([one, fixed(2)], ""), units.merge([two, fixed(3)], "")
    units.equate(twice, thrice, "equal")
    (unit,) = units.free([one, two])
    assert (units.resolve(one), units.resolve(two)) == (((3, (unit,)),), ((2, (unit,)),))


@pytest.mark.parametrize(
    ("flexible", "kept", "guesses"),
    [(Flexible(0), 0, 0), (Flexible(likely=0), 0, 1), (Flexible(), 1, 1), (Flexible(asked=1, likely=0), 1, 0)],
)
def test_one_factor_of_a_reshape_may_change(flexible: Flexible, kept: int, guesses: int) -> None:
    units = Units()
    parts = units.factor(units.new(768), [12, 64], flexible, "reshape")
    units.settle()
    assert [position for position, part in enumerate(parts) if not is_fixed(units.resolve(part))] == [kept]
    assert len(units.guesses) == guesses


def test_a_batch_around_channels_is_no_part_of_them() -> None:
    """[4, 768] becomes [4 * 12, 64], as heads are joined with a batch."""
    units = Units()
    channels = units.new(768)
    first, second = units.factor(units.merge([fixed(4), channels], ""), [48, 64], Flexible(likely=0), "reshape")
    units.settle()
    (unit,) = units.free([channels])
    assert (units.resolve(first), units.resolve(second)) == (((4, (unit,)),), fixed(64))
    assert units.resolve(channels) == ((64, (unit,)),)
