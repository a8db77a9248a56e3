"""Where results go, and what is shown while they are made."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from flopscope.errors import OptionError

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a terminal obeys: no name of a module or a model may move its cursor or change its colours."""


def emit(text: str, output: Path | None) -> None:
    """Write a result to a file, or to the terminal.

    Raises:
        OptionError: the file cannot be written.
    """
    if output is None:
        is_page = text[:9].lower() == "<!doctype"  # meant for a browser, and what scripts hold must stay as it is
        click.echo(text if is_page else _CONTROL.sub("\ufffd", text), nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OptionError(f"cannot write {output}: {error.strerror or error}") from error
    click.echo(f"wrote {output}", err=True)


def nobody_reads() -> None:
    """The reader of the output has gone, as ``head`` does: what is still buffered goes nowhere, so the process ends without an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def results_only() -> contextlib.AbstractContextManager[object]:
    """What a model prints while it is built or traced goes to the standard error, so that the output holds the result alone."""
    return contextlib.redirect_stdout(sys.stderr)


@contextlib.contextmanager
def patience(what: str) -> Iterator[None]:
    """A spinner on a terminal for what may take more than a second. What models print does not mix with the result."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(results_only())
        if sys.stderr.isatty():
            from rich.console import Console

            stack.enter_context(Console(stderr=True).status(what))
        yield
