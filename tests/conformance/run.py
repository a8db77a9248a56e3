"""Compares every published number with what flopscope computes, and writes the comparison as Markdown.

    python -m tests.conformance.run --output conformance.md

Needs ``FLOPSCOPE_DATA``. Ends with 1 if a row differs that no table lists. What was checked is kept in a file, so that a run that was
interrupted goes on; a change of flopscope, of the checks or of a library starts anew.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tabulate import tabulate

from tests.conformance import published_models
from tests.conformance.checks import (
    HAS_DATA,
    Check,
    Status,
    check_cost,
    check_timm,
    check_torchvision,
    cost_rows,
    timm_rows,
    torchvision_names,
)

Job = tuple[str, str, Callable[[], Check]]
Row = tuple[object, ...]

_STATUSES: tuple[Status, ...] = ("equal", "listed", "different")


def jobs(most_gmacs: float) -> list[Job]:
    """Every check with its source and row, those of timm up to a size."""
    return [
        *(("torchvision weights", name, functools.partial(check_torchvision, name)) for name in torchvision_names()),
        *((row["source"], key, functools.partial(check_cost, row)) for key, row in cost_rows().items()),
        *(
            ("timm.json", f"{key[0]} @{key[1]}", functools.partial(check_timm, key))
            for key, row in timm_rows().items()
            if row["gmacs"] <= most_gmacs
        ),
    ]


def run(todo: Sequence[Job], console: Console, cache: Path) -> Iterator[Check]:
    """Do all checks that the cache does not hold; one that raises is a row that differs."""
    known = _remembered(cache)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        for source, row, check in progress.track(todo, description="published rows"):
            if (source, row) in known:
                yield known[source, row]
                continue
            try:
                found = check()
            except Exception as error:  # noqa: BLE001 - whatever a library's model does, the other rows are still of interest
                yield Check(source, row, "different", "?", "none", f"{type(error).__name__}: {error}")
                continue
            if found.status != "different":
                _remember(cache, found)
            yield found


def _remember(cache: Path, check: Check) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    with cache.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"of": _fingerprint(), **asdict(check)}) + "\n")


def _remembered(cache: Path) -> dict[tuple[str, str], Check]:
    """The checks in the cache that were made with exactly this code and these libraries. A line that was cut off is left out."""
    found = {}
    for line in cache.read_text(encoding="utf-8").splitlines() if cache.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record.pop("of") == _fingerprint():
            found[record["source"], record["row"]] = Check(**record)
    return found


@functools.cache
def _fingerprint() -> str:
    root = Path(__file__).parents[2]
    parts = [f"{name} {version(name)}" for name in ("torch", "torchvision", "timm")]
    files = [*(root / "flopscope").rglob("*.py"), *(root / "tests" / "conformance").glob("*.py")]
    published = Path(os.environ.get("FLOPSCOPE_DATA", ".")) / "published"
    parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted([*files, *published.glob("*.json")])]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def markdown(checks: Sequence[Check]) -> str:
    """The comparison as a document: totals by source, the rows that are not equal, and the rows that no library builds."""
    sections = [
        "# Conformance with published numbers",
        f"flopscope {version('flopscope')}, torch {version('torch')}, torchvision {version('torchvision')}, timm {version('timm')}.",
        "*equal*: all published digits; *listed*: differs by the amount and for the reason given below; *different*: neither.",
        _table(_totals(checks), ("source", "rows", *_STATUSES)),
        "## Rows that are not equal",
        _table(
            [(check.source, check.row, check.published, check.computed, _why(check)) for check in checks if check.status != "equal"],
            ("source", "row", "published", "computed", "reason"),
        ),
        "## Rows of costs.json that no library builds",
        _table(_unbuilt(), ("rows", "reason")),
    ]
    return "\n\n".join(sections) + "\n"


def _totals(checks: Sequence[Check]) -> list[Row]:
    counts = Counter((check.source, check.status) for check in checks)
    overall = Counter(check.status for check in checks)
    rows: list[tuple[str, list[int]]] = [
        (source, [counts[source, status] for status in _STATUSES]) for source in dict.fromkeys(check.source for check in checks)
    ]
    rows.append(("**all**", [overall[status] for status in _STATUSES]))
    return [(source, sum(numbers), *numbers) for source, numbers in rows]


def _why(check: Check) -> str:
    return check.reason if check.status == "listed" else f"**different** {check.reason}".strip()


def _unbuilt() -> list[Row]:
    found = [published_models.builder_for(row) for row in published_models.rows()]
    absent = Counter(
        entry.group for entry in found if isinstance(entry, published_models.Reason) and not isinstance(entry, published_models.Nearest)
    )
    return [*((count, reason) for reason, count in absent.most_common()), (absent.total(), "**all**")]


def _table(rows: Sequence[Row], headers: Sequence[str]) -> str:
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return tabulate(cells, headers, tablefmt="github", disable_numparse=True)


@click.command()
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the table; standard output if not given.")
@click.option("--most-gmacs", default=math.inf, help="The largest rows of timm.json to check; all if not given.")
@click.option("--cache", type=click.Path(path_type=Path, dir_okay=False), default=Path("runs/conformance.jsonl"), show_default=True)
def main(output: Path | None, most_gmacs: float, cache: Path) -> None:
    """Compare every published number with what flopscope computes."""
    if not HAS_DATA:
        raise click.UsageError("set FLOPSCOPE_DATA to the folder of published numbers")
    torch.set_num_threads(1)
    console = Console(stderr=True)
    checks = list(run(jobs(most_gmacs), console, cache))
    text = markdown(checks)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
    different = [check for check in checks if check.status == "different"]
    for check in different:
        console.print(
            f"different: {check.source}: {check.row}: published {check.published}, computed {check.computed} {check.reason}", markup=False
        )
    console.print(f"{len(checks)} rows checked, {len(different)} different", highlight=False)
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
