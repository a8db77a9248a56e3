"""The tables of a report as headers and rows, and the lines under them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flopscope.errors import MissingPackageError
from flopscope.graph import SHAPE_UNKNOWN
from flopscope.report.memory_text import summary_line
from flopscope.report.rows import KindRow, ModuleRow, OpRow
from flopscope.report.text import METRIC_HEADERS, TableFormat, counted, metric_cells, shape_text, si
from flopscope.rules import why_uncounted

if TYPE_CHECKING:
    import pandas

    from flopscope.analyses.experts import Experts
    from flopscope.report.report import Report

Table = tuple[list[str], list[list[Any]]]


def module_table(rows: Sequence[ModuleRow], style: TableFormat, exact: bool) -> Table:
    """The module tree; in text its branches are drawn."""
    names = _branches(rows) if style == "table" else [row.path or row.class_name for row in rows]
    shared = any(row.calls > 1 for row in rows)
    headers = ["module", "class", "output", *(["calls"] if shared else []), *METRIC_HEADERS]
    table = []
    for name, row in zip(names, rows, strict=True):
        calls = [row.calls] if shared else []
        table.append([name, row.class_name, shape_text(row.output), *calls, *metric_cells(row.cost, exact)])
    return headers, table


def _branches(rows: Sequence[ModuleRow]) -> list[str]:
    """The name of each module with the branch that leads to it, as `tree` draws them."""
    last_at_level: dict[int, bool] = {}
    names = []
    for position, row in enumerate(rows):
        later = (other.depth for other in rows[position + 1 :])
        next_depth = next((depth for depth in later if depth <= row.depth), -1)
        last_at_level[row.depth] = next_depth != row.depth
        stem = "".join("   " if last_at_level.get(level, True) else "│  " for level in range(1, row.depth))
        branch = ("└─ " if last_at_level[row.depth] else "├─ ") if row.depth else ""
        names.append(stem + branch + (row.path.rpartition(".")[2] if row.path else row.class_name))
    return names


def kind_table(rows: Sequence[KindRow], exact: bool) -> Table:
    """The kinds of op."""
    return ["kind", "calls", *METRIC_HEADERS], [[row.kind, row.calls or "", *metric_cells(row.cost, exact)] for row in rows]


def op_table(rows: Sequence[OpRow], exact: bool) -> Table:
    """The ops in order."""
    named = any(row.name for row in rows)
    repeated = any(row.times != 1 for row in rows)
    table = []
    for row in rows:
        inputs, outputs = " ".join(map(shape_text, row.inputs)), " ".join(map(shape_text, row.outputs))
        facts = [*([row.name] if named else []), *([row.times] if repeated else [])]
        table.append([row.index, row.scope, row.op, *facts, inputs, outputs, *metric_cells(row.cost, exact)])
    headers = ["op", "scope", "target", *(["name"] if named else []), *(["times"] if repeated else []), "inputs", "outputs"]
    return [*headers, *METRIC_HEADERS], table


def flat(rows: Sequence[dict[str, Any]]) -> Table:
    """Rows of plain data with one column per key; nested values are written as text."""
    headers = list(rows[0]) if rows else []
    return headers, [[_flat_cell(value) for value in row.values()] for row in rows]


def _flat_cell(value: Any) -> Any:
    if isinstance(value, list):
        if all(isinstance(item, list) for item in value):
            return " ".join(shape_text(tuple(item)) for item in value)
        return shape_text(tuple(value))
    if isinstance(value, dict):
        return " ".join(f"{name}={_flat_cell(item)}" for name, item in value.items())
    return value


def data_frame(rows: Sequence[dict[str, Any]]) -> pandas.DataFrame:
    """Rows of plain data as a data frame.

    Raises:
        MissingPackageError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingPackageError("a data frame needs pandas, which is not installed: pip install 'flopscope[pandas]'") from error
    return pandas.DataFrame(rows)


def summary(report: Report) -> str:
    """The exact totals, and everything that a reader must know besides."""
    total = report.total
    at_least = "at least " if total.partial else ""
    indices = sum(weight.indices for weight in report.graph.buffers)
    buffers = indices + sum(weight.type.stored_elements for weight in report.graph.buffers)
    of_sparse = f", of which {indices:,} indices of sparse ones" if indices else ""
    trainable = sum(weight.elements for weight in report.graph.parameters if weight.trainable)
    lines = [
        f"MACs    {at_least}{total.macs:,}",
        f"FLOPs   {at_least}{total.flops:,}   (2 per MAC, plus all other arithmetic)",
        f"params  {total.params:,}   ({trainable:,} trainable; buffers {buffers:,}{of_sparse})",
        f"access  {at_least}{total.access:,} elements, {si(total.access_bytes, 'B')} "
        f"({si(total.bytes_read, 'B')} read, {si(total.bytes_written, 'B')} written)",
        summary_line(report.memory),
        f"inputs  {counted(str(value.type) for value in report.graph.inputs) or 'none'}",
    ]
    if report.experts is not None:
        lines.append(_experts_text(report.experts))
    lines += _uncounted_lines(report)
    lines += [f"note: {note}" for note in report.notes]
    return "\n".join(lines) + "\n"


def _uncounted_lines(report: Report) -> list[str]:
    lines = []
    for reason, is_meant in (
        ("no rule prices them", lambda row: row.kind != SHAPE_UNKNOWN),
        ("shapes around them are not known", lambda row: row.kind == SHAPE_UNKNOWN),
    ):
        counts: Counter[str] = Counter()
        for row in filter(is_meant, report.uncounted):
            counts[row.op] += row.times
        if counts:
            listed = ", ".join(f"{op} ({count}x, first in {_first_scope(report, op)})" for op, count in counts.most_common())
            lines.append(f"NOT COUNTED, because {reason}: {listed}")
            lines += [f"  {op}: {why}" for op in counts if (why := why_uncounted(op))]
    return lines


def _experts_text(found: Experts) -> str:
    kinds = Counter((mixture.chosen, mixture.experts) for mixture in found.mixtures)
    layers = ", ".join(f"{chosen} of {experts} in {count} layer{'s' * (count > 1)}" for (chosen, experts), count in kinds.items())
    return (
        f"experts {layers}: active params {found.active_params:,} of {found.total_params:,}, "
        f"active MACs {found.active_macs:,} ({found.total_macs:,} if every token met every expert)"
    )


def _first_scope(report: Report, op: str) -> str:
    return next(row.scope for row in report.uncounted if row.op == op) or "the model itself"
