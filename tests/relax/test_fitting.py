"""Exact fits: sequences with a known origin are found again, and what has none is refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction

import pytest
import sympy

from flopscope.relax.closed.fitting import Axis, Fitter, NoFit, Point, Undecided, floors_through, solve

B, R, S = (sympy.Symbol(name, integer=True, positive=True) for name in "BRS")
STARTS = {B: 3, R: 64, S: 50}
OFFSETS = (0, 1, 2, 3, 5, 9, 17, 33, 65, 129)


def recovered(function: Callable[..., int], *symbols: sympy.Symbol, step: int = 1) -> tuple[object, int]:
    """What a fitter makes of a function that it may ask, and how often it asked."""
    axes = [Axis(s, STARTS[s], step, STARTS[s], STARTS[s] + step * OFFSETS[-1]) for s in symbols]
    center = tuple(axis.start for axis in axes)
    points = {(*center[:i], axis.start + step * k, *center[i + 1 :]): None for i, axis in enumerate(axes) for k in OFFSETS}
    if len(axes) > 1:
        points.update(dict.fromkeys(Fitter(axes, list(points)).elsewhere(3)))
    while True:
        values = tuple(function(*point) for point in points)
        fitter = Fitter(axes, list(points), [values])
        try:
            fitter.decide([values])
            return fitter.fit(values), len(points)
        except Undecided as undecided:
            new = [point for point in undecided.questions if point not in points]
            assert new, "a question that was answered already"
            points.update(dict.fromkeys(new))


def agrees(found: object, function: Callable[..., int], symbols: tuple[sympy.Symbol, ...], points: list[Point]) -> bool:
    expression = sympy.sympify(found)
    return all(expression.subs(dict(zip(symbols, point, strict=True))) == function(*point) for point in points)


@pytest.mark.parametrize(
    ("function", "symbols", "expected"),
    [
        (lambda b: 7, (B,), 7),
        (lambda b: 12 * b, (B,), 12 * B),
        (lambda s: s + 1, (S,), S + 1),
        (lambda s: s * (s + 1) // 2, (S,), S**2 / 2 + S / 2),
        (lambda b, s: b * s, (B, S), B * S),
        (lambda b, s: 5 * s**2 + 3, (B, S), 5 * S**2 + 3),
        (lambda b, s: (b + 1) * (s + 2), (B, S), B * S + 2 * B + S + 2),
        (lambda r: (r - 1) // 2 + 1, (R,), sympy.floor((R + 1) / 2)),
        (lambda r: r // 32, (R,), sympy.floor(R / 32)),
        (lambda r: -(-r // 7) * 7, (R,), 7 * sympy.floor((R + 6) / 7)),
        (lambda r: 100 - r // 4, (R,), 100 - sympy.floor(R / 4)),
        (lambda b, r: b * ((r + 5) // 16 - 1), (B, R), B * (sympy.floor((R + 5) / 16) - 1)),
    ],
)
def test_forms_that_occur(function: Callable[..., int], symbols: tuple[sympy.Symbol, ...], expected: object) -> None:
    found, _ = recovered(function, *symbols)
    assert sympy.expand(found - expected) == 0


def test_a_constant_stays_an_int() -> None:
    assert type(recovered(lambda b: 7, B)[0]) is int


@pytest.mark.parametrize("seed", range(30))
def test_chains_of_strides_collapse_to_one_floor(seed: int) -> None:
    """Any chain of convolutions: the composition of floors is one floor, found with few questions."""
    draw = random.Random(seed)
    layers, total = [], 1
    for stride in draw.choices([1, 2, 2, 3, 4, 5], k=5):
        if total * stride <= 64:  # a longer stride makes fewer than two steps in reach
            layers.append((draw.randint(1, 4), stride, draw.randint(0, 3)))
            total *= stride

    def size(r: int) -> int:
        for kernel, stride, padding in layers:
            r = (r + 2 * padding - kernel) // stride + 1
        return r

    found, asked = recovered(size, R)
    assert asked <= 40
    assert len(sympy.sympify(found).atoms(sympy.floor)) <= 1
    assert agrees(found, size, (R,), [(r,) for r in range(30, 700, 7)])


def test_a_strided_lattice_needs_no_floor() -> None:
    found, _ = recovered(lambda r: r // 32, R, step=32)
    assert found == R / 32


def test_flattened_floors_are_powers_of_floors_seen_elsewhere() -> None:
    axes = [Axis(R, 64, 1, 64, 193)]
    points = [(64 + k,) for k in range(130)]
    side = tuple((r + 1) // 2 for (r,) in points)
    flat = tuple(((r + 1) // 2) ** 2 + 1 for (r,) in points)
    assert Fitter(axes, points, [side, flat]).fit(flat) == sympy.floor((R + 1) / 2) ** 2 + 1


def test_sums_over_scales() -> None:
    """The anchors of a detector: a sum of squares of several floors."""
    axes = [Axis(R, 64, 1, 64, 193)]
    points = [(64 + k,) for k in range(130)]
    sides = [tuple(r // c for (r,) in points) for c in (4, 8, 16)]
    anchors = tuple(3 * (r // 4) ** 2 + 2 * (r // 8) ** 2 + (r // 16) ** 2 for (r,) in points)
    found = Fitter(axes, points, sides).fit(anchors)
    assert sympy.expand(found - 3 * sympy.floor(R / 4) ** 2 - 2 * sympy.floor(R / 8) ** 2 - sympy.floor(R / 16) ** 2) == 0


def test_equal_sequences_give_the_same_object() -> None:
    points = [(3 + k,) for k in OFFSETS]
    fitter = Fitter([Axis(B, 3, 1, 3, 132)], points)
    assert fitter.fit(tuple(2 * b for (b,) in points)) is fitter.fit(tuple(b + b for (b,) in points))


@pytest.mark.parametrize("function", [lambda r: r & 1, lambda r: 2**r, lambda r: r.bit_length(), lambda r: min(r, 80)])
def test_what_has_no_form_is_refused(function: Callable[[int], int]) -> None:
    with pytest.raises(NoFit) as caught:
        recovered(function, R)
    assert caught.value.axis == 0


def test_what_has_no_product_form_is_refused() -> None:
    with pytest.raises(NoFit, match="no product of what is seen along B, S"):
        recovered(lambda b, s: b * s + (b != STARTS[B] and s != STARTS[S]), B, S)


def test_solve_is_exact_and_counts_what_is_free() -> None:
    assert solve([[2, 0], [0, 3], [2, 3]], [1, 1, 2]) == ([Fraction(1, 2), Fraction(1, 3)], 0)
    assert solve([[1, 1], [2, 2]], [3, 6]) == ([Fraction(3), Fraction(0)], 1)
    assert solve([[1, 1], [2, 2]], [3, 7]) == (None, 0)


def test_all_floors_through_points_are_found() -> None:
    """Against trying every divisor and shift."""
    xs = [64, 65, 66, 69, 81, 97, 120]
    ys = [x // 11 for x in xs]
    tried = {
        (c, b)
        for c in range(2, 60)
        for b in range(-200, 200)
        if len({(x + b) // c - y for x, y in zip(xs, ys, strict=True)}) == 1 and (xs[0] + b) // c == 0
    }
    assert set(floors_through(xs, ys)) == tried
