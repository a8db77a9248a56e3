"""``flopscope memory``: the peak of live tensors, what is alive there, and the timeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flopscope.cli.asking import Asked, model_options, output_options
from flopscope.cli.output import emit, patience
from flopscope.errors import OptionError

if TYPE_CHECKING:
    from flopscope.report.memory import Memory

FORMATS = ("table", "markdown", "latex", "csv", "json")


@click.command()
@click.argument("spec")
@model_options
@output_options(FORMATS)
@click.option("--exact", is_flag=True, help="Write bytes in full instead of with three digits.")
@click.option("--fused", is_flag=True, help="As an ideal planner would: from first write to last use, elementwise ops in place, one arena.")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="How many tensors to list.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the timeline into a .png, .svg or .pdf file too.")
def memory(spec: str, asked: Asked, style: str, output: Path | None, exact: bool, fused: bool, top: int, plot: Path | None) -> None:
    """Tell how much memory the model of a SPEC takes while it runs, where the most, and what is alive there.

    The csv format lists the live bytes op by op.
    """
    if asked.asks_for_formula:
        raise OptionError(
            f"memory is told for one size of each dimension, as in --dim batch=1, but was asked for with {', '.join(asked.dims)}"
        )
    if plot is not None:
        from flopscope.report.plot import check_plot

        check_plot(plot)
    with patience(f"analysing {spec}"):
        found = asked.report(spec).memory
        found = found.fused if fused else found
        text = _written(found, style, exact, top)
        if plot is not None:
            from flopscope.report.plot import draw_memory

            draw_memory(found, plot)
    emit(text, output)
    if plot is not None:
        click.echo(f"wrote {plot}", err=True)


def _written(found: Memory, style: str, exact: bool, top: int) -> str:
    if style == "json":
        return found.to_json()
    if style == "csv":
        return found.to_csv()
    if style == "table":
        return found.to_text(exact=exact, top=top)
    return found.to_markdown(exact=exact, top=top) if style == "markdown" else found.to_table("latex", exact=exact, top=top)
