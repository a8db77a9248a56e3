"""``flopscope advise``: where a model breaks the guidelines of ShuffleNetV2."""

from __future__ import annotations

from pathlib import Path

import click

from flopscope.cli.asking import Asked, model_options, output_options
from flopscope.cli.output import emit, patience


@click.command()
@click.argument("spec")
@model_options
@output_options(("table", "markdown", "csv", "json"))
@click.option("--most", type=click.IntRange(min=0), default=5, show_default=True, help="Places to list for each guideline.")
@click.option("--all", "everything", is_flag=True, help="List all places. csv and json always do.")
def advise(spec: str, asked: Asked, style: str, output: Path | None, most: int, everything: bool) -> None:
    """Tell what makes a model slower than its FLOPs promise: the four guidelines of ShuffleNetV2.

    Unequal channel widths, groups, fragmentation and elementwise ops, each with what it costs in bytes read and written (or ops), the
    scopes where it costs the most, and what to do.
    """
    with patience(f"analysing {spec}"):
        advice = asked.report(spec).advise()
        listed = None if everything else most
        if style == "csv":
            text = advice.to_csv()
        elif style == "json":
            text = advice.to_json()
        else:
            text = advice.to_markdown(listed) if style == "markdown" else advice.to_text(listed)
    emit(text, output)
