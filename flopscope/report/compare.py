"""Several models in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flopscope.cost import METRICS, ZERO
from flopscope.errors import OptionError
from flopscope.report import under
from flopscope.report.measured import Measured, column_of
from flopscope.report.report import Report
from flopscope.report.rows import metrics
from flopscope.report.tables import data_frame, flat
from flopscope.report.text import METRIC_HEADERS, TableFormat, counted, metric_cells, render, shape_text, si

if TYPE_CHECKING:
    import pandas


_OWN = ("model", "input", "complete", *metrics(ZERO))
"""The columns that a comparison has in any case."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The totals of several models side by side.

    Examples:
        >>> import flopscope, torch
        >>> table = flopscope.compare({"small": (torch.nn.Linear(8, 4), "1x8"), "large": (torch.nn.Linear(80, 40), "1x80")})
        >>> print(table.to_markdown(exact=True), end="")
        | model   | input   |   params |   MACs |   FLOPs |   access |
        |---------|---------|----------|--------|---------|----------|
        | small   | 1x8     |       36 |     32 |      68 |      192 |
        | large   | 1x80    |    3,240 |  3,200 |   6,440 |   13,440 |
    """

    reports: Mapping[str, Report]
    measured: Measured | None = None
    """What was measured elsewhere; its columns stand behind the counts."""

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
        if self.measured is not None:
            headers += self.measured.columns
            found = [self.measured.of(name) for name in self.reports]
            rows = [
                [*row, *(_plain(numbers.get(name)) for name in self.measured.columns)] for row, numbers in zip(rows, found, strict=True)
            ]
        table = render(headers, rows, style)
        notes = [f"{name}: {note}" for name, report in self.reports.items() for note in report.notes]
        partial = [
            f"{name}: not counted: {', '.join(sorted({row.op for row in r.uncounted}))}"
            for name, r in self.reports.items()
            if not r.complete
        ]
        without = (
            [f"{name}: no row in {self.measured.path}" for name in self.reports if not self.measured.of(name)] if self.measured else []
        )
        return "\n".join([table, *notes, *partial, *without]).rstrip("\n") + "\n"

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
            | self._measured_of(name)
            for name, report in self.reports.items()
        ]

    def _measured_of(self, name: str) -> dict[str, float | None]:
        if self.measured is None:
            return {}
        numbers = self.measured.of(name)
        return {f"measured_{column}" if column in _OWN else column: numbers.get(column) for column in self.measured.columns}

    def plot(self, path: Path, x: str = "macs", y: str = "params") -> list[str]:
        """Draw the models as points into a .png, .svg or .pdf file.

        Args:
            path: the file to write.
            x: what lies to the right: a metric such as ``"macs"`` or ``"peak_bytes"``, or a column of the table of measurements.
            y: what lies upwards, in the same way.

        Returns:
            The models that are not drawn, because the table has no number for them.

        Raises:
            OptionError: there is no such column, no model has both, or the file cannot be written.
            MissingPackageError: matplotlib is not installed.
        """
        from flopscope.report.plot import check_plot
        from flopscope.report.scatter import Dot, draw_models

        check_plot(path)
        check_columns(x, y, self.measured)
        dots, missing = [], []
        for name, report in self.reports.items():
            places = [self._at(name, report, column) for column in (x, y)]
            if None in places:
                missing.append(name)
                continue
            partial = any((column in METRICS and column != "params" and not report.complete) for column in (x, y))
            partial |= "peak_bytes" in (x, y) and report.memory.partial
            family = name.partition(":")[0] if ":" in name and "/" not in name.partition(":")[0] else Path(name.partition(":")[0]).name
            dots.append(Dot(name, family, float(places[0] or 0), float(places[1] or 0), partial))
        if not dots:
            raise OptionError(f"no model has both {x} and {y}: nothing can be drawn")
        draw_models(dots, x, y, path)
        return missing

    def _at(self, name: str, report: Report, column: str) -> float | None:
        if column == "peak_bytes":
            return report.memory.peak_bytes
        if column in METRICS:
            return float(getattr(report.total, column))
        return None if self.measured is None else self.measured.of(name).get(column)

    def to_dataframe(self) -> pandas.DataFrame:
        """The table as a pandas data frame (needs ``flopscope[pandas]``).

        Raises:
            MissingPackageError: pandas is not installed.
        """
        return data_frame(self.to_dicts())


def check_columns(x: str, y: str, measured: Measured | None) -> None:
    """See that two columns can be drawn.

    Raises:
        OptionError: one is neither a metric nor a column of the table of measurements.
    """
    for option, column in (("--x", x), ("--y", y)):
        column_of(column, (*METRICS, "peak_bytes"), measured, option)


def _plain(number: float | None) -> str:
    return "" if number is None else f"{number:g}"


def _inputs(report: Report) -> str:
    return counted((shape_text(value.shape) for value in report.graph.inputs), " ")
