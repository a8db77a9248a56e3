"""Where names stand beside their points, so that they can be read when the points are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

Floats = NDArray[numpy.float64]
_ROUNDS = 8
_DISTANCES = (7.0, 12.0, 18.0, 26.0, 36.0, 48.0, 64.0, 84.0)
_DIRECTIONS = 16
_SAMPLES = numpy.linspace(0.15, 0.9, 6)
_ON_LABEL, _ON_MARK, _ON_LINE, _OUTSIDE, _PER_DISTANCE, _CROSSED = 40.0, 10.0, 2.0, 200.0, 1.5, 40.0
"""What a square unit on another label, on a mark, on a line and outside costs, a unit of distance from the point, and each sample of the
line back to the point that lies on another label or mark."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle by its corners, y upwards."""

    left: float
    bottom: float
    right: float
    top: float


def place(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    marks: Sequence[Rectangle],
    lines: Sequence[Rectangle],
    inside: Rectangle,
) -> list[Rectangle]:
    """Find a place for the label of each point: near it, and off all other labels, marks and lines as far as that goes.

    Each label in turn takes the cheapest of some hundred places given all the others, a few times over. Units are those of the
    points; distances suit 1/72 inch.

    Args:
        points: where the points are.
        sizes: the width and height of their labels.
        marks: the mark of each point, which no label should cover, nor the line from another label to its point cross.
        lines: what else the labels should not cover.
        inside: what they must not leave.
    """
    all_marks, all_lines = _array(marks), _array(lines)
    choices = [_choices(point, size) for point, size in zip(points, sizes, strict=True)]
    ways = [_ways(point, found) for point, (found, _) in zip(points, choices, strict=True)]
    fixed = [
        _fixed_costs(*choice, all_marks, all_lines, inside) + _CROSSED * _crossed(way, numpy.delete(all_marks, index, axis=0))
        for index, (choice, way) in enumerate(zip(choices, ways, strict=True))
    ]
    placed = numpy.array([found[0] for found, _ in choices]).reshape(-1, 4)
    for turn in range(_ROUNDS):
        for index, (found, _) in enumerate(choices):
            others = placed[:index] if turn == 0 else numpy.delete(placed, index, axis=0)
            costs = fixed[index] + _ON_LABEL * _overlaps(found, others) + _CROSSED * _crossed(ways[index], others)
            placed[index] = found[int(numpy.argmin(costs))]
    return [Rectangle(*map(float, row)) for row in placed]


def _choices(point: tuple[float, float], size: tuple[float, float]) -> tuple[Floats, Floats]:
    """The places around a point, and how far each is off."""
    angles = numpy.linspace(0, 2 * numpy.pi, _DIRECTIONS, endpoint=False)
    ways = numpy.stack([numpy.cos(angles), numpy.sin(angles)], axis=1)
    half = numpy.array(size) / 2
    shift = half * numpy.clip(1.5 * ways, -1, 1)  # the side or corner of the label that is next to the point
    centers = numpy.concatenate([numpy.array(point) + shift + distance * ways for distance in _DISTANCES])
    slanted = numpy.tile(numpy.arange(_DIRECTIONS) % (_DIRECTIONS // 4) > 0, len(_DISTANCES))  # straight beside it reads best
    distances = numpy.repeat(_DISTANCES, _DIRECTIONS) * (1 + 0.15 * slanted)
    return numpy.concatenate([centers - half, centers + half], axis=1), distances


def _ways(point: tuple[float, float], found: Floats) -> Floats:
    """Some points on the line from a point to the nearest point of each rectangle."""
    start = numpy.array(point)
    nearest = numpy.clip(start, found[:, :2], found[:, 2:])
    steps: Floats = start + (nearest - start)[:, None, :] * _SAMPLES[None, :, None]
    return steps


def _crossed(ways: Floats, others: Floats) -> Floats:
    """How many of the points on each line lie on one of the rectangles."""
    low, high = others[None, None, :, :2], others[None, None, :, 2:]
    counts: Floats = ((ways[:, :, None] > low) & (ways[:, :, None] < high)).all(axis=3).sum(axis=(1, 2)).astype(float)
    return counts


def _fixed_costs(found: Floats, distances: Floats, marks: Floats, lines: Floats, inside: Rectangle) -> Floats:
    areas = (found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1])
    outside = areas - _overlaps(found, _array([inside]))
    covered = _ON_MARK * _overlaps(found, marks) + _ON_LINE * _overlaps(found, lines)
    return _PER_DISTANCE * distances + covered + _OUTSIDE * outside


def _overlaps(found: Floats, others: Floats) -> Floats:
    """For each rectangle the area it shares with all the others."""
    low = numpy.maximum(found[:, None, :2], others[None, :, :2])
    high = numpy.minimum(found[:, None, 2:], others[None, :, 2:])
    areas: Floats = numpy.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    return areas


def _array(rectangles: Sequence[Rectangle]) -> Floats:
    return numpy.array([(each.left, each.bottom, each.right, each.top) for each in rectangles], dtype=float).reshape(-1, 4)
