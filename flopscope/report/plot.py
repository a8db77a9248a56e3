"""A sweep, the memory of a model, and its roofline, as pictures. matplotlib is imported when one is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from flopscope.errors import MissingPackageError, OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure

    from flopscope.latency.roofline import Roofline, Timed
    from flopscope.report.latency import Latency
    from flopscope.report.memory import Memory
    from flopscope.report.sweep import Sweep

SUFFIXES = (".png", ".svg", ".pdf")
_NAMES = {"B": "batch size", "S": "sequence length", "R": "resolution (pixels per side)", "W": "width (channels)"}
UNITS = {
    "macs": "MACs",
    "flops": "FLOPs",
    "params": "parameters",
    "access": "elements read and written",
    "access_bytes": "bytes read and written",
}
_MOST_LABELS, _MOST_TICKS, _MOST_MARKERS = 10, 12, 40
MARKERS = "osD^vPX*<>"
_LINES = ("-", "--", "-.", ":")
WIDE = 10
"""Values that spread further than this factor are drawn on a logarithmic scale."""


def check_plot(path: Path) -> None:
    """See that a picture can be drawn into a file of this name, before anything else is done.

    Raises:
        OptionError: its format is none that is drawn.
        MissingPackageError: matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"--plot {path}: the name must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingPackageError("a plot needs matplotlib, which is not installed: pip install matplotlib") from error


def draw(found: Sweep, path: Path) -> None:
    """Draw a sweep: its longest symbol to the right, one line for each combination of the others.

    Raises:
        OptionError: the file cannot be written.
    """
    figure, axes = empty_axes(found.title)
    _draw_lines(axes, found)
    save_picture(figure, path)


def draw_memory(found: Memory, path: Path) -> None:
    """Draw the bytes of live tensors from op to op, the peak, and what an ideal planner could do.

    Raises:
        OptionError: the file cannot be written.
    """
    from flopscope.report.text import binary

    figure, axes = empty_axes(f"{found.name}: memory of live tensors, weights apart")
    _draw_steps(axes, found)
    peak = found.peak
    if peak is not None:
        at, top = peak.op + 0.5, float(found.peak_bytes)
        where = f"{peak.scope or 'the model itself'}\n{peak.target}"
        axes.plot([at], [top], "o", color="#b3261e", markersize=5, zorder=5)
        is_right = at > 0.5 * len(found.ops)
        place: dict[str, Any] = {"xytext": (-8 if is_right else 8, 6), "textcoords": "offset points", "ha": "right" if is_right else "left"}
        axes.annotate(f"{binary(found.peak_bytes)} at op {peak.op}: {where}", (at, top), fontsize=8.5, color="#b3261e", **place)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    save_picture(figure, path)


def _draw_steps(axes: Axes, found: Memory) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    from flopscope.report.text import binary

    live, ideal = found.timeline.live_bytes, found.fused.timeline.live_bytes
    edges = list(range(len(live) + 1))
    kind = "ideal planner" if found.is_fused else "as the model runs"
    axes.stairs([float(count) for count in live], edges, fill=True, color="#9dbfe3", edgecolor="#1f5fa8", linewidth=1.2, label=kind)
    if not found.is_fused:
        axes.stairs([float(count) for count in ideal], edges, color="#d9822b", linewidth=1.5, label="ideal planner")
    if found.input_bytes:
        axes.axhline(found.input_bytes, color="#555555", linewidth=1, linestyle=":", label="inputs")
    highest = max(found.peak_bytes, 1)
    axes.set_ylim(0, highest * 1.18)
    axes.set_xlim(0, max(len(live), 1))
    step = _binary_step(highest)
    axes.set_yticks([float(step * i) for i in range(int(highest * 1.18 // step) + 1)])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: binary(int(value)).replace(".00 ", " ").replace(".0 ", " ")))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("op")


def _binary_step(highest: int) -> int:
    """A round number of bytes of which four to eight make up the height: 1, 2, 5, 10, ... of a binary unit."""
    unit = 1
    while highest >= 1024 * unit:
        unit *= 1024
    sizes = [size * power for power in (1, 10, 100) for size in (1, 2, 5)]
    smaller = [max(1, unit * part // 1024) for part in (128, 256, 512)] if unit > 1 else []
    return next((step for step in (*smaller, *(unit * size for size in sizes)) if highest <= 7 * step), unit * 1000)


def empty_axes(title: str) -> tuple[Figure, Axes]:
    """A picture with a title, axes and a grid, and nothing drawn yet."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.5), layout="constrained")  # not through pyplot, which keeps every figure
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", color="#e3e3e3", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture.

    Raises:
        OptionError: the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=200)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror or error}") from error


def _draw_lines(axes: Axes, found: Sweep) -> None:
    names = list(found.grid)
    along = max(names, key=lambda name: len(found.grid[name]))
    others = [name for name in names if name != along and len(found.grid[name]) > 1]
    sizes = list(found.grid[along])
    lines: dict[str, list[int]] = {}
    for point, count in found.rows():
        lines.setdefault(", ".join(f"{name} = {point[name]}" for name in others), []).append(count)
    from matplotlib import colormaps

    colors = colormaps["viridis"](numpy.linspace(0.85, 0.1, len(lines))) if len(lines) > 1 else ["#1f5fa8"]
    shown = {round(i) for i in numpy.linspace(0, len(lines) - 1, min(len(lines), _MOST_LABELS))}
    for i, (label, counts) in enumerate(lines.items()):
        style: dict[str, Any] = {"marker": MARKERS[i % len(MARKERS)], "markersize": 4.5}  # colour is not the only sign
        if len(sizes) > _MOST_MARKERS:
            style = {"linestyle": _LINES[i % len(_LINES)]}
        axes.plot(sizes, [float(count) for count in counts], color=colors[i], linewidth=1.8, label=label if i in shown else None, **style)
    counts = [count for line in lines.values() for count in line]
    is_wide = min(counts) > 0 and (_spread(sizes) > WIDE or _spread(counts) > WIDE)  # then powers are straight lines
    if is_wide:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
    _label_sizes(axes.xaxis, sizes, is_wide)
    _label_counts(axes.yaxis, counts, is_wide)
    axes.set_xlabel(_NAMES.get(along, along))
    axes.set_ylabel(f"{'at least ' if found.mark else ''}{UNITS[found.metric]}")
    if others:
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)  # topmost line first


def _spread(values: list[int]) -> float:
    return max(values) / min(values)


def _label_sizes(axis: XAxis, sizes: list[int], is_wide: bool) -> None:
    """The sizes themselves where they are few, else what matplotlib finds, as whole numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    if len(sizes) <= _MOST_TICKS:
        axis.set_major_locator(FixedLocator([float(size) for size in sizes]))
    elif not is_wide:
        axis.set_major_locator(MaxNLocator(integer=True))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))


def _label_counts(axis: YAxis, counts: list[int], is_wide: bool) -> None:
    """Counts with decimal prefixes; on a short logarithmic scale 2 and 5 are labelled too."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    if is_wide:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if _spread(counts) < 300 else (1,)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(EngFormatter(sep=" "))


_FAMILY_COLORS = {
    "conv": "#1f5fa8", "conv1x1": "#5aa0e0", "depthwise": "#1b998b", "grouped": "#7fc8a9", "matmul": "#5b2a86", "attention": "#b86bd0",
    "elementwise": "#d9822b", "norm": "#f2b661", "reduction": "#b3261e", "pooling": "#8c6d46", "movement": "#7f7f7f",
}  # fmt: skip
_SMALLEST, _LARGEST = 10.0, 700.0


def draw_roofline(found: Latency, path: Path) -> None:
    """Draw the kernels of a model under the ceilings of a device: by FLOPs per byte, and by FLOPs per second; the larger, the longer.

    Raises:
        OptionError: the times are not from a roofline, nothing in the model computes, or the file cannot be written.
    """
    from flopscope.latency.roofline import Roofline as AnyRoofline

    timed = [each for each in found.timed if each.kernel.matrix_flops + each.kernel.vector_flops and _moved(each)]
    source = found.source
    if not timed or not isinstance(source, AnyRoofline):
        raise OptionError(f"no op of {found.name} computes, so there is nothing to draw under a roofline")
    figure, axes = empty_axes(f"{found.name} on {source.device.title}")
    whole = sum(each.seconds for each in found.timed)
    _draw_kernels(axes, timed, whole)
    _draw_ceilings(axes, source, timed)
    _label_longest(axes, found, timed, whole)
    axes.set_xlabel("FLOPs per byte moved")
    axes.set_ylabel("FLOP/s (estimated)")
    figure.legend(loc="outside right upper", frameon=False, fontsize=9, title="area: part of the time", title_fontsize=9)
    figure.set_size_inches(9.0, 5.2)
    save_picture(figure, path)


def _moved(each: Timed) -> int:
    return each.kernel.memory_bytes + each.kernel.cache_bytes


def _point(each: Timed) -> tuple[float, float]:
    flops = each.kernel.matrix_flops + each.kernel.vector_flops
    return flops / _moved(each), flops / each.seconds


def _draw_kernels(axes: Axes, timed: list[Timed], whole: float) -> None:
    spent: dict[str, float] = {}
    for each in timed:
        spent[each.kernel.family] = spent.get(each.kernel.family, 0.0) + each.seconds
    for family in sorted(spent, key=lambda name: -spent[name]):
        own = [each for each in timed if each.kernel.family == family]
        points = [_point(each) for each in own]
        sizes = [max(_SMALLEST, min(_LARGEST, 6000 * each.seconds / whole)) for each in own]
        label = f"{family}  {100 * spent[family] / whole:.0f} %"
        look: dict[str, Any] = {"alpha": 0.55, "linewidths": 0.4, "edgecolors": "white", "label": label}
        xs, ys = [x for x, _ in points], [y for _, y in points]
        axes.scatter(xs, ys, sizes, _FAMILY_COLORS[family], **look)
    for handle in axes.collections:
        handle.set_zorder(3)
    axes.set_xscale("log")
    axes.set_yscale("log")


def _draw_ceilings(axes: Axes, source: Roofline, timed: list[Timed]) -> None:
    """The datasheet's ceilings as lines, the achievable ones of the family that reaches most as broken lines."""
    from matplotlib.ticker import EngFormatter

    device, ceilings = source.device, source.ceilings
    dtypes = sorted({each.kernel.dtype for each in timed if each.kernel.matrix_flops}, key=device.peak) or ["float32"]
    peak = device.peak(dtypes[-1])
    best, fastest = max(ceilings.compute.values()), max(ceilings.bandwidth.values())
    intensities = [_point(each)[0] for each in timed]
    bandwidth = device.bandwidth_bytes_per_second
    left, right = min(intensities) / 3, max(*intensities, peak / bandwidth) * 5
    xs = numpy.geomspace(left, right, 200)
    axes.plot(xs, numpy.minimum(peak, bandwidth * xs), color="#222222", linewidth=1.6, zorder=2, label="datasheet")
    if min(best, fastest) < 1:  # else the line would lie on the other
        achieved = numpy.minimum(peak * best, bandwidth * fastest * xs)
        what = "calibrated, at best" if ceilings.calibrated else "assumed, at best"
        axes.plot(xs, achieved, color="#222222", linewidth=1.2, linestyle="--", zorder=2, label=what)
    if any(each.kernel.cache_bytes for each in timed):
        cached = numpy.minimum(peak * best, bandwidth * fastest * ceilings.cache_speedup * xs)
        axes.plot(xs, cached, color="#888888", linewidth=1.0, linestyle=":", zorder=2, label="from the cache")
    axes.set_xlim(left, right)
    lowest = min(_point(each)[1] for each in timed)
    axes.set_ylim(max(lowest / 8, peak / 1e6), peak * 3)
    axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    engineering = EngFormatter(places=1, sep=" ")
    style: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "fontsize": 8.5}
    axes.annotate(f"{dtypes[-1]}: {engineering(peak)}FLOP/s", (right, peak), xytext=(-4, 4), **style)
    x = left * (peak / bandwidth / left) ** 0.6
    axes.annotate(f"{engineering(bandwidth)}B/s", (x, bandwidth * x), xytext=(14, -12), **{**style, "ha": "left"})


def _label_longest(axes: Axes, found: Latency, timed: list[Timed], whole: float) -> None:
    """The longest kernel of each of the three families that take longest."""
    spent: dict[str, float] = {}
    for each in timed:
        spent[each.kernel.family] = spent.get(each.kernel.family, 0.0) + each.seconds
    for family in sorted(spent, key=lambda name: -spent[name])[:_MOST_NAMED]:
        longest = max((each for each in timed if each.kernel.family == family), key=lambda each: each.seconds)
        op = found.graph.ops[longest.kernel.ops[0]]
        text = f"{op.target.rpartition('::')[2]} in {op.scope or 'the model itself'} ({100 * longest.seconds / whole:.1f} %)"
        is_right = _point(longest)[0] > axes.get_xlim()[1] / 20
        place: dict[str, Any] = {
            "xytext": (-10 if is_right else 18, -26),
            "textcoords": "offset points",
            "ha": "right" if is_right else "left",
        }
        arrow = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.7}
        axes.annotate(text, _point(longest), fontsize=8, color="#333333", zorder=6, arrowprops=arrow, **place)


_MOST_NAMED = 3
