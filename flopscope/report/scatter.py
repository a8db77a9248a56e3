"""Models as points: what they reach against what they cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flopscope.report.plot import MARKERS, UNITS, WIDE, empty_axes, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_COLORS = ("#1f5fa8", "#b3541e", "#2e7d4f", "#7b3fa0", "#8a6d00", "#a02c4b", "#008083", "#555555", "#4a4ac0", "#6b7a1f")
_NEAR = [(6, 4), (6, -11), (-6, 4), (-6, -11), (0, 9), (0, -16)]
_FAR = [(14, 12), (-14, 12), (14, -20), (-14, -20), (22, 0), (-22, 0), (28, 20), (-28, 20), (28, -28), (-28, -28)]
"""Where a name may stand from its point, in 1/72 inch; a line leads to those that are far."""
_NAMES = {**UNITS, "peak_bytes": "peak bytes of live tensors"}


@dataclass(frozen=True, slots=True)
class Dot:
    """One model."""

    name: str
    family: str
    """What its marker stands for: where the model comes from."""
    x: float
    y: float
    partial: bool = False
    """Whether a coordinate is a lower bound."""


def draw_models(dots: Sequence[Dot], x: str, y: str, path: Path) -> None:
    """Draw models by two columns, each with its name beside it where there is room.

    Raises:
        OptionError: the file cannot be written.
    """
    figure, axes = empty_axes(f"{_NAMES.get(y, y)} against {_NAMES.get(x, x)}")
    figure.set_size_inches(8.4, 5.4)
    families = list(dict.fromkeys(dot.family for dot in dots))
    for i, family in enumerate(families):
        own = [dot for dot in dots if dot.family == family]
        style: dict[str, Any] = {"marker": MARKERS[i % len(MARKERS)], "color": _COLORS[i % len(_COLORS)]}
        style |= {"s": 38 + 22 * (len(families) - 1 - i), "zorder": 3 + i / 100}  # so that none hides another
        axes.scatter([dot.x for dot in own], [dot.y for dot in own], label=family, linewidths=0, **style)
    for axis, name, values in (("x", x, [dot.x for dot in dots]), ("y", y, [dot.y for dot in dots])):
        _scale(axes, axis, name, values)
    partial = any(dot.partial for dot in dots)
    axes.set_xlabel(_NAMES.get(x, x) + ("   (≥: a lower bound)" if partial else ""))
    axes.set_ylabel(_NAMES.get(y, y))
    axes.margins(0.12)
    if len(families) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    _label(figure, axes, dots)
    save_picture(figure, path)


def _scale(axes: Axes, axis: str, name: str, values: Sequence[float]) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    found = axes.xaxis if axis == "x" else axes.yaxis
    if min(values) > 0 and max(values) > WIDE * min(values):
        (axes.set_xscale if axis == "x" else axes.set_yscale)("log")
        found.set_major_locator(LogLocator(subs=(1, 2, 5) if max(values) < 300 * min(values) else (1,)))
        found.set_minor_formatter(NullFormatter())
    if name in _NAMES:
        found.set_major_formatter(EngFormatter(unit="B" if name.endswith("_bytes") else "", sep=" "))


def _label(figure: Figure, axes: Axes, dots: Sequence[Dot]) -> None:
    """Write each name where it covers no point and no other name; the rest get none, and the picture says how many."""
    figure.canvas.draw()
    figure.set_layout_engine("none")  # what was measured must stay where it is
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    points = [axes.transData.transform((dot.x, dot.y)) for dot in dots]
    scale = figure.dpi / 72
    taken: list[Bbox] = []
    frame = axes.get_window_extent(renderer)
    left_out = 0
    shorts = Counter(_short(dot.name) for dot in dots)
    for dot in dots:
        short = _short(dot.name)
        label = ("≥ " if dot.partial else "") + (short if shorts[short] == 1 else f"{dot.family}: {short}")
        for dx, dy in (*_NEAR, *_FAR):
            note = axes.annotate(
                label, (dot.x, dot.y), xytext=(dx, dy), textcoords="offset points", fontsize=8, color="#222222", zorder=4,
                ha="left" if dx > 0 else "right" if dx < 0 else "center",
                arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.6} if (dx, dy) in _FAR else None,
            )  # fmt: skip
            box = _box(note, renderer)
            apart = not any(box.overlaps(other) for other in taken)
            clear = not any(box.padded(3 * scale).contains(*point) for point in points)
            if apart and clear and frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1):
                taken.append(box)
                break
            note.remove()
        else:
            left_out += 1
    if left_out:
        text = f"{left_out} of {len(dots)} names left out for want of room"
        axes.annotate(text, (1, 1.01), xycoords="axes fraction", ha="right", va="bottom", fontsize=8)


def _box(note: Annotation, renderer: Any) -> Bbox:
    from matplotlib.text import Text

    note.update_positions(renderer)
    return Text.get_window_extent(note, renderer).padded(1.5)


def _short(name: str) -> str:
    text = name.partition(":")[2] or name
    text = "".join(character if character.isprintable() else "�" for character in text).replace("$", r"\$")
    return text if len(text) <= 40 else f"{text[:39]}…"
