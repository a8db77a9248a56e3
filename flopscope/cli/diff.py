"""``flopscope diff``: what changed between two models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flopscope.cli.asking import Asked, model_options, output_options
from flopscope.cli.check import budget_of, limit_options
from flopscope.cli.output import emit, patience
from flopscope.cli.sides import fitting, refuse_unused, snapshot_of

FORMATS = ("table", "markdown", "latex", "csv", "json", "html")


@click.command()
@click.argument("before")
@click.argument("after")
@limit_options
@click.option("--exact", is_flag=True, help="Write counts in full instead of with four digits.")
@click.option("--depth", type=click.IntRange(min=0), default=None, help="Deepest level of modules to list. Default: all.")
@model_options
@output_options(FORMATS)
def diff(before: str, after: str, asked: Asked, style: str, output: Path | None, exact: bool, depth: int | None, **limits: Any) -> None:
    """Tell what changed from one model to another: totals, kinds of op, and modules, matched by their paths.

    Each is a SPEC (PyTorch or ONNX), a file at a commit (path/file.py:factory@REV, which leaves the checkout alone), or a report that was
    saved with --format json. Limits (--max-macs 300M) mark totals; flopscope check fails where one is not kept.
    """
    from flopscope.report.diff import diff as find

    budget = budget_of(limits)
    refuse_unused(asked, before, after)
    with patience(f"comparing {before} and {after}"):
        first = snapshot_of(fitting(asked, before, after), before)
        second = snapshot_of(fitting(asked, after, before), after)
        found = find(first, second, budget)
        if style == "json":
            text = found.to_json()
        elif style == "html":
            text = found.to_html()
        else:
            text = found.to_table(style, depth=depth, exact=exact)  # type: ignore[arg-type]
    emit(text, output)
