"""``flopscope fit``: the largest batch, sequence or resolution that fits into a given memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flopscope.cli.asking import Asked, model_options, output_options
from flopscope.cli.output import emit, patience
from flopscope.cli.train import TrainingAsked, training_options
from flopscope.errors import OptionError

if TYPE_CHECKING:
    from flopscope.analyses.memory.fit import Measured
    from flopscope.analyses.memory.storages import Storage
    from flopscope.graph import Graph
    from flopscope.report import Report
    from flopscope.report.training import Training

FORMATS = ("table", "json")
Model = tuple["Callable[[int], Measured]", int, tuple[str, ...]]
"""The memory at a size, a size that the model takes, and notes on how it was built."""
_TENSORS_ALONE = (
    "live tensors are counted, and neither the scratch memory of kernels nor what an allocator rounds up: keep some back with --reserve"
)


@click.command()
@click.argument("spec")
@click.option("--memory", required=True, metavar="SIZE", help="What there is, such as 24GB (24 x 10^9 bytes) or 24GiB (24 x 2^30).")
@click.option("--reserve", default="0", metavar="SIZE", help="What to keep back of it, such as 1GiB. Default: nothing.")
@click.option(
    "--over",
    default="batch",
    show_default=True,
    metavar="WHAT",
    help="What grows: batch, sequence, resolution, NAME:DIM (one dimension of an input), or a dimension of an ONNX model.",
)
@click.option("--step", type=click.IntRange(min=1), default=None, help="Try multiples of it alone. Default: 1, or 32 for resolution.")
@click.option("--most", type=click.IntRange(min=1), default=None, help="The largest size to ask for. Default: 2^20.")
@click.option("--train", "training_step", is_flag=True, help="A training step in place of inference.")
@model_options
@training_options
@output_options(FORMATS)
def fit(
    spec: str,
    memory: str,
    reserve: str,
    over: str,
    step: int | None,
    most: int | None,
    training_step: bool,
    asked: Asked,
    training: TrainingAsked,
    style: str,
    output: Path | None,
) -> None:
    """Tell the largest batch, sequence or resolution at which the model of a SPEC fits into a given memory."""
    from flopscope.analyses.memory.fit import MOST, largest
    from flopscope.frontends.onnx import names_onnx
    from flopscope.report.fit import fit_dict, fit_text

    most = MOST if most is None else most
    available, kept = _bytes(memory, "--memory"), _bytes(reserve, "--reserve")
    if not available:
        raise OptionError(f"nothing fits into --memory {memory}; give an amount such as 24GiB")
    if kept >= available:
        raise OptionError(f"--reserve {reserve} keeps back all of --memory {memory}")
    step = step if step is not None else 32 if over == "resolution" else 1
    if most < step:
        raise OptionError(f"--most {most} is less than one --step {step}")
    with patience(f"fitting {spec}"):
        if names_onnx(spec):
            measure, base, notes = _onnx(spec, asked, over, training_step)
        else:
            measure, base, notes = _torch(spec, asked, over, training if training_step else None)
        found = largest(measure, available - kept, base=base, step=step, most=most)
        name = f"training {spec}" if training_step else spec
        if style == "json":
            text = json.dumps(fit_dict(found, name, over, kept, (*notes, _TENSORS_ALONE)), indent=2) + "\n"
        else:
            text = fit_text(found, name, over, kept, (*notes, _TENSORS_ALONE))
    emit(text, output)


def _bytes(text: str, option: str) -> int:
    from flopscope.report.quantities import parse_bytes

    try:
        return parse_bytes(text)
    except OptionError as error:
        raise OptionError(f"{option}: {error}") from None


def _onnx(spec: str, asked: Asked, over: str, training_step: bool) -> Model:
    if training_step:
        raise OptionError(f"{spec!r} is an ONNX file, which holds a forward pass alone; fit the training of the PyTorch model")
    if asked.asks_for_formula:
        raise OptionError(
            f"fit looks for the size of {over}; the other dimensions need one size each, but {', '.join(asked.dims)} was asked for"
        )
    return lambda size: of_report(replace(asked, dims=(*asked.dims, f"{over}={size}")).report(spec)), 1, ()


def _torch(spec: str, asked: Asked, over: str, training: TrainingAsked | None) -> Model:
    if asked.phase is not None:
        return _phase(spec, asked, over, training)
    if over == "batch" and asked.batch is not None:
        raise OptionError(f"fit looks for the batch, but --batch {asked.batch} gives it; use --over sequence or another, or leave it out")
    from flopscope.frontends.sources.trainable import for_training
    from flopscope.relax.resized import resized

    loaded = asked.load(spec)
    if training is not None:
        loaded, _ = for_training(loaded, training.frozen)
    sizes = resized(loaded.model, loaded.args, loaded.kwargs, over)

    def measure(size: int) -> Measured:
        import flopscope

        args, kwargs = sizes.at(size)
        if training is None:
            return of_report(flopscope.analyze(loaded.model, *args, attention=asked.attention, **kwargs))
        return of_training(flopscope.training(loaded.model, *args, **training.options, **kwargs))

    own = loaded.input_note
    return measure, sizes.base, (*loaded.notes, *([own] if own else []))


def _phase(spec: str, asked: Asked, over: str, training: TrainingAsked | None) -> Model:
    """A phase of generation makes its own inputs."""
    fields = {"batch": "batch", "sequence": "context", "context": "context"}
    if over not in fields or training is not None:
        what = "is no training step" if training is not None else f"grows over batch or context, but --over {over} was asked for"
        raise OptionError(f"a phase of generation {what}")
    own = asked.batch if fields[over] == "batch" else asked.context
    if own is not None:
        raise OptionError(f"fit looks for the {over}, but --{fields[over]} {own} gives it; leave it out")
    return lambda size: of_report(replace(asked, **{fields[over]: size}).report(spec)), 1 if over == "batch" else 128, ()


def of_report(report: Report) -> Measured:
    """The memory of one call of a model."""
    from flopscope.analyses.memory.fit import Measured
    from flopscope.analyses.memory.storages import storages

    memory = report.memory
    constant = memory.total_bytes - memory.peak_bytes
    return Measured(storages(report.graph), len(report.graph.ops), constant, lambda piece: _name_of(report.graph, piece))


def of_training(training: Training) -> Measured:
    """The memory of a training step: forward, backward, and then, as one op more, the step of the optimizer."""
    from flopscope.analyses.memory.fit import Measured
    from flopscope.analyses.memory.storages import Storage
    from flopscope.graph import TensorType

    memory, graph = training.memory, training.graph
    ops = len(graph.ops)
    pieces = [replace(piece, died=ops + 2) if piece.died > ops else piece for piece in memory.pieces]
    of_optimizer = TensorType.of((memory.optimizer_step_bytes,), "uint8")
    pieces.append(Storage(-1, memory.optimizer_step_bytes, ops, ops + 1, "result", ops, "the step of the optimizer", of_optimizer))
    return Measured(pieces, ops + 1, memory.held_bytes, lambda piece: _name_of(graph, piece))


def _name_of(graph: Graph, piece: Storage) -> str:
    if piece.producer is None or piece.producer >= len(graph.ops):
        return piece.what or (f"input {piece.name}" if piece.role == "input" and piece.name else piece.name or piece.role)
    op: Any = graph.ops[piece.producer]
    shape = "x".join(map(str, piece.type.shape)) or "scalar"
    return f"{piece.type.dtype} {shape} of {op.target}{f' in {op.scope}' if op.scope else ''}"
