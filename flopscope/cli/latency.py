"""``flopscope latency``, ``energy`` and ``devices``: how long a model takes on a device, and how much energy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from flopscope.cli.asking import Asked, Command, model_options, output_options, with_options
from flopscope.cli.measure import check_one, written
from flopscope.cli.output import emit, patience
from flopscope.errors import OptionError

FORMATS = ("table", "markdown", "latex", "csv", "json")
_GRID = re.compile(r"(?P<grams>\d+(?:\.\d+)?(?:e\d+)?)\s*(?:g(?:\s*/\s*kwh)?)?", re.IGNORECASE)
_LONGEST = 40

_DEVICE_HELP = "A name that flopscope devices lists, or a file such as my.toml."
_DEVICE_OPTIONS = (
    click.option(
        "--ceilings", type=click.Path(dir_okay=False, path_type=Path), help="What the device achieves: a JSON file from a calibration."
    ),
    click.option("--amp", type=click.Choice(("float16", "bfloat16")), default=None, help="Mixed precision, as autocast does it on a GPU."),
)


_FUSING = click.option(
    "--runtime", type=click.Choice(("eager", "compile")), default="eager", show_default=True, help="compile fuses elementwise ops."
)
_RUNNING = click.option(
    "--runtime", type=click.Choice(("eager", "compile", "onnxruntime")), default="eager", show_default=True,
    help="compile fuses elementwise ops; onnxruntime is for tables and predictors.",
)  # fmt: skip
_SOURCE_OPTIONS = (
    click.option("--device", "device_name", metavar="DEVICE", help=_DEVICE_HELP),
    *_DEVICE_OPTIONS,
    _RUNNING,
    click.option("--table", "table", type=click.Path(dir_okay=False, path_type=Path), help="Measured times: a file of flopscope measure."),
    click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of a table: the threads."),
    click.option("--machine", metavar="NAME", help="Of a table: the machine, as flopscope tables lists it. Default: this one."),
    click.option("--predictor", type=click.Path(dir_okay=False, path_type=Path), help="A predictor: a file of flopscope learn."),
)


def _source_options(command: Command) -> Command:
    return with_options(_SOURCE_OPTIONS, command)


def _device_options(command: Command) -> Command:
    return with_options((*_DEVICE_OPTIONS, _FUSING), command)


@click.command()
@click.argument("spec")
@_source_options
@model_options
@output_options(FORMATS)
@click.option("--by", type=click.Choice(("module", "op", "kind")), default="module", show_default=True, help="What a row is.")
@click.option(
    "--depth", type=click.IntRange(min=0), default=None, help="Deepest level of modules to list. Default: 3, or all in csv and json."
)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the roofline into a .png, .svg or .pdf file too.")
def latency(
    spec: str,
    device_name: str | None,
    ceilings: Path | None,
    runtime: Any,
    amp: Any,
    table: Path | None,
    threads: int,
    machine: str | None,
    predictor: Path | None,
    asked: Asked,
    style: str,
    output: Path | None,
    by: Any,
    depth: int | None,
    plot: Path | None,
) -> None:
    """Tell how long the model of a SPEC takes, with an error bar: on a device, by measured ops, or by a predictor learned from some."""
    if plot is not None:
        from flopscope.report.plot import check_plot

        check_plot(plot)
    check_one(device=device_name, table=table, predictor=predictor)
    _check_roofline(device_name, ceilings, runtime, amp, plot)
    with patience(f"analysing {spec}"):
        if device_name is not None:
            found = _on(spec, asked, device_name, ceilings, runtime, amp, lambda report: report.latency)
        else:
            found = _by_measurements(spec, asked, table, predictor, runtime, threads, machine)
        text = written(found, style, "op" if runtime == "onnxruntime" and by == "module" else by, depth)
        if plot is not None:
            from flopscope.report.plot import draw_roofline

            draw_roofline(found, plot)
    emit(text, output)
    if plot is not None:
        click.echo(f"wrote {plot}", err=True)


@click.command()
@click.argument("spec")
@click.option("--device", "device_name", required=True, metavar="DEVICE", help=_DEVICE_HELP)
@_device_options
@model_options
@output_options(("table", "json"))
@click.option("--grid", metavar="GRAMS", help="CO2 equivalent per kilowatt-hour of the grid, such as 400g/kWh: adds the carbon.")
def energy(
    spec: str,
    device_name: str,
    ceilings: Path | None,
    runtime: Any,
    amp: Any,
    asked: Asked,
    style: str,
    output: Path | None,
    grid: str | None,
) -> None:
    """Tell how much energy the model of a SPEC takes on a device, between two bounds, and the carbon of that."""
    grams = None if grid is None else parse_grid(grid)
    with patience(f"analysing {spec}"):
        found = _on(spec, asked, device_name, ceilings, runtime, amp, lambda report: report.energy)
        text = found.to_json(grams) if style == "json" else found.to_text(grams)
    emit(text, output)


@click.command()
@output_options(FORMATS)
def devices(style: Any, output: Path | None) -> None:
    """List the devices that flopscope knows, with their peaks."""
    from flopscope.report.devices import devices_json, devices_table

    emit(devices_json() if style == "json" else devices_table(style), output)


def parse_grid(text: str) -> float:
    """The grams per kilowatt-hour of ``400g/kWh``, ``400g`` or ``400``.

    Raises:
        OptionError: the text is no carbon intensity.
    """
    match = _GRID.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if match is None:
        raise OptionError(
            f"--grid {text[:_LONGEST]!r} is no carbon intensity: expected grams of CO2 equivalent for a kWh, such as 400g/kWh"
        )
    return float(match["grams"])


def _on(
    spec: str, asked: Asked, device_name: str, ceilings: Path | None, runtime: Any, amp: Any, ask: Callable[[Any], Callable[..., Any]]
) -> Any:
    """What a report says of a device. The device is read first, so that a wrong name is told at once."""
    from flopscope.latency.ceilings import read_ceilings
    from flopscope.latency.device import device

    if asked.asks_for_formula:
        raise OptionError(
            f"times are told for one size of each dimension, as in --dim batch=1, but was asked for with {', '.join(asked.dims)}"
        )
    described = device(device_name)
    known = None if ceilings is None else read_ceilings(ceilings)
    return ask(asked.report(spec))(described, ceilings=known, runtime=runtime, amp=amp)


def _check_roofline(device_name: str | None, ceilings: Path | None, runtime: str, amp: str | None, plot: Path | None) -> None:
    """See that what belongs to a roofline is asked of one.

    Raises:
        OptionError: it is not.
    """
    if device_name is not None and runtime == "onnxruntime":
        raise OptionError("the roofline of a device knows the runtimes eager and compile; onnxruntime needs --table or --predictor")
    given = [name for name, value in (("--ceilings", ceilings), ("--amp", amp), ("--plot", plot)) if value is not None]
    if device_name is None and given:
        raise OptionError(f"{' and '.join(given)} belong to a roofline: give a --device")


def _by_measurements(
    spec: str, asked: Asked, table: Path | None, predictor: Path | None, runtime: str, threads: int, machine: str | None
) -> Any:
    """The latency of a model by a table, or by a predictor that was learned from one."""
    from flopscope.latency.predictor import Predictor
    from flopscope.latency.table.source import MeasuredOps
    from flopscope.latency.table.store import Store
    from flopscope.report.latency import Latency
    from flopscope.report.measured_ops import graph_of

    if table is None:
        assert predictor is not None
        learned = Predictor.load(predictor)
        return Latency(graph_of(spec, asked, runtime, threads), learned)
    with Store(table) as store:
        times = MeasuredOps.read(store, store.setting(runtime, threads, machine))
    return Latency(graph_of(spec, asked, runtime, threads), times)
