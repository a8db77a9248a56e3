"""What every command that asks about models shares: how a model is built and counted, and where the answer goes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flopscope.cli.settings import parse_settings
from flopscope.errors import OptionError

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
    click.option("--batch", type=click.IntRange(min=1), default=None, help="Dimension 0 of every input. Default: 1."),
    click.option(
        "--cache", type=click.Choice(("dynamic", "static")), default=None,
        help="A cache of what was read, or buffers for it all. Default: dynamic.",
    ),
    click.option(
        "--dim", "dims", multiple=True, metavar="NAME=SIZE",
        help="Size of a dynamic dimension of an ONNX model, such as batch=8. Sizes (1..64) or a letter give a formula. Repeatable.",
    ),
    click.option(
        "--branch", type=click.Choice(("costlier", "then", "else")), default="costlier", show_default=True,
        help="Which branch of an ONNX If counts whose condition only data knows.",
    ),
    click.option("--check", is_flag=True, help="Look whether an ONNX model's weights outside its file are there, and long enough."),
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
    dims: Sequence[str]
    branch: Any
    check: bool

    def load(self, spec: str) -> Any:
        """The model of a SPEC with its inputs.

        Raises:
            FlopscopeError: it cannot be built.
        """
        import flopscope

        if self.dims:
            raise OptionError(f"--dim names dimensions of ONNX models, but {spec!r} is none; give shapes with --input")
        settings = parse_settings(self.settings)
        batch = self.batch if self.phase is not None else None
        loaded = flopscope.load(spec, settings, self.inputs, phase=self.phase, context=self.context, batch=batch, cache=self.cache)
        return loaded if self.batch is None or self.phase is not None else self._batched(loaded, self.batch)

    def _batched(self, loaded: Any, batch: int) -> Any:
        """The same model on so many of its inputs.

        Raises:
            InputError: its inputs have no common batch.
            OptionError: their shapes were given with another one.
        """
        from dataclasses import replace

        from flopscope.relax.resized import resized

        over = resized(loaded.model, loaded.args, loaded.kwargs, "batch")
        if self.inputs and over.base not in (1, batch):
            raise OptionError(
                f"--batch {batch} and --input {' '.join(self.inputs)} name two batches; give --input a batch of 1, or no --batch"
            )
        args, kwargs = over.at(batch)
        return replace(loaded, args=args, kwargs=kwargs, notes=(*loaded.notes, f"inputs: a batch of {batch}"))

    def report(self, spec: str, *, strict: bool = False) -> Report:
        """The report of the model of a SPEC.

        Raises:
            FlopscopeError: the model cannot be built or analysed.
        """
        import flopscope
        from flopscope.frontends.onnx import names_onnx

        if names_onnx(spec):
            return flopscope.analyze(spec, *self.inputs, strict=strict, **self._of_onnx(spec))
        loaded = self.load(spec)
        report = flopscope.analyze(loaded.model, *loaded.args, strict=strict, attention=self.attention, **loaded.kwargs)
        noted: Report = loaded.noted(report)
        return noted

    def save_shapes(self, spec: str, output: Path) -> Path:
        """Write an ONNX model again with its inferred shapes.

        Raises:
            FlopscopeError: the model is no ONNX file, or cannot be written.
        """
        from flopscope.frontends.onnx.saving import save_shapes

        save_shapes(spec, output, self.inputs, dims=self._of_onnx(spec)["dims"])
        return output

    def over_sizes(self, spec: str, style: Any, exact: bool, others: Sequence[str] = ()) -> str:
        """The MACs over ranges of dimensions and their formula, or the formulas of all metrics in letters.

        Raises:
            FlopscopeError: the model is no ONNX file, or has no formula.
        """
        from flopscope.cli.sweep import named_grid, sweep_onnx, written

        self._of_onnx(spec, with_dims=False)
        refused = [*others, *(["--check"] if self.check else [])]
        if refused:
            raise OptionError(f"over several sizes only MACs are listed: {', '.join(refused)} needs one size, as in --dim batch=1")
        if self.symbols:
            return self._formulas(spec, style)
        return written(sweep_onnx(spec, self.inputs, named_grid(self.dims), "macs", self.branch), style, exact)

    @property
    def symbols(self) -> dict[str, str]:
        """The dimensions that were given a letter in place of a size, by the letter."""
        pairs = [text.partition("=") for text in self.dims]
        return {symbol.strip(): name.strip() for name, _, symbol in pairs if symbol.strip().isidentifier()}

    @property
    def asks_for_formula(self) -> bool:
        """Whether a dimension has several sizes, or a letter."""
        return bool(self.symbols) or any(".." in text or "," in text for text in self.dims)

    def _formulas(self, spec: str, style: Any) -> str:
        """The formulas of all metrics in the letters that dimensions were given."""
        import json

        import flopscope
        from flopscope.cost import METRICS
        from flopscope.frontends.onnx.inputs import parse_dims

        if style not in ("table", "json"):
            raise OptionError(f"formulas are written as text or JSON, but --format {style} was asked for")
        symbols = self.symbols
        letters = [text.partition("=")[2].strip() for text in self.dims]
        if len(set(letters) & set(symbols)) < sum(letter in symbols for letter in letters):
            raise OptionError(f"two dimensions have the same letter: {', '.join(self.dims)}; choose one for each")
        fixed = parse_dims([text for text, letter in zip(self.dims, letters, strict=True) if letter not in symbols])
        form = flopscope.closed_form(spec, *self.inputs, symbols=symbols, dims=fixed, branch=self.branch)
        if style == "json":
            facts = {"model": spec, "symbols": symbols, "formulas": {metric: str(form(metric)) for metric in METRICS}}
            return json.dumps({**facts, "conditions": form.conditions, "notes": list(form.notes)}, indent=2) + "\n"
        return f"{form}\n"

    def _of_onnx(self, spec: str, *, with_dims: bool = True) -> dict[str, Any]:
        """The options that an ONNX model knows.

        Raises:
            OptionError: others were given.
        """
        from flopscope.frontends.onnx import names_onnx
        from flopscope.frontends.onnx.inputs import parse_dims

        if not names_onnx(spec):
            raise OptionError(f"--dim names dimensions of ONNX models, but {spec!r} is none; give shapes with --input")
        others = {"--set": self.settings, "--phase": self.phase, "--context": self.context, "--batch": self.batch, "--cache": self.cache}
        given = [name for name, value in others.items() if value]
        if given:
            raise OptionError(f"{', '.join(given)} is for PyTorch models, but {spec!r} is an ONNX file; give sizes with --dim or --input")
        return {"attention": self.attention, "dims": parse_dims(self.dims) if with_dims else {}, "branch": self.branch, "check": self.check}


def model_options(command: Command) -> Command:
    """The options that say how a model is built and counted; the command gets them as one argument, ``asked``."""
    names = Asked.__dataclass_fields__

    @functools.wraps(command)
    def collected(**given: Any) -> Any:
        asked = Asked(**{name: given.pop(name) for name in names})
        return command(asked=asked, **given)

    return with_options(_MODEL_OPTIONS, collected)


def output_options(formats: Sequence[str]) -> Callable[[Command], Command]:
    """The options that say where the answer goes, and how it is written."""
    style = click.option(
        "--format", "style", type=click.Choice(formats), default="table", show_default=True, help="How to write the result."
    )
    output = click.option(
        "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead of the terminal."
    )
    return lambda command: with_options((style, output), command)


def with_options(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    """A command with more options, in this order."""
    for option in reversed(options):
        command = option(command)
    return command
