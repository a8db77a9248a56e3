"""The ``flopscope`` command: formats and exit codes, no arithmetic.

Exit codes: 0 all went well; 1 ``check`` found a limit that is not kept; 2 something asked for cannot be done (one message says what
and why); 3 ``--strict`` met an op that is not counted. torch is imported by the commands that need it, so that ``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from flopscope.cli.advise import advise
from flopscope.cli.asking import Asked, model_options, output_options
from flopscope.cli.check import check
from flopscope.cli.diff import diff
from flopscope.cli.explain import conventions, doctor, explain, why
from flopscope.cli.fit import fit
from flopscope.cli.latency import devices, energy, latency
from flopscope.cli.measure import calibrate, learn, measure, tables
from flopscope.cli.memory import memory
from flopscope.cli.output import emit, nobody_reads, patience, results_only
from flopscope.cli.report import report
from flopscope.cli.schema import schema
from flopscope.cli.sweep import sweep
from flopscope.cli.train import train
from flopscope.errors import FlopscopeError, OptionError, UncountedError
from flopscope.version import __version__

FORMATS = ("table", "markdown", "latex", "csv", "json")
UNUSABLE, UNCOUNTED = 2, 3


class ErrorsAsMessages(click.Group):
    """Turns flopscope's own errors into one message and an exit code; ``--debug`` shows the traceback."""

    program = "flopscope"

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except FlopscopeError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"{self.program}: {error}", err=True)
            ctx.exit(UNCOUNTED if isinstance(error, UncountedError) else UNUSABLE)
        except BrokenPipeError:
            nobody_reads()
            ctx.exit(0)


@click.group(cls=ErrorsAsMessages, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="flopscope")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Tell what a PyTorch or ONNX model costs, exactly, without running it.

    A SPEC is torchvision:NAME, timm:NAME, hf:TYPE (such as hf:llama), hf:FOLDER or hf:config.json, package.module:factory,
    path/to/file.py:factory, model.onnx, model.pt (TorchScript) or model.pt2. Weights are never downloaded.
    """


_strict = click.option("--strict", is_flag=True, help="Fail (exit code 3) if any op is not counted.")
_exact = click.option("--exact", is_flag=True, help="Write counts in full instead of with four digits.")
_convention = click.option("--convention", metavar="NAME", help="Add a column in a named way to count; flopscope conventions lists them.")


@main.command()
@click.argument("spec")
@model_options
@output_options(FORMATS)
@_exact
@_strict
@_convention
@click.option(
    "--save-shapes", type=click.Path(dir_okay=False, path_type=Path), help="Write an ONNX model again, with the shapes that were inferred."
)
@click.option("--bits", "by_bits", is_flag=True, help="List MACs and BOPs by the bits of weights and activations, and sizes in bytes.")
@click.option("--assume", metavar="WIDTHS", help="The same with other widths, such as w8a8 or w4a16.")
@click.option("--intensity", is_flag=True, help="Add a column of arithmetic intensity: FLOPs per byte read and written.")
@click.option("--by", type=click.Choice(("module", "op", "kind")), default="module", show_default=True, help="What a row is.")
@click.option(
    "--depth", type=click.IntRange(min=0), default=None, help="Deepest level of modules to list. Default: 3, or all in csv and json."
)
def analyze(
    spec: str,
    asked: Asked,
    style: str,
    output: Path | None,
    exact: bool,
    strict: bool,
    convention: str | None,
    save_shapes: Path | None,
    by_bits: bool,
    assume: str | None,
    intensity: bool,
    by: Any,
    depth: int | None,
) -> None:
    """Tell what the model of a SPEC costs."""
    _check_convention(convention)
    _check_assumed(assume)
    with patience(f"analysing {spec}"):
        if asked.asks_for_formula:
            others = {"--bits": by_bits, "--assume": assume, "--convention": convention, "--save-shapes": save_shapes, "--strict": strict}
            others["--intensity"] = intensity
            text = asked.over_sizes(spec, style, exact, [name for name, given in others.items() if given])
        else:
            if save_shapes is not None:
                click.echo(f"wrote {asked.save_shapes(spec, save_shapes)}", err=True)
            found = asked.report(spec, strict=strict)
            if style == "json":
                text = found.to_json(convention=convention, assume=assume)
            elif by_bits or assume is not None:
                text = found.bits_text(style, assume=assume, exact=exact)  # type: ignore[arg-type]
            else:
                text = _report_text(found, by, style, depth, exact, convention, intensity)
    emit(text, output)


@main.command()
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@model_options
@output_options(FORMATS)
@_exact
@_strict
@_convention
@click.option(
    "--with", "table", type=click.Path(dir_okay=False, path_type=Path), help="Add the numbers of a CSV file with a column 'model'."
)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the models into a .png, .svg or .pdf file too.")
@click.option(
    "--x", default="macs", show_default=True, metavar="COLUMN", help="What the plot shows to the right: a metric, or a column of --with."
)
@click.option("--y", default=None, metavar="COLUMN", help="What it shows upwards. Default: the first column of --with, or params.")
def compare(
    specs: Sequence[str],
    asked: Asked,
    style: str,
    output: Path | None,
    exact: bool,
    strict: bool,
    convention: str | None,
    table: Path | None,
    plot: Path | None,
    x: str,
    y: str | None,
) -> None:
    """Tell what several models cost, in one table, and what was measured of them elsewhere."""
    import json

    from flopscope.cli.progress import progress
    from flopscope.report import Comparison
    from flopscope.report.compare import check_columns
    from flopscope.report.measured import read_measured
    from flopscope.report.plot import check_plot

    _check_convention(convention)
    measured = None if table is None else read_measured(table)
    y = y or ("params" if measured is None else measured.columns[0])
    if plot is not None:
        check_plot(plot)
        check_columns(x, y, measured)
    with results_only():
        comparison = Comparison({spec: asked.report(spec, strict=strict) for spec in progress(specs, "analysing")}, measured)
    if style == "json":
        text = json.dumps(comparison.to_dicts(convention), indent=2) + "\n"
    else:
        text = comparison.to_table(style, exact=exact, convention=convention)  # type: ignore[arg-type]
    missing = [] if plot is None else comparison.plot(plot, x, y)
    emit(text, output)
    if plot is not None:
        left_out = f", without {', '.join(missing)}: {table} has no number for them" if missing else ""
        click.echo(f"wrote {plot}{left_out}", err=True)


_MORE = (
    report, diff, check, memory, train, fit, latency, calibrate, measure, tables, learn, energy, devices, advise, sweep, explain, why,
    doctor, conventions, schema,
)  # fmt: skip
for command in _MORE:
    main.add_command(command)


@main.command("list")
@click.argument("source", type=click.Choice(("torchvision", "timm", "hf")), default="torchvision")
@click.argument("pattern", default="*")
@output_options(("table", "markdown", "csv", "json"))
def list_models(source: str, pattern: str, style: str, output: Path | None) -> None:
    """List the models of a source whose names match a PATTERN such as 'resnet*'."""
    import fnmatch
    import importlib
    import json

    with patience(f"asking {source}"):
        names = importlib.import_module(f"flopscope.frontends.sources.{source}").names()
    wanted = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    found = fnmatch.filter(names, wanted)
    if not found:
        raise OptionError(f"no model of {source} matches {pattern!r} ({len(names)} models in all)")
    specs = [f"{source}:{name}" for name in found]
    if style == "json":
        text = json.dumps(specs, indent=2) + "\n"
    elif style == "table":
        text = "".join(f"{spec}\n" for spec in specs)
    else:
        from flopscope.report.text import render

        text = render(["model"], [[spec] for spec in specs], style)  # type: ignore[arg-type]
    emit(text, output)


def _check_convention(name: str | None) -> None:
    """Refuse an unknown name before the work begins."""
    if name is not None:
        from flopscope.analyses.conventions import convention

        convention(name)


def _check_assumed(widths: str | None) -> None:
    """Refuse widths that are none before the work begins."""
    if widths is not None:
        from flopscope.analyses.bits import parse_widths

        parse_widths(widths)


def _report_text(report: Any, by: Any, style: str, depth: int | None, exact: bool, convention: str | None, intensity: bool) -> str:
    if style == "csv":  # which has the intensity in any case
        return str(report.to_csv(by, depth=depth, convention=convention))
    depth = 3 if depth is None else depth
    if style == "table":
        return str(report.to_text(by, depth=depth, exact=exact, convention=convention, intensity=intensity))
    return str(report.to_table(by, style, depth=depth, exact=exact, convention=convention, intensity=intensity))
