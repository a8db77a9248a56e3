"""``flopscope check``: a gate for CI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from flopscope.cli.asking import Asked, Command, model_options, output_options, with_options
from flopscope.cli.output import emit, nobody_reads, patience
from flopscope.cli.sides import fitting, refuse_unused, snapshot_of
from flopscope.errors import OptionError

FORMATS = ("table", "markdown", "csv", "json", "junit")
BROKEN = 1
"""The exit code where a limit is not kept."""
LIMITS = {"macs": "macs", "flops": "flops", "params": "params", "access": "access_bytes", "peak": "peak_bytes"}
"""The metric of each option ``--max-...``."""
_EXAMPLES = {"macs": "300M", "flops": "1.2G", "params": "4M", "access": "1GB", "peak": "50MiB"}
_WHAT = {
    "macs": "multiply-accumulates", "flops": "FLOPs", "params": "parameters", "access": "bytes read and written",
    "peak": "bytes of live tensors",
}  # fmt: skip

_LIMIT_OPTIONS: Sequence[Callable[[Command], Command]] = [
    click.option(f"--max-{name}", f"max_{name}", metavar="LIMIT", help=f"The most {_WHAT[name]} allowed, such as {example}.")
    for name, example in _EXAMPLES.items()
]


def limit_options(command: Command) -> Command:
    """The options ``--max-macs`` and the like."""
    return with_options(_LIMIT_OPTIONS, command)


def budget_of(given: dict[str, Any]) -> dict[str, int]:
    """Take the limits out of a command's arguments; by metric.

    Raises:
        OptionError: one cannot be read.
    """
    from flopscope.report.quantities import parse_limit

    budget = {}
    for name, metric in LIMITS.items():
        text = given.pop(f"max_{name}")
        if text is not None:
            try:
                budget[metric] = parse_limit(metric, text)
            except OptionError as error:
                raise OptionError(f"--max-{name}: {error}") from error
    return budget


@click.command()
@click.argument("spec")
@limit_options
@click.option("--baseline", metavar="REPORT", help="Hold it against a saved report too (or a SPEC, or path/file.py:factory@REV).")
@click.option("--tolerance", metavar="PERCENT", help="By how much it may pass the baseline, such as 1%. Default: 0%.")
@click.option(
    "--metric",
    "names",
    type=click.Choice(tuple(LIMITS)),
    multiple=True,
    help="What is held against the baseline. Repeatable. Default: all.",
)
@model_options
@output_options(FORMATS)
def check(
    spec: str,
    asked: Asked,
    baseline: str | None,
    tolerance: str | None,
    names: Sequence[str],
    style: str,
    output: Path | None,
    **limits: Any,
) -> None:
    """Fail (exit code 1) where the model of a SPEC costs more than is allowed, or where nobody can tell.

    SPEC may be a report saved with --format json. A count that is only a lower bound keeps no limit: unknown is not zero.
    """
    from flopscope.report.budget import check as hold
    from flopscope.report.quantities import parse_tolerance

    budget = budget_of(limits)
    refuse_unused(asked, *(side for side in (spec, baseline) if side is not None))
    if baseline is None and (tolerance is not None or names):
        raise OptionError(f"{'--tolerance' if tolerance is not None else '--metric'} belongs to a baseline: give one with --baseline")
    if not budget and baseline is None:
        raise OptionError("there is nothing to check: give a limit such as --max-macs 300M, or a report with --baseline")
    allowance = parse_tolerance("0%" if tolerance is None else tolerance)
    metrics = [LIMITS[name] for name in names or LIMITS]
    with patience(f"analysing {spec}"):
        before = None if baseline is None else snapshot_of(fitting(asked, baseline, spec), baseline)
        found = hold(snapshot_of(asked if baseline is None else fitting(asked, spec, baseline), spec), budget, before, allowance, metrics)
        written = {
            "table": found.to_text,
            "markdown": found.to_markdown,
            "csv": found.to_csv,
            "json": found.to_json,
            "junit": found.to_junit,
        }
        text = written[style]()
    try:
        emit(text, output)
    except BrokenPipeError:  # nobody reads on; the exit code still says how it went
        nobody_reads()
        click.get_current_context().exit(0 if found.passed else BROKEN)
    if not found.passed:
        if output is not None or style in ("csv", "json", "junit"):  # the others have said it
            for limit in found.limits:
                if limit.status != "ok":
                    click.echo(f"flopscope: {spec}: {limit.reason}", err=True)
        click.get_current_context().exit(BROKEN)
