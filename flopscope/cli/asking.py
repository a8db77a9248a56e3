"""What every command that asks about models shares: how a model is built and counted, and where the answer goes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flopscope.cli.settings import parse_settings

if TYPE_CHECKING:
    from flopscope.report import Report

Command = Callable[..., Any]

_MODEL_OPTIONS = (
    click.option(
        "--input", "-i", "inputs", multiple=True, metavar="[NAME=]SHAPE[:DTYPE]",
        help="Shape of an input, such as 1x3x224x224 or input_ids=1x128:int64. Repeatable. Default: the model's own.",
    ),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Argument of the factory, field of the config."),
    click.option(
        "--attention", type=click.Choice(("dense", "effective")), default="dense", show_default=True,
        help="Count masked attention as dense kernels compute it, or only the pairs that masks allow.",
    ),
    click.option(
        "--phase", type=click.Choice(("prefill", "decode")), default=None,
        help="A step of text generation (hf: models): reading a prompt, or writing one token beside a cache.",
    ),
    click.option(
        "--context", type=click.IntRange(min=1), default=None,
        help="Tokens of the prompt, or in the cache. Default: 4096, or as many as the config allows.",
    ),
    click.option("--batch", type=click.IntRange(min=1), default=None, help="Sequences that a phase works on. Default: 1."),
    click.option(
        "--cache", type=click.Choice(("dynamic", "static")), default=None,
        help="A cache of what was read, or buffers for it all. Default: dynamic.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """How a model is built and counted."""

    inputs: Sequence[str]
    settings: Sequence[str]
    attention: Any
    phase: Any
    context: int | None
    batch: int | None
    cache: Any

    def load(self, spec: str) -> Any:
        """The model of a SPEC with its inputs.

        Raises:
            FlopscopeError: it cannot be built.
        """
        import flopscope

        settings = parse_settings(self.settings)
        return flopscope.load(
            spec, settings, self.inputs, phase=self.phase, context=self.context, batch=self.batch, cache=self.cache
        )  # fmt: skip

    def report(self, spec: str, *, strict: bool = False) -> Report:
        """The report of the model of a SPEC.

        Raises:
            FlopscopeError: the model cannot be built or analysed.
        """
        import flopscope

        loaded = self.load(spec)
        report = flopscope.analyze(loaded.model, *loaded.args, strict=strict, attention=self.attention, **loaded.kwargs)
        noted: Report = loaded.noted(report)
        return noted


def model_options(command: Command) -> Command:
    """The options that say how a model is built and counted; the command gets them as one argument, ``asked``."""
    names = Asked.__dataclass_fields__

    @functools.wraps(command)
    def collected(**given: Any) -> Any:
        asked = Asked(**{name: given.pop(name) for name in names})
        return command(asked=asked, **given)

    return _with(_MODEL_OPTIONS, collected)


def output_options(formats: Sequence[str]) -> Callable[[Command], Command]:
    """The options that say where the answer goes, and how it is written."""
    style = click.option(
        "--format", "style", type=click.Choice(formats), default="table", show_default=True, help="How to write the result."
    )
    output = click.option(
        "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead of the terminal."
    )
    return lambda command: _with((style, output), command)


def _with(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
