"""``flopscope report``: everything about a model as one page for a browser."""

from __future__ import annotations

from pathlib import Path

import click

from flopscope.cli.asking import Asked, model_options
from flopscope.cli.output import emit, patience
from flopscope.errors import OptionError


@click.command()
@click.argument("spec")
@model_options
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default=Path("report.html"), show_default=True,
    help="The file to write; - for the terminal or a pipe.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Fail (exit code 3) if any op is not counted.")
def report(spec: str, asked: Asked, output: Path, strict: bool) -> None:
    """Write all there is to see about the model of a SPEC into one HTML file, which needs no network.

    It shows the totals, the module tree, a roofline, the memory op by op, the graph, and a table of all ops.
    """
    if asked.asks_for_formula:
        raise OptionError(
            f"a page is written for one size of each dimension, as in --dim batch=1, but was asked for with {', '.join(asked.dims)}"
        )
    with patience(f"analysing {spec}"):
        page = asked.report(spec, strict=strict).to_html()
    emit(page, None if str(output) == "-" else output)
