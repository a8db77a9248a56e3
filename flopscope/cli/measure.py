"""``flopscope calibrate``, ``measure``, ``tables`` and ``learn``: what is measured on this machine, and kept in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flopscope.cli.asking import Asked, Command, model_options, output_options, with_options
from flopscope.cli.output import emit, patience
from flopscope.errors import OptionError

FORMATS = ("table", "markdown", "latex", "csv", "json")
RUNTIMES = ("eager", "compile", "onnxruntime")
_FILE = click.Path(dir_okay=False, path_type=Path)
_SETTING_OPTIONS = (
    click.option("--table", "table", type=_FILE, help="The file of measured times. Default: times.sqlite in the user's cache folder."),
    click.option("--runtime", type=click.Choice(RUNTIMES), default="eager", show_default=True, help="What runs the ops."),
    click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads that it may use."),
)


def setting_options(command: Command) -> Command:
    """The options that name a file of times, and one of its settings."""
    return with_options(_SETTING_OPTIONS, command)


@click.command()
@click.argument("spec")
@setting_options
@model_options
@output_options(FORMATS)
@click.option("--by", type=click.Choice(("module", "op", "kind")), default="module", show_default=True, help="What a row is.")
@click.option("--depth", type=click.IntRange(min=0), default=None, help="Deepest level of modules to list. Default: 3.")
@click.option("--whole", is_flag=True, help="Run the whole model too: the error bars of sums come from models that were.")
def measure(
    spec: str, table: Path | None, runtime: str, threads: int, asked: Asked, style: str, output: Path | None, by: Any, depth: int | None,
    whole: bool,
) -> None:  # fmt: skip
    """Measure the ops of the model of a SPEC that a table lacks, one by one on this machine, and tell its time by them.

    ONNX Runtime needs an .onnx file. It runs nodes of its own, which are listed by op. The model itself runs with --whole alone.
    """
    from flopscope.latency.table.setting import Setting
    from flopscope.latency.table.store import Store
    from flopscope.report.measured_ops import Measuring

    setting = Setting.here(runtime, threads)
    with patience(f"measuring {spec}"), Store(table_path(table), create=True) as store:
        measuring = Measuring.of(spec, asked, setting)
        outcome = measuring.measure(store)
        if whole:
            measuring.run_whole(store)
        found = measuring.latency(store)
    emit(written(found, style, "op" if runtime == "onnxruntime" and by == "module" else by, depth), output)
    if outcome.measured:
        click.echo(f"{outcome.measured} ops are new in {table_path(table)}", err=True)
    for why in sorted(set(outcome.failed.values())):
        click.echo(f"not measured: {why}", err=True)


@click.command()
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads that PyTorch may use.")
@click.option(
    "--output", "-o", type=click.Path(file_okay=False, path_type=Path), help="Folder for the files. Default: the user's cache folder."
)
def calibrate(threads: int, output: Path | None) -> None:
    """Measure what this machine's processor achieves, in a minute or so: then --device here is this machine."""
    from flopscope.latency.calibrating import calibrate, lines_of
    from flopscope.latency.user_files import user_folder

    found = calibrate(threads, progress=lambda done, of, what: click.echo(f"{done} of {of}: {what}", err=True))
    paths = found.save(output if output is not None else user_folder())
    for line in lines_of(found):
        click.echo(line)
    click.echo(f"wrote {paths[0]} and {paths[1]}", err=True)


@click.command()
@click.option("--table", "table", type=_FILE, help="The file. Default: times.sqlite in the user's cache folder.")
@click.option(
    "--merge", type=click.Path(dir_okay=False, path_type=Path), multiple=True, help="Take over what another file has. Repeatable."
)
@output_options(FORMATS)
def tables(table: Path | None, merge: tuple[Path, ...], style: Any, output: Path | None) -> None:
    """List what a table of measured times holds; with --merge, take over what others measured."""
    from flopscope.latency.table.store import Store
    from flopscope.report.text import render

    with Store(table_path(table), create=bool(merge)) as store:
        for path in merge:
            with Store(path) as other:
                click.echo(f"{store.merge(other)} times are new from {path}", err=True)
        found = [
            [setting.machine, setting.runtime, setting.version, setting.threads, count, len(store.wholes(setting))]
            for setting, count in store.settings()
        ]
    headers = ["machine", "runtime", "version", "threads", "ops", "whole models"]
    if style == "json":
        import json

        emit(json.dumps([dict(zip(headers, row, strict=True)) for row in found], indent=2) + "\n", output)
        return
    emit(render(headers, found, style, 3), output)


@click.command()
@setting_options
@click.option("--output", "-o", type=_FILE, required=True, help="Where to write the predictor, as JSON.")
def learn(table: Path | None, runtime: str, threads: int, output: Path) -> None:
    """Learn a predictor of times from the ops that were measured on this machine; flopscope latency --predictor uses it."""
    from flopscope.latency.table.learning import learned
    from flopscope.latency.table.setting import Setting
    from flopscope.latency.table.source import MeasuredOps
    from flopscope.latency.table.store import Store

    with Store(table_path(table)) as store, patience("learning"):
        predictor = learned(MeasuredOps.read(store, Setting.here(runtime, threads)))
    predictor.save(output)
    click.echo(f"learned from {predictor.trained_on['rows']} ops, wrote {output}", err=True)


def table_path(given: Path | None) -> Path:
    """The file that was asked for, or the user's own."""
    from flopscope.latency.user_files import user_folder

    return given if given is not None else user_folder() / "times.sqlite"


def written(found: Any, style: str, by: Any, depth: int | None) -> str:
    """The latency of a model in one of the formats."""
    if style == "json":
        return str(found.to_json())
    if style == "csv":
        return str(found.to_csv(by, depth=depth))
    depth = 3 if depth is None else depth
    if style == "table":
        return str(found.to_text(by, depth=depth))
    return str(found.to_markdown(by, depth=depth) if style == "markdown" else found.to_table(by, style, depth=depth))


def check_one(**given: Any) -> None:
    """See that just one of some options is given.

    Raises:
        OptionError: none is, or several are.
    """
    names = [f"--{name}" for name, value in given.items() if value is not None]
    if len(names) != 1:
        options = ", ".join(f"--{name}" for name in given)
        raise OptionError(f"times come from one source: give one of {options}, not {' and '.join(names) or 'none'}")
