"""Accuracy against cost: which networks are worth their cost, and which others beat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from flopscope.errors import OptionError
from nas.report.figure import COLORS, GRAY, check, clean, is_wide, name_entries, new_figure, printable, save
from nas.report.labels import Rectangle
from nas.report.names import in_points, settle, write_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "osD^vP*X"
_SIZE, _FRONT_SIZE, _REACH = 6.5, 12.0, 5.0
_UNGROUPED = "other"


@dataclass(frozen=True)
class Point:
    """A network by what it costs and how well it does.

    Attributes:
        name: what is written beside it.
        cost: in any unit.
        accuracy: between 0 and 1.
        spread: how far the accuracy may be off, drawn as an error bar.
        group: points of a group share colour and shape.
    """

    name: str
    cost: float
    accuracy: float
    spread: float | None = None
    group: str = ""


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats: none costs as little and is as accurate, and better in one of the two; cheapest first.

    Equal points do not beat each other. A point whose cost or accuracy is no number is left out.
    """
    front: list[Point] = []
    for point in sorted(_drawable(points), key=lambda point: (point.cost, -point.accuracy)):
        is_equal = bool(front) and (point.cost, point.accuracy) == (front[-1].cost, front[-1].accuracy)
        if not front or point.accuracy > front[-1].accuracy or is_equal:
            front.append(point)
    return front


def draw_tradeoff(points: Sequence[Point], path: Path, *, cost_label: str) -> None:
    """Draw accuracy against cost, with the best accuracy for each cost as a step line; ringed points lie on it.

    Raises:
        OptionError: there is no point to draw, the format is none that is drawn, or the file cannot be written.
        MissingPackageError: matplotlib is not installed.
    """
    check(path)
    shown = _drawable(points)
    if not shown:
        raise OptionError(f"cannot draw {path}: no point has a cost and an accuracy")
    figure = new_figure(8.4, 5.4)
    axes = figure.add_subplot()
    axes.set_xlabel(printable(cost_label), parse_math=False)
    axes.set_ylabel("accuracy (%)")
    clean(axes)
    _scale(axes, shown)
    _draw_groups(axes, shown)
    _draw_front(axes, pareto(shown))
    _draw_legend(axes, shown)
    settle(figure)  # the names come last, for their places depend on everything else
    named = [(point.name, point.cost, 100 * point.accuracy) for point in shown]
    write_names(axes, named, _marks(axes, shown), _steps(axes, pareto(shown)))
    save(figure, path)


def _drawable(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if math.isfinite(point.cost) and math.isfinite(point.accuracy)]


def _groups(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.group for point in points))


def _scale(axes: Axes, points: Sequence[Point]) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    costs = [point.cost for point in points]
    if is_wide(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(costs) / min(costs) < 300 else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.margins(x=0.12, y=0.12)  # room for the names


def _draw_groups(axes: Axes, points: Sequence[Point]) -> None:
    for number, group in enumerate(_groups(points)):
        members = [point for point in points if point.group == group]
        axes.errorbar(
            [point.cost for point in members],
            [100 * point.accuracy for point in members],
            yerr=[100 * _spread(point) for point in members],
            fmt=_MARKERS[number % len(_MARKERS)],
            color=COLORS[number % len(COLORS)],
            markersize=_SIZE,
            elinewidth=1.2,
            capsize=3 if any(_spread(point) for point in members) else 0,
            zorder=3,
        )


def _spread(point: Point) -> float:
    return abs(point.spread) if point.spread is not None and math.isfinite(point.spread) else 0.0


def _draw_front(axes: Axes, front: Sequence[Point]) -> None:
    """From each point of the front level to the next, and on to the edge: that accuracy can be had for every larger cost."""
    axes.set_xlim(axes.get_xlim())
    costs, accuracies = [point.cost for point in front], [100 * point.accuracy for point in front]
    edge = ([*costs, axes.get_xlim()[1]], [*accuracies, accuracies[-1]])
    axes.plot(*edge, drawstyle="steps-post", color=GRAY, linewidth=1.4, zorder=2)
    axes.plot(costs, accuracies, "o", markersize=_FRONT_SIZE, markerfacecolor="none", markeredgecolor=GRAY, markeredgewidth=1.2, zorder=2)


def _draw_legend(axes: Axes, points: Sequence[Point]) -> None:
    from matplotlib.lines import Line2D

    groups = _groups(points)
    names = [printable(group) or _UNGROUPED for group in groups] if groups != [""] else []
    handles = [
        Line2D([], [], color=COLORS[number % len(COLORS)], marker=_MARKERS[number % len(_MARKERS)], markersize=_SIZE, linestyle="none")
        for number in range(len(names))
    ]
    handles.append(Line2D([], [], color=GRAY, linewidth=1.4, marker="o", markersize=_FRONT_SIZE, markerfacecolor="none"))
    names.append("Pareto front")
    legend = axes.legend(
        handles, [str(number) for number in range(len(names))], loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False
    )
    name_entries(legend, names)


def _marks(axes: Axes, points: Sequence[Point]) -> list[Rectangle]:
    """The space that each point takes with its error bar."""
    marks = []
    for point in points:
        x, low = in_points(axes, point.cost, 100 * (point.accuracy - _spread(point)))
        _, high = in_points(axes, point.cost, 100 * (point.accuracy + _spread(point)))
        marks.append(Rectangle(x - _REACH, low - _REACH, x + _REACH, high + _REACH))
    return marks


def _steps(axes: Axes, front: Sequence[Point]) -> list[Rectangle]:
    """The space that the line of the front takes."""
    steps = []
    corners = [in_points(axes, point.cost, 100 * point.accuracy) for point in front]
    edge = in_points(axes, axes.get_xlim()[1], 0.0)[0]
    for (x, y), (right, top) in pairwise([*corners, (edge, corners[-1][1])]):
        steps += [Rectangle(x, y - 1, right, y + 1), Rectangle(right - 1, y, right + 1, top)]
    return steps
