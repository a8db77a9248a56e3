"""The weights of a supernet as a heat map: which operation each edge of a cell leans to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy

from flopscope.errors import OptionError
from nas.report.figure import INK, check, new_figure, printable, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

Rows = Sequence[Sequence[float]]
_TITLES = {"normal": "normal cell", "reduce": "reduction cell"}
_COLUMN, _ROW = 0.56, 0.36
_MARK = "#d1530a"
_NO_NUMBER = [0.9, 0.9, 0.9, 1.0]


def draw_weights(weights: Mapping[str, Rows], operations: Sequence[str], edge_names: Sequence[str], path: Path) -> None:
    """Draw the weight of each operation on each edge, with the strongest operation of an edge, other than ``none``, framed.

    Args:
        weights: for each kind of cell (``normal``, ``reduce``) a row for each edge, with a weight for each operation.
        operations: the columns.
        edge_names: the rows.
        path: the picture.

    Raises:
        OptionError: the weights do not fit the names, the format is none that is drawn, or the file cannot be written.
        MissingPackageError: matplotlib is not installed.
    """
    check(path)
    _check_shape(weights, len(operations), len(edge_names))
    width, height = max(_COLUMN * len(operations), 1.6), max(_ROW * len(edge_names), 1.0)
    figure = new_figure(len(weights) * (width + 0.4) + 1.6, height + 1.9)
    grid = figure.subplots(1, len(weights), sharey=True, squeeze=False)[0]
    colors = _colors(weights)
    for axes, (kind, rows) in zip(grid, weights.items(), strict=True):
        _draw_cells(axes, rows, operations, colors)
        axes.set_title(printable(_TITLES.get(kind, kind)), loc="left", fontsize=12, parse_math=False)
        _name_ticks(axes, operations, edge_names)
    figure.colorbar(colors, ax=list(grid), label="weight", fraction=0.03, pad=0.015, aspect=30)
    figure.supxlabel("framed: the strongest operation of each edge, “none” left aside", fontsize=9.5, color=INK)
    save(figure, path)


def strongest(row: Sequence[float], operations: Sequence[str]) -> int | None:
    """The position of the operation with the largest weight other than ``none``, the first of equals; None if there is no other."""
    usable = [place for place, name in enumerate(operations) if name != "none" and not math.isnan(row[place])]
    return max(usable, key=row.__getitem__, default=None)


def _check_shape(weights: Mapping[str, Rows], columns: int, rows: int) -> None:
    if not weights or not columns or not rows:
        raise OptionError("a heat map of weights needs at least one kind of cell, one edge and one operation")
    for kind, matrix in weights.items():
        found = sorted({len(row) for row in matrix})
        if len(matrix) != rows or found != [columns]:
            raise OptionError(
                f"the weights of {kind!r} must be {rows} rows (one for each edge) of {columns} (one for each operation), but are "
                f"{len(matrix)} rows of {' or '.join(map(str, found)) or 0}"
            )


def _colors(weights: Mapping[str, Rows]) -> ScalarMappable:
    """One scale for all cells, from zero where no weight is negative."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    values = [value for rows in weights.values() for row in rows for value in row if math.isfinite(value)]
    low, high = min([0.0, *values]), max(values, default=1.0)
    return ScalarMappable(Normalize(low, high if high > low else low + 1.0), colormaps["Blues"])


def _draw_cells(axes: Axes, rows: Rows, operations: Sequence[str], colors: ScalarMappable) -> None:
    from matplotlib.patches import Rectangle

    axes.set(xlim=(-0.5, len(operations) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    for y, row in enumerate(rows):
        best = strongest(row, operations)
        for x, value in enumerate(row):
            is_number = math.isfinite(value)
            fill = _fill(value, colors) if is_number else _NO_NUMBER
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=fill, edgecolor="white", linewidth=1))
            text = _written(value) if is_number else "–"
            weight = "bold" if x == best else "normal"
            axes.text(x, y, text, ha="center", va="center", fontsize=9, weight=weight, color=_readable(fill), parse_math=False)
        if best is not None:
            axes.add_patch(Rectangle((best - 0.46, y - 0.44), 0.92, 0.88, fill=False, edgecolor=_MARK, linewidth=2, gid="strongest"))


def _fill(value: float, colors: ScalarMappable) -> list[float]:
    return [float(part) for part in numpy.ravel(colors.to_rgba(numpy.array([value])))]


def _written(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0e}"


def _readable(fill: Sequence[float]) -> str:
    """Dark ink on a light cell, white on a dark one (by relative luminance as in WCAG 2)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in fill[:3]]
    return INK if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.2 else "white"


def _name_ticks(axes: Axes, operations: Sequence[str], edge_names: Sequence[str]) -> None:
    columns = axes.set_xticks(range(len(operations)), list(map(printable, operations)), rotation=40, ha="right", rotation_mode="anchor")
    rows = axes.set_yticks(range(len(edge_names)), list(map(printable, edge_names)))
    for tick in [*columns, *rows]:
        tick.label1.set_parse_math(False)
        tick.label2.set_parse_math(False)  # the hidden one on the other side
    axes.tick_params(length=0, labelsize=10)
    axes.spines[:].set_visible(False)
