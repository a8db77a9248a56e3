"""``flopscope explain``, ``why``, ``doctor`` and ``conventions``: where numbers come from, and what is not in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flopscope.cli.asking import Asked, model_options, output_options
from flopscope.cli.output import emit, patience

if TYPE_CHECKING:
    from flopscope.report import Report

FORMATS = ("table", "markdown", "json")
SIDES = (128, 160, 192, 224, 240, 256, 260, 288, 299, 300, 320, 331, 380, 384, 448, 512)
"""Sides of square images that are tried for a number that the model's own input does not explain."""


@click.command()
@click.argument("spec")
@click.option(
    "--vs", required=True, metavar="CONVENTION|NUMBER", help="What to compare with: fvcore, thop, ..., or a number such as 4.11G."
)
@model_options
@output_options(FORMATS)
def explain(spec: str, vs: str, asked: Asked, style: str, output: Path | None) -> None:
    """Tell where the difference to another count of a model comes from.

    A convention is taken apart kind by kind of op, and the differences add up to it exactly. For a number, conventions, units, parts that
    may be left out or added, and other image sizes are tried.
    """
    from flopscope.analyses.conventions import CONVENTIONS
    from flopscope.frontends.onnx import names_onnx
    from flopscope.report.explain_number import parse_number

    if vs not in CONVENTIONS:
        parse_number(vs)  # before the work begins
    with patience(f"analysing {spec}"):
        report = asked.report(spec)
        answer: Any = report.explain(vs)
        if vs not in CONVENTIONS and not answer.matches and not names_onnx(spec):
            answer = report.explain(vs, _at_other_sizes(asked.load(spec).model, report))
        text = _written(answer, style)
    emit(text, output)


def _at_other_sizes(model: Any, report: Report) -> dict[str, Report]:
    """The same model on square images of other sides, where it takes one image and runs on them."""
    import flopscope
    from flopscope.errors import FlopscopeError

    inputs = report.graph.inputs
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        return {}
    batch, channels, height, _ = inputs[0].shape
    found = {}
    for side in SIDES:
        shape = f"{batch}x{channels}x{side}x{side}"
        if side == height:
            continue
        try:
            found[shape] = flopscope.analyze(model, shape, execute="never")
        except FlopscopeError:
            continue  # a model of fixed size
    return found


@click.command()
@click.argument("spec")
@click.argument("scope")
@model_options
@output_options(FORMATS)
def why(spec: str, scope: str, asked: Asked, style: str, output: Path | None) -> None:
    """Tell why a module costs what it costs: formulas with their letters filled in, and their sources.

    SCOPE is the path of a module, such as layer1.0.conv1, or the index of an op, such as '#7'.
    """
    with patience(f"analysing {spec}"):
        text = _written(asked.report(spec).why(scope), style)
    emit(text, output)


@click.command()
@click.argument("spec")
@model_options
@output_options(FORMATS)
def doctor(spec: str, asked: Asked, style: str, output: Path | None) -> None:
    """Tell what could not be counted, what depended on data, what is never used, and what to write to count more."""
    with patience(f"analysing {spec}"):
        text = _written(asked.report(spec).doctor(), style)
    emit(text, output)


@click.command()
@output_options(("table", "markdown", "csv", "json"))
def conventions(style: str, output: Path | None) -> None:
    """List the named ways to count."""
    from flopscope.analyses.conventions import CONVENTIONS

    names = ("name", "version", "unit", "tool", "text")
    rows = [{name: getattr(about, name) for name in names} for about in CONVENTIONS.values()]
    if style == "json":
        text = json.dumps(rows, indent=2) + "\n"
    elif style == "table":
        text = "".join(
            f"{row['name']} ({row['unit']}, version {row['version']}{', ' if row['tool'] else ''}{row['tool']})\n    {row['text']}\n"
            for row in rows
        )
    else:
        from flopscope.report.text import render

        text = render(names, [list(row.values()) for row in rows], style)  # type: ignore[arg-type]
    emit(text, output)


def _written(answer: Any, style: str) -> str:
    return str({"table": answer.to_text, "markdown": answer.to_markdown, "json": answer.to_json}[style]())
