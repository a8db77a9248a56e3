"""Several models in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flopscope.report import under
from flopscope.report.report import Report
from flopscope.report.rows import metrics
from flopscope.report.tables import data_frame, flat
from flopscope.report.text import METRIC_HEADERS, TableFormat, counted, metric_cells, render, shape_text, si

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class Comparison:
    """The totals of several models side by side."""

    reports: Mapping[str, Report]

    def __str__(self) -> str:
        return self.to_table()

    def to_table(self, style: TableFormat = "table", *, exact: bool = False, convention: str | None = None) -> str:
        """A row per model, in one of the formats ``"table"``, ``"markdown"``, ``"latex"`` and ``"csv"``.

        Args:
            style: the format.
            exact: whether to write counts in full instead of with four digits.
            convention: a convention to add a column for.

        Raises:
            OptionError: there is no such format or convention.
        """
        if style == "csv":
            return render(*flat(self.to_dicts(convention)), "csv")
        headers = ["model", "input", *METRIC_HEADERS]
        rows = [[name, _inputs(report), *metric_cells(report.total, exact)] for name, report in self.reports.items()]
        if convention is not None:
            headers.append(under.header(convention))
            counts = [report.under(convention) for report in self.reports.values()]
            rows = [[*row, f"{count:,}" if exact else si(count)] for row, count in zip(rows, counts, strict=True)]
        table = render(headers, rows, style)
        notes = [f"{name}: {note}" for name, report in self.reports.items() for note in report.notes]
        partial = [
            f"{name}: not counted: {', '.join(sorted({row.op for row in r.uncounted}))}"
            for name, r in self.reports.items()
            if not r.complete
        ]
        return "\n".join([table, *notes, *partial]).rstrip("\n") + "\n"

    def to_markdown(self, *, exact: bool = False) -> str:
        """The table in GitHub's Markdown."""
        return self.to_table("markdown", exact=exact)

    def to_latex(self, *, exact: bool = False) -> str:
        """The table in LaTeX, for the package booktabs."""
        return self.to_table("latex", exact=exact)

    def to_csv(self) -> str:
        """The table with exact counts."""
        return self.to_table("csv")

    def to_dicts(self, convention: str | None = None) -> list[dict[str, Any]]:
        """A row of plain data per model, with exact counts, and that of a convention under its name."""
        return [
            {"model": name, "input": _inputs(report), "complete": report.complete, **metrics(report.total)}
            | ({} if convention is None else {convention: report.under(convention)})
            for name, report in self.reports.items()
        ]

    def to_dataframe(self) -> pandas.DataFrame:
        """The table as a pandas data frame (needs ``flopscope[pandas]``).

        Raises:
            MissingPackageError: pandas is not installed.
        """
        return data_frame(self.to_dicts())


def _inputs(report: Report) -> str:
    return counted((shape_text(value.shape) for value in report.graph.inputs), " ")
