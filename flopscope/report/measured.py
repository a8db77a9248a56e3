"""A table of what was measured elsewhere (accuracy, latency, ...), beside what models cost."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flopscope.errors import InputError, OptionError

_MOST_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Measured:
    """The numeric columns of a table with a row for each model."""

    path: Path
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, float]]
    """The numbers by model and column; an empty cell is no number."""

    def of(self, spec: str) -> Mapping[str, float]:
        """The numbers of a model: of its SPEC as it was given, or of what stands behind the colon; empty where there are none."""
        if spec in self.rows:
            return self.rows[spec]
        return self.rows.get(spec.partition(":")[2] or Path(spec).stem, {})


def read_measured(path: Path) -> Measured:
    """Read a CSV file with a column ``model``; columns with text in any row are passed over.

    Raises:
        InputError: it cannot be read, has no column ``model`` or none of numbers, or names a column or a model twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [row for _, row in zip(range(_MOST_ROWS + 2), csv.reader(file, strict=True), strict=False)]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no CSV file: {error}") from error
    lines = [line for line in lines if line]
    if len(lines) > _MOST_ROWS + 1:
        raise InputError(f"{path} has more than {_MOST_ROWS:,} rows")
    headers = [header.strip() for header in lines[0]] if lines else []
    if headers.count("model") != 1:
        listed = ", ".join(headers) or "none"
        raise InputError(f"{path} needs one column 'model' that holds SPECs or the names behind their colon; its columns are: {listed}")
    if len(set(headers)) < len(headers):
        raise InputError(f"{path} names a column twice: {', '.join(headers)}")
    return _numbers(path, headers, lines[1:])


def _numbers(path: Path, headers: Sequence[str], lines: Sequence[Sequence[str]]) -> Measured:
    place = headers.index("model")
    cells: dict[str, dict[str, float | None]] = {}
    for number, line in enumerate(lines, 2):
        if len(line) != len(headers):
            raise InputError(f"row {number} of {path} has {len(line)} cells, and the first row {len(headers)}")
        model = line[place].strip()
        if model in cells:
            raise InputError(f"{path} has two rows for {model!r}")
        cells[model] = {header: _number(cell) for header, cell in zip(headers, line, strict=True) if header != "model" and cell.strip()}
    texts = {header for row in cells.values() for header, value in row.items() if value is None}
    found = {header for row in cells.values() for header in row}
    columns = tuple(header for header in headers if header in found and header not in texts)
    if not columns:
        raise InputError(f"{path} has no column of numbers beside 'model'; its columns are: {', '.join(headers)}")
    rows = {
        model: {header: value for header, value in row.items() if header in columns and value is not None} for model, row in cells.items()
    }
    return Measured(path, columns, rows)


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def column_of(name: str, metrics: Sequence[str], measured: Measured | None, option: str) -> str:
    """The name of a column to draw.

    Raises:
        OptionError: it is neither a metric nor a column of the table.
    """
    columns = () if measured is None else measured.columns
    if name not in (*metrics, *columns):
        more = f", or a column of {measured.path}: {', '.join(columns)}" if measured is not None else "; --with TABLE.csv adds columns"
        raise OptionError(f"{option} {name!r} is no column: choose one of {', '.join(metrics)}{more}")
    return name
