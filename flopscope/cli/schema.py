"""``flopscope schema``: the published schemas of what is written as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flopscope.cli.output import emit


@click.command()
@click.argument("what", type=click.Choice(("report", "diff", "check")), default="report")
@click.option("--format", "style", type=click.Choice(("json",)), default="json", show_default=True, help="How to write the result.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead of the terminal.")
def schema(what: Any, style: str, output: Path | None) -> None:  # noqa: ARG001 - there is one format
    """Print the JSON Schema of a report (analyze --format json), a diff or a check."""
    from flopscope.report.schemas import schema_text

    emit(schema_text(what), output)
