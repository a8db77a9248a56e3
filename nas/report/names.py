"""Names beside the points of a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.report.figure import GRAY, INK, printable, text_size
from nas.report.labels import Rectangle, place

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINTS, _MARGIN = 9.0, 1.5
_LEADER, _MARK = 11.0, 5.0
"""Names further from their point than the first are tied to it by a line, which ends outside its mark."""


def settle(figure: Figure) -> None:
    """Arrange a figure for good, so that what is measured on it stays true."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def in_points(axes: Axes, x: float, y: float) -> tuple[float, float]:
    """Where a value lies on its figure, in 1/72 inch."""
    across, up = axes.transData.transform((x, y)) * 72 / axes.figure.dpi
    return float(across), float(up)


def write_names(axes: Axes, named: Sequence[tuple[str, float, float]], marks: Sequence[Rectangle], lines: Sequence[Rectangle]) -> None:
    """Write each ``(name, x, y)`` near its point, off the marks of all and off the lines; the figure must have settled."""
    spots = [in_points(axes, x, y) for _, x, y in named]
    texts = [printable(name) for name, _, _ in named]
    sizes = [text_size(text, _POINTS) for text in texts]
    padded = [(width + 2 * _MARGIN, height + 2 * _MARGIN) for width, height in sizes]
    left, bottom, right, top = (float(value) * 72 / axes.figure.dpi for value in axes.get_window_extent().extents)
    placed = place(spots, padded, marks, lines, Rectangle(left, bottom, right, top))
    for text, (_, x, y), spot, found in zip(texts, named, spots, placed, strict=True):
        _write(axes, text, (x, y), ((found.left + found.right) / 2 - spot[0], (found.bottom + found.top) / 2 - spot[1]))
        nearest = (min(max(spot[0], found.left), found.right) - spot[0], min(max(spot[1], found.bottom), found.top) - spot[1])
        if math.hypot(*nearest) > _LEADER:
            _tie(axes, (x, y), nearest)


def _write(axes: Axes, text: str, point: tuple[float, float], offset: tuple[float, float]) -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground="white")]  # so that a line behind the name does not cross it out
    style = axes.annotate(text, point, offset, textcoords="offset points", ha="center", va="center", fontsize=_POINTS, color=INK, zorder=5)
    style.set(parse_math=False, path_effects=halo)


def _tie(axes: Axes, point: tuple[float, float], offset: tuple[float, float]) -> None:
    line = {"arrowstyle": "-", "color": GRAY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": _MARK}
    axes.annotate("", point, offset, textcoords="offset points", arrowprops=line, zorder=4)
