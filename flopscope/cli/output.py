"""Where results go, and what is shown while they are made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flopscope.errors import OptionError


def emit(text: str, output: Path | None) -> None:
    """Write a result to a file, or to the terminal.

    Raises:
        OptionError: the file cannot be written.
    """
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OptionError(f"cannot write {output}: {error.strerror or error}") from error
    click.echo(f"wrote {output}", err=True)


def patience(what: str) -> Any:
    """A spinner on a terminal for what may take more than a second."""
    import contextlib

    if not sys.stderr.isatty():
        return contextlib.nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(what)
