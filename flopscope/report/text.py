"""Numbers and tables as text. Functions here return strings and print nothing."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from tabulate import tabulate

from flopscope.cost import Cost
from flopscope.errors import OptionError

TableFormat = Literal["table", "markdown", "latex", "csv"]
_STYLES = {"table": "simple", "markdown": "github", "latex": "latex_booktabs"}

METRIC_HEADERS = ("params", "MACs", "FLOPs", "access")


def render(headers: Sequence[str], rows: Sequence[Sequence[Any]], style: TableFormat, first_number: int | None = None) -> str:
    """A table in one of the formats; numbers are right-aligned: the columns from ``first_number`` on, by default those of metrics.

    Raises:
        OptionError: there is no such format.
    """
    if style not in get_args(TableFormat):
        raise OptionError(f"there is no table format {style!r}; choose one of {', '.join(get_args(TableFormat))}")
    if style == "csv":
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([headers, *rows])
        return buffer.getvalue()
    if first_number is None:
        first_number = next((i for i, header in enumerate(headers) if header in (*METRIC_HEADERS, "calls", "count", "cost")), len(headers))
    align = ["left" if i < first_number else "right" for i in range(len(headers))]
    table: str = tabulate(
        [[_cell(value) for value in row] for row in rows],
        headers=headers, tablefmt=_STYLES[style], colalign=align if rows else None, headersglobalalign=None, disable_numparse=True,
        preserve_whitespace=True,
    )  # fmt: skip
    return table + "\n"


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def si(count: int, unit: str = "") -> str:
    """A count with four digits and a decimal prefix: ``4089184256`` is ``4.089 G``. Counts below 10,000 are written out."""
    if abs(count) < 10_000:
        return f"{count} {unit}".rstrip()
    rounded = int(f"{count:.3e}".partition("e")[2])  # the exponent after rounding to four digits
    exponent = min(rounded // 3, len(_PREFIXES))
    digits = max(0, 3 - (rounded - 3 * exponent))
    return f"{count / 1000**exponent:.{digits}f} {_PREFIXES[exponent - 1]}{unit}"


_PREFIXES = "kMGTPE"


def binary(count: int) -> str:
    """Bytes with three digits and a binary prefix: ``9633792`` is ``9.19 MiB``. Counts below 1,024 are written out."""
    if abs(count) < 1024:
        return f"{count} B"
    exponent = 1
    while abs(count) >= 999.5 * 1024**exponent and exponent < len(_PREFIXES):
        exponent += 1
    value = count / 1024**exponent
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {_PREFIXES[exponent - 1].upper()}iB"


def metric_cells(cost: Cost, exact: bool) -> list[str]:
    """Parameters, MACs, FLOPs and access bytes of a cost. A lower bound is marked with a sign."""
    mark = "≥ " if cost.partial else ""
    if exact:
        return [f"{cost.params:,}", *(f"{mark}{count:,}" for count in (cost.macs, cost.flops, cost.access_bytes))]
    return [si(cost.params), mark + si(cost.macs), mark + si(cost.flops), mark + si(cost.access_bytes, "B")]


INTENSITY_HEADER = "FLOPs/B"


def intensity_cell(cost: Cost) -> str:
    """FLOPs per byte with three digits; of what was counted, where not everything was."""
    if cost.intensity is None:
        return ""
    digits = f"{cost.intensity:,.0f}" if cost.intensity >= 100 else f"{cost.intensity:.3g}"
    return f"~ {digits}" if cost.partial else digits


def shape_text(shape: tuple[int, ...] | None) -> str:
    """A shape as people write it: ``1x3x224x224``; a scalar is ``()``."""
    if shape is None:
        return ""
    return "x".join(map(str, shape)) or "()"


def counted(texts: Iterable[str], separator: str = ", ") -> str:
    """Texts in the order in which they first occur, each once: ``64 of float32[1, 32, 4096, 128]`` for one that occurs often."""
    counts = Counter(texts)
    return separator.join(text if times == 1 else f"{times} of {text}" for text, times in counts.items())
