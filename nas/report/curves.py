"""A run as curves: how well it did in each epoch, and what the network cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flopscope.errors import OptionError
from nas.report.figure import COLORS, INK, check, clean, is_wide, new_figure, printable, save, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Epoch = Mapping[str, float | str]
_ACCURACY = {"train_accuracy": ("training", COLORS[0], "--"), "valid_accuracy": ("validation", COLORS[1], "-")}
_COST = {"cost": ("expected", COLORS[0], "-"), "derived_cost": ("derived network", COLORS[1], "--")}
_ENTROPY = {"entropy": ("entropy", COLORS[2], "-")}
_HEIGHTS = ((_ACCURACY, 3.2), (_COST, 2.4), (_ENTROPY, 1.5))
_FEW = 30
"""Up to so many epochs each is marked by a point."""


def draw_history(epochs: Sequence[Epoch], path: Path) -> None:
    """Draw the accuracies of a run above what it cost, epoch by epoch; what was not recorded is left out.

    Args:
        epochs: for each epoch any of ``epoch``, ``train_accuracy`` and ``valid_accuracy`` (0 to 1), ``cost``, ``derived_cost``,
            ``cost_metric`` (what the costs count), ``budget`` (the last one is marked) and ``entropy``.
        path: the picture.

    Raises:
        OptionError: nothing was recorded, the format is none that is drawn, or the file cannot be written.
        MissingPackageError: matplotlib is not installed.
    """
    check(path)
    shown = [(panel, height) for panel, height in _HEIGHTS if any(_recorded(epochs, key) for key in panel)]
    if not shown:
        raise OptionError(f"cannot draw {path}: no epoch has any of {', '.join([*_ACCURACY, *_COST, *_ENTROPY])}")
    panels, heights = zip(*shown, strict=True)
    figure = new_figure(7.2, sum(heights) + 0.5)
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axes, panel in zip(grid[:, 0], panels, strict=True):
        _draw_lines(axes, epochs, panel, scale=100 if panel is _ACCURACY else 1)
        if panel is _ACCURACY:
            _draw_accuracy(axes, epochs)
        elif panel is _COST:
            _draw_cost(axes, epochs)
        else:
            axes.set_ylabel("entropy")
        if panel is not _ENTROPY:
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    _label_epochs(grid[-1, 0], epochs)
    figure.align_ylabels()
    save(figure, path)


def _draw_lines(axes: Axes, epochs: Sequence[Epoch], panel: Mapping[str, tuple[str, str, str]], scale: float) -> None:
    marker = "o" if len(epochs) <= _FEW else ""
    for key, (label, color, style) in panel.items():
        if _recorded(epochs, key):
            values = [scale * value for value in _column(epochs, key)]
            axes.plot(_numbers(epochs), values, style, color=color, label=label, linewidth=1.8, marker=marker, markersize=4.5)
    clean(axes)


def _draw_accuracy(axes: Axes, epochs: Sequence[Epoch]) -> None:
    """Accuracy in percent, and the best that the validation reached."""
    axes.set_ylabel("accuracy (%)")
    values = _column(epochs, "valid_accuracy")
    found = [place for place, value in enumerate(values) if not math.isnan(value)]
    if found:
        best = max(found, key=values.__getitem__)
        label = f"best: {100 * values[best]:.2f} %"
        axes.plot(_numbers(epochs)[best], 100 * values[best], "*", color=INK, markersize=11, label=label, linestyle="none", zorder=4)


def _draw_cost(axes: Axes, epochs: Sequence[Epoch]) -> None:
    from matplotlib.ticker import EngFormatter, NullFormatter

    metrics = [str(epoch["cost_metric"]) for epoch in epochs if "cost_metric" in epoch]
    axes.set_ylabel(printable(unit(metrics[-1])) if metrics else "cost", parse_math=False)
    budgets = _recorded(epochs, "budget")
    if budgets:
        axes.axhline(budgets[-1], color=INK, linestyle=(0, (5, 3)), linewidth=1.3, label="budget")
    if is_wide([*_recorded(epochs, "cost"), *_recorded(epochs, "derived_cost"), *budgets[-1:]]):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(EngFormatter(sep=" "))


def _label_epochs(axes: Axes, epochs: Sequence[Epoch]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    numbers = _numbers(epochs)
    if min(numbers) == max(numbers):  # else matplotlib shows a sliver in which no whole number lies
        axes.set_xlim(numbers[0] - 1, numbers[0] + 1)


def _numbers(epochs: Sequence[Epoch]) -> list[float]:
    numbers = _column(epochs, "epoch")
    return [place if math.isnan(number) else number for place, number in enumerate(numbers)]


def _column(epochs: Sequence[Epoch], key: str) -> list[float]:
    """The values of a key, NaN (which leaves a gap in a line) wherever there is no number that can be drawn."""
    values = [float(epoch.get(key, math.nan)) for epoch in epochs]
    return [value if math.isfinite(value) else math.nan for value in values]


def _recorded(epochs: Sequence[Epoch], key: str) -> list[float]:
    return [value for value in _column(epochs, key) if not math.isnan(value)]
