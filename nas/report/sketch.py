"""Cells drawn with matplotlib alone, for where Graphviz is not installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.genotype import INPUTS, Edge
from nas.report.figure import GRAY, INK, new_figure, printable, save, text_size
from nas.report.kinds import color_of
from nas.report.layers import Layout, Size, lay_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NODE: Size = (0.52, 0.4)
_POINTS = 10.5
_PADDING = (0.16, 0.11)
_MARGIN, _TITLE, _BETWEEN = 0.2, 0.38, 0.3
"""Inches, as everything here: the axes have the size of the figure, and one unit is one inch."""


def sketch(cells: Mapping[str, tuple[Sequence[Edge], Sequence[int]]], path: Path) -> None:
    """Draw cells ``name -> (edges, states of the output)`` one below the other.

    Raises:
        OptionError: the file cannot be written.
        MissingPackageError: matplotlib is not installed.
    """
    figure = new_figure(1.0, 1.0, is_arranged=False)
    layouts = {name: _laid_out(*cell) for name, cell in cells.items()}
    heights = [max(box.y + box.height / 2 for box in found.boxes) for found in layouts.values()]
    width = max(found.columns[-1][1] for found in layouts.values()) + 2 * _MARGIN
    height = sum(heights) + len(heights) * _TITLE + (len(heights) - 1) * _BETWEEN + 2 * _MARGIN
    figure.set_size_inches(width, height)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set(xlim=(-_MARGIN, width - _MARGIN), ylim=(height - _MARGIN, -_MARGIN))  # downwards, as text is read
    top = 0.0
    for (name, found), below in zip(layouts.items(), heights, strict=True):
        axes.text(0.0, top + 0.1, name, fontsize=12.5, color=INK, va="center", weight="bold", parse_math=False)
        for box in found.boxes:
            box.y += top + _TITLE
        _paint(axes, found, [operation for operation, _ in cells[name][0]])
        top += _TITLE + below + _BETWEEN
    save(figure, path)


def _laid_out(edges: Sequence[Edge], concat: Sequence[int]) -> Layout:
    output = INPUTS + len(edges) // 2
    links = [(state, INPUTS + position // 2, _label_size(operation)) for position, (operation, state) in enumerate(edges)]
    return lay_out([_NODE] * (output + 1), [*links, *((state, output, None) for state in concat)])


def _label_size(operation: str) -> Size:
    width, height = text_size(printable(operation), _POINTS)
    return width / 72 + _PADDING[0], height / 72 + _PADDING[1]


def _paint(axes: Axes, found: Layout, operations: Sequence[str]) -> None:
    starts, ends = _ports(found)
    for link, chain in enumerate(found.chains):
        color = color_of(operations[link]) if link < len(operations) else INK
        _arrow(axes, found, chain, starts[link], ends[link], color)
        label = found.labels[link]
        if label is not None:
            _box(axes, found, label, fill="#ffffff", edge=color)
            box = found.boxes[label]
            style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": _POINTS, "color": color, "parse_math": False, "zorder": 4}
            axes.text(box.x, box.y, printable(operations[link]), **style)
    states = max(chain[-1] for chain in found.chains) + 1
    names = ["$c_{k-2}$", "$c_{k-1}$", *(str(node) for node in range(states - INPUTS - 1)), "$c_{k}$"]
    for state, name in enumerate(names):
        _box(axes, found, state, fill="#ffffff" if name.startswith("$") else "#e3ebf5", edge=GRAY)
        axes.text(found.boxes[state].x, found.boxes[state].y, name, ha="center", va="center", fontsize=12, color=INK, zorder=4)


def _box(axes: Axes, found: Layout, index: int, *, fill: str, edge: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    box = found.boxes[index]
    corner = (box.x - box.width / 2, box.y - box.height / 2)
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch(corner, box.width, box.height, boxstyle=style, facecolor=fill, edgecolor=edge, linewidth=1.1, zorder=3))


def _ports(found: Layout) -> tuple[list[float], list[float]]:
    """The heights at which each link leaves its source and meets its target: side by side, in the order in which they come."""
    result: tuple[list[float], list[float]] = ([0.0] * len(found.chains), [0.0] * len(found.chains))
    for heights, end, near in zip(result, (0, -1), (1, -2), strict=True):
        for vertex in {chain[end] for chain in found.chains}:
            links = [link for link, chain in enumerate(found.chains) if chain[end] == vertex]
            links.sort(key=lambda link: found.boxes[found.chains[link][near]].y)
            step = 0.6 * found.boxes[vertex].height / max(len(links), 3)
            for place, link in enumerate(links):
                heights[link] = found.boxes[vertex].y + (place - (len(links) - 1) / 2) * step
    return result


def _arrow(axes: Axes, found: Layout, chain: Sequence[int], start: float, end: float, color: str) -> None:
    """A smooth line that is level wherever it passes a layer, so that it keeps clear of the boxes there."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    spans = [found.columns[found.boxes[box].layer] for box in chain]
    rows = [start, *(found.boxes[box].y for box in chain[1:-1]), end]
    points, codes = [(spans[0][1], start)], [Curve.MOVETO]
    for place in range(1, len(chain)):
        (x, y), (left, right) = points[-1], spans[place]
        middle = (x + left) / 2
        if left == right and place < len(chain) - 1:  # nothing stands in this layer, so the line may cross it at a slant
            continue
        points += [(middle, y), (middle, rows[place]), (left, rows[place])]
        codes += [Curve.CURVE4] * 3
        if place < len(chain) - 1:
            points.append((right, rows[place]))
            codes.append(Curve.LINETO)
    style: dict[str, Any] = {"arrowstyle": "-|>,head_length=0.5,head_width=0.25", "mutation_scale": 11, "zorder": 2}
    axes.add_patch(FancyArrowPatch(path=Curve(points, codes), color=color, linewidth=1.3, **style))
