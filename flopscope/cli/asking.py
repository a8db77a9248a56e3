"""Options and steps that the commands which ask about one model share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flopscope.cli.settings import parse_settings

if TYPE_CHECKING:
    from flopscope.report import Report

FORMATS = ("table", "markdown", "json")

_OPTIONS = (
    click.option(
        "--input", "-i", "inputs", multiple=True, metavar="[NAME=]SHAPE[:DTYPE]",
        help="Shape of an input, such as 1x3x224x224 or input_ids=1x128:int64. Repeatable. Default: the model's own.",
    ),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Argument of the factory, field of the config."),
    click.option("--format", "style", type=click.Choice(FORMATS), default="table", show_default=True, help="How to write the result."),
    click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead of the terminal."),
)  # fmt: skip


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that asks about one model."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def analysed(spec: str, settings: Sequence[str], inputs: Sequence[str]) -> Report:
    """The report of the model of a SPEC.

    Raises:
        FlopscopeError: the model cannot be built or analysed.
    """
    import flopscope

    loaded = flopscope.load(spec, parse_settings(settings), inputs)
    return loaded.noted(flopscope.analyze(loaded.model, *loaded.args, **loaded.kwargs))


def written(answer: Any, style: str) -> str:
    """An answer in one of the formats."""
    return str({"table": answer.to_text, "markdown": answer.to_markdown, "json": answer.to_json}[style]())
