"""A column of a report in another convention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flopscope.analyses import totals
from flopscope.analyses.conventions import convention
from flopscope.report.text import si

if TYPE_CHECKING:
    from flopscope.report.report import By, Report


def column(report: Report, name: str, by: By, depth: int | None) -> list[int]:
    """What each row of a table counts under a convention; the rows are those of the report by op, kind or module.

    Raises:
        OptionError: there is no such convention.
    """
    graph = report.graph
    counts = convention(name).counts(graph)
    if by == "op":
        return counts
    sums: dict[str, int] = {}
    for op, count in zip(graph.ops, counts, strict=True):
        for key in [op.kind] if by == "kind" else totals.ancestors(op.scope):
            sums[key] = sums.get(key, 0) + count
    keys = [row.kind for row in report.by_kind()] if by == "kind" else [row.path for row in report.by_module(depth)]
    return [sums.get(key, 0) for key in keys]


def header(name: str) -> str:
    """The head of the column, with the unit."""
    return f"{name} {convention(name).unit}"


def with_column(report: Report, name: str, by: By, depth: int | None, rows: list[list[Any]], exact: bool) -> list[list[Any]]:
    """The rows of a table with the column at the end."""
    counts = column(report, name, by, depth)
    return [[*row, f"{count:,}" if exact else si(count)] for row, count in zip(rows, counts, strict=True)]


def line(report: Report, name: str) -> str:
    """The total under a convention, as a line for people."""
    about = convention(name)
    tool = about.tool or f"version {about.version}"
    return f"{name}  {report.under(name):,} {about.unit} as {tool} counts: {about.text}"


def facts(report: Report, name: str | None) -> dict[str, Any]:
    """The total under a convention, and what that is, as plain data; nothing where no convention is named."""
    if name is None:
        return {}
    about = convention(name)
    described = {"name": about.name, "version": about.version, "unit": about.unit, "tool": about.tool, "text": about.text}
    return {"convention": {**described, "count": report.under(name)}}
