"""``flopscope sweep``: the cost of a model over batch sizes, sequence lengths, resolutions and widths, from one formula."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flopscope.cli.output import emit, patience
from flopscope.cli.settings import parse_settings
from flopscope.cost import METRICS
from flopscope.errors import InputError, OptionError

if TYPE_CHECKING:
    from flopscope.report.sweep import Sweep

MOST_POINTS = 10_000
_MOST_COLUMNS = 12
_LONGEST_PART = 60
_PART = re.compile(r"(\d+)(?:\.\.(\d+)(?:\+(\d+))?)?")
_HEADERS = {"macs": "MACs", "flops": "FLOPs", "params": "params", "access": "access", "access_bytes": "access bytes"}
FORMATS = ("table", "markdown", "latex", "csv", "json")


@click.command()
@click.argument("spec")
@click.option("--batch", metavar="SIZES", help="Batch sizes: dimension 0 of every tensor input.")
@click.option("--seq", metavar="SIZES", help="Sequence lengths: dimension 1 of every integer input.")
@click.option("--resolution", metavar="SIZES", help="Image sizes: dimensions 2 and 3 of every 4-d floating-point input.")
@click.option(
    "--width", "widths", multiple=True, metavar="LAYER=SIZES", help="Channels that a layer and all that share them have. Repeatable."
)
@click.option("--dim", "dims", multiple=True, metavar="NAME=SIZES", help="Sizes of a dynamic dimension of an ONNX model. Repeatable.")
@click.option("--metric", type=click.Choice(METRICS), default="macs", show_default=True, help="What to count.")
@click.option(
    "--input", "-i", "inputs", multiple=True, metavar="[NAME=]SHAPE[:DTYPE]", help="Shape of an input, from which others are tried."
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Argument of the factory, field of the config.")
@click.option("--format", "style", type=click.Choice(FORMATS), default="table", show_default=True, help="How to write the result.")
@click.option("--exact", is_flag=True, help="Write counts in full instead of with four digits.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the result into a .png, .svg or .pdf file too.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead of the terminal.")
def sweep(
    spec: str,
    batch: str | None,
    seq: str | None,
    resolution: str | None,
    widths: Sequence[str],
    dims: Sequence[str],
    metric: str,
    inputs: Sequence[str],
    settings: Sequence[str],
    style: str,
    exact: bool,
    plot: Path | None,
    output: Path | None,
) -> None:
    """Tell what the model of a SPEC costs over many input sizes or widths, and by which formula.

    SIZES are numbers and ranges with commas between them: 128..4096 doubles from 128 up to 4096, 128..224+32 takes every 32nd.
    """
    asked = {"B": ("batch", batch), "S": ("seq", seq), "R": ("resolution", resolution)}
    grid = {symbol: parse_sizes(text, f"--{option}") for symbol, (option, text) in asked.items() if text is not None}
    layers = _named_widths(widths)
    grid |= {symbol: sizes for symbol, (_, sizes) in layers.items()}
    from flopscope.frontends.onnx import names_onnx

    if names_onnx(spec):
        if grid or settings:
            raise OptionError(f"{spec!r} is an ONNX file: give its dimensions by name, as in --dim batch=1..64")
        grid = named_grid(dims)
    elif dims:
        raise OptionError(f"--dim names dimensions of ONNX models, but {spec!r} is none; use --batch, --seq or --resolution")
    if not grid and names_onnx(spec):
        raise OptionError("give sizes to sweep over with --dim, as in --dim batch=1..64")
    if not grid:
        raise OptionError("give sizes to sweep over with --batch, --seq, --resolution or --width, as in --batch 1,8,64 --seq 128..4096")
    points = 1
    for sizes in grid.values():
        points *= len(sizes)
    if points > MOST_POINTS:
        raise OptionError(f"{points:,} points were asked for, and {MOST_POINTS:,} are the most; use fewer sizes or larger steps")
    if plot is not None:
        from flopscope.report.plot import check_plot

        check_plot(plot)
    with patience(f"finding the formula of {spec}"):
        if names_onnx(spec):
            found = sweep_onnx(spec, inputs, grid, metric)
        else:
            places = {symbol: layer for symbol, (layer, _) in layers.items()}
            found = _sweep(spec, parse_settings(settings), inputs, grid, metric, places)
        text = written(found, style, exact)
        if plot is not None:
            from flopscope.report.plot import draw

            draw(found, plot)
    emit(text, output)
    if plot is not None:
        click.echo(f"wrote {plot}", err=True)


def parse_sizes(text: str, option: str) -> list[int]:
    """The sizes that a list names, each once, in order.

    ``A..B`` doubles from A as long as B is not passed, and ends with B; ``A..B+STEP`` takes A and every STEP-th size after it, up to B.

    Raises:
        OptionError: the list is empty, a part is no number or range, a size is zero, a range is reversed, or there are too many sizes.
    """

    def wrong(reason: str) -> OptionError:
        return OptionError(f"{option} {text!r}: {reason}; expected sizes and ranges, as in 1,8,64 or 128..4096 or 128..224+32")

    found: set[int] = set()
    if not text.strip():
        raise wrong("it names no size")
    for part in (part.strip() for part in text.split(",")):
        match = _PART.fullmatch(part)
        if match is None or len(part) > _LONGEST_PART:
            raise wrong(f"{part!r} is no positive number and no range")
        first, last, step = (None if group is None else int(group) for group in match.groups())
        assert first is not None
        if first == 0 or step == 0:
            raise wrong(f"{part!r} has a zero, and sizes and steps begin at 1")
        if last is not None and last < first:
            raise wrong(f"{part!r} runs backwards")
        if last is None:
            found.add(first)
        elif step is not None:
            if (last - first) // step >= MOST_POINTS:
                raise wrong(f"{part!r} has more than {MOST_POINTS:,} sizes")
            found.update(range(first, last + 1, step))
        else:
            found.update(first << doublings for doublings in range((last // first).bit_length()))
            found.add(last)
    return sorted(found)


def _named_widths(texts: Sequence[str]) -> dict[str, tuple[str, list[int]]]:
    """``layer1.0.conv1=32..128`` and the like: the layer and the sizes by symbol, which is W, or W1, W2, ... for several.

    Raises:
        OptionError: a text cannot be read, or names a layer twice.
    """
    found: dict[str, tuple[str, list[int]]] = {}
    for i, text in enumerate(texts):
        layer, equals, sizes = text.partition("=")
        if not equals or not layer.strip():
            raise OptionError(f"--width {text!r} is not LAYER=SIZES, as in --width layer1.0.conv1=32..128")
        if layer.strip() in [other for other, _ in found.values()]:
            raise OptionError(f"--width gives {layer.strip()!r} twice")
        found["W" if len(texts) == 1 else f"W{i + 1}"] = (layer.strip(), parse_sizes(sizes, "--width"))
    return found


def _sweep(
    spec: str,
    settings: Mapping[str, Any],
    inputs: Sequence[str],
    grid: Mapping[str, Sequence[int]],
    metric: str,
    layers: Mapping[str, str],
) -> Sweep:
    import flopscope
    from flopscope.report.sweep import over

    loaded = flopscope.load(spec, settings, inputs)
    symbols: dict[str, Any] = {}
    if "B" in grid:
        symbols["B"] = 0
    if "S" in grid:
        symbols["S"] = _places(loaded, 1, lambda tensor: tensor.dim() >= 2 and not tensor.is_floating_point())
        if not symbols["S"]:
            raise InputError(f"{spec} has no sequence input: none of its inputs is a tensor of integers with two dimensions")
    if "R" in grid:
        symbols["R"] = _places(loaded, (2, 3), lambda tensor: tensor.dim() == 4 and tensor.is_floating_point())
        if not symbols["R"]:
            raise InputError(f"{spec} has no image input: none of its inputs is a floating-point tensor with four dimensions")
    return over(spec, loaded, {**symbols, **layers}, grid, metric)


def named_grid(texts: Sequence[str]) -> dict[str, list[int]]:
    """``batch=1..64`` and the like, as sizes by name.

    Raises:
        OptionError: a text cannot be read.
    """
    return {name: parse_sizes(sizes, "--dim") for name, sizes in map(_named_sizes, texts)}


def _named_sizes(text: str) -> tuple[str, str]:
    name, equals, sizes = text.partition("=")
    if not equals or not name.strip():
        raise OptionError(f"--dim {text!r} is not NAME=SIZES, as in --dim batch=1..64")
    return name.strip(), sizes


def sweep_onnx(spec: str, inputs: Sequence[str], grid: Mapping[str, Sequence[int]], metric: str, branch: Any = "costlier") -> Sweep:
    """A metric of an ONNX model over sizes of its dynamic dimensions."""
    from flopscope.relax.closed.onnx_form import OnnxSampler, form_of
    from flopscope.report.sweep import over_form

    symbols = {_symbol(name): name for name in grid}
    if len(symbols) < len(grid):
        raise OptionError(f"two dimensions get the same symbol: {', '.join(grid)}")
    fixed = {name: sizes[0] for name, sizes in grid.items() if len(sizes) == 1}
    varying = {symbol: name for symbol, name in symbols.items() if name not in fixed} or symbols
    sampler = OnnxSampler(spec, inputs, varying, {name: size for name, size in fixed.items() if name not in varying.values()}, branch)
    form = form_of(sampler)
    return over_form(spec, form, sampler, {symbol: grid[name] for symbol, name in varying.items()}, metric, ())


def _symbol(name: str) -> str:
    """A name of a dimension as a symbol: letters, digits and underscores."""
    found = re.sub(r"\W", "_", name)
    return found if found.isidentifier() else f"_{found}"


def _places(loaded: Any, dims: Any, fits: Any) -> dict[int | str, Any]:
    """The inputs that fit, by position or name, each with the dimensions."""
    import torch

    items = [*enumerate(loaded.args), *loaded.kwargs.items()]
    return {key: dims for key, item in items if isinstance(item, torch.Tensor) and fits(item)}


# -- writing ------------------------------------------------------------------------------------------------------


def written(found: Sweep, style: Any, exact: bool) -> str:
    """A sweep in one of the formats."""
    from flopscope.report.text import render

    if style == "json":
        return json.dumps(found.to_dict(), indent=2) + "\n"
    if style == "csv":
        return render([*found.grid, found.metric], [[*sizes.values(), count] for sizes, count in found.rows()], "csv")
    headers, rows = _matrix(found, exact) or _list(found, exact)
    formula = {"table": found.formula, "markdown": f"`{found.formula}`", "latex": f"% {found.formula}"}[style]
    before, after = ("", "") if style == "table" else ("", "\n") if style == "markdown" else ("% ", "")
    notes = [f"{before}note: {note}{after}" for note in found.notes]
    title = f"{before}{found.title}{after}"
    return "\n".join([title, formula, "", render(headers, rows, style), *notes]).rstrip("\n") + "\n"


def _cell(count: int, metric: str, exact: bool) -> str:
    from flopscope.report.text import si

    return f"{count:,}" if exact else si(count, "B" if metric == "access_bytes" else "")


def _matrix(found: Sweep, exact: bool) -> tuple[list[str], list[list[str]]] | None:
    """Rows and columns for two symbols that vary, the longer one downwards; nothing where a list is better."""
    varying = sorted((name for name, sizes in found.grid.items() if len(sizes) > 1), key=lambda name: -len(found.grid[name]))
    if len(varying) != 2 or len(found.grid[varying[1]]) > _MOST_COLUMNS:
        return None
    down, across = varying
    counts = {(sizes[down], sizes[across]): count for sizes, count in found.rows()}
    headers = [_HEADERS[found.metric], *(f"{across} = {size}" for size in found.grid[across])]
    cells = {key: found.mark + _cell(count, found.metric, exact) for key, count in counts.items()}
    return headers, [[f"{down} = {row}", *(cells[row, column] for column in found.grid[across])] for row in found.grid[down]]


def _list(found: Sweep, exact: bool) -> tuple[list[str], list[list[Any]]]:
    varying = [name for name, sizes in found.grid.items() if len(sizes) > 1]  # the title tells the others
    rows = [[*(sizes[name] for name in varying), found.mark + _cell(count, found.metric, exact)] for sizes, count in found.rows()]
    return [*varying, _HEADERS[found.metric]], rows
