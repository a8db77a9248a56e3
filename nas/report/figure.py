"""What all pictures share: a figure without a display, the formats it can be saved in, and the names of costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flopscope.errors import MissingPackageError, OptionError
from flopscope.report.plot import SUFFIXES as SUFFIXES
from flopscope.report.plot import UNITS
from flopscope.report.plot import WIDE as WIDE
from nas.amounts import LATENCY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

DPI = 150
INK, GRAY, GRID = "#222222", "#767676", "#e3e3e3"
COLORS = ("#1f5fa8", "#c2570c", "#2e7d4f", "#8e3b8a", "#a8323e", "#5c5c5c", "#0b7f8c", "#7a6200")
"""Dark enough for text on white, and told apart by people who confuse red and green when they come in this order."""


def check(path: Path) -> None:
    """See that a picture of this name can be drawn, before any work is spent on it.

    Raises:
        OptionError: its format is none that is drawn, or its folder does not exist.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"cannot draw {path}: the name of a picture must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if not path.parent.is_dir():
        raise OptionError(f"cannot write {path}: there is no folder {path.parent}")


def new_figure(width: float, height: float, *, is_arranged: bool = True) -> Figure:
    """An empty figure of so many inches that belongs to nobody but the caller, and arranges what is put on it if asked to.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise MissingPackageError("a picture needs matplotlib, which is not installed: pip install matplotlib") from error
    figure = Figure(
        figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1) if is_arranged else None
    )  # not through pyplot, which keeps every figure
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the name of the file asks for.

    Raises:
        OptionError: the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=DPI, format=path.suffix.lower()[1:])
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror or error}") from error


def clean(axes: Axes) -> None:
    """Nothing but a light grid and the two axes that carry numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def unit(metric: str) -> str:
    """How a metric is written beside an axis; the name itself where it is none that is known."""
    return "latency (ns)" if metric == LATENCY else UNITS.get(metric, metric)


def is_wide(values: Sequence[float]) -> bool:
    """Whether positive values spread so far that only a logarithmic scale shows them all."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > WIDE


def name_entries(legend: Legend, names: Sequence[str]) -> None:
    """Write names into a legend as they are: matplotlib would hide a name that begins with ``_`` and typeset one with ``$``."""
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def printable(text: str) -> str:
    """A name as it can be drawn in one line: what no font has a sign for becomes a blank."""
    return "".join(character if character.isprintable() else " " for character in text)


def text_size(text: str, points: float) -> tuple[float, float]:
    """The width and height of a line of text in 1/72 inch, known without a figure to put it on."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    width, height, _ = TextToPath().get_text_width_height_descent(text, FontProperties(size=points), ismath=False)
    return float(width), max(float(height), points)
