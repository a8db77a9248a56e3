"""``flopscope train``: what a training step costs, phase by phase, and what it holds in memory."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flopscope.cli.asking import Asked, Command, model_options, output_options, with_options
from flopscope.cli.output import emit, patience
from flopscope.errors import OptionError

if TYPE_CHECKING:
    from flopscope.report.training import Training

FORMATS = ("table", "markdown", "latex", "csv", "json")

_TRAINING_OPTIONS = (
    click.option("--optimizer", default="adamw", show_default=True, metavar="NAME[:SETTING=VALUE,...]",
                 help="sgd, momentum, adam, adamw, adafactor, adam8bit, ... such as sgd:momentum=0.9."),
    click.option("--amp", type=click.Choice(("bf16", "fp16")), default=None, help="Mixed precision, as torch.autocast does it."),
    click.option("--accumulate", type=click.IntRange(min=1), default=1, show_default=True, help="Passes per step of the optimizer."),
    click.option("--checkpoint", multiple=True, metavar="PATH",
                 help="Modules whose activations are computed again, such as 'layers.*'; auto: the repeated blocks. Repeatable."),
    click.option("--shards", type=click.IntRange(min=1), default=1, show_default=True, help="Devices that train together."),
    click.option("--shard-strategy", type=click.Choice(("ddp", "zero1", "zero2", "fsdp")), default="fsdp", show_default=True,
                 help="What the devices divide."),
    click.option("--frozen", multiple=True, metavar="PATTERN", help="Parameters that are not trained, such as 'features.*'. Repeatable."),
)  # fmt: skip


@dataclass(frozen=True)
class TrainingAsked:
    """How a model is trained."""

    optimizer: str
    amp: Any
    accumulate: int
    checkpoint: Sequence[str]
    shards: int
    shard_strategy: Any
    frozen: Sequence[str]

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `flopscope.training`."""
        own = {"optimizer": self.optimizer, "amp": self.amp, "accumulate": self.accumulate, "checkpoint": self.checkpoint}
        return {**own, "shards": self.shards, "strategy": self.shard_strategy}

    def step(self, asked: Asked, spec: str) -> Training:
        """The training step of the model of a SPEC, in training mode.

        Raises:
            FlopscopeError: the model cannot be built or trained.
        """
        import flopscope
        from flopscope.frontends.onnx import names_onnx
        from flopscope.frontends.sources.trainable import for_training

        if names_onnx(spec):
            raise OptionError(f"{spec!r} is an ONNX file, which holds a forward pass alone; analyse the training of the PyTorch model")
        loaded, model = for_training(asked.load(spec), self.frozen)
        found: Training = flopscope.training(model, *loaded.args, **self.options, **loaded.kwargs)
        return loaded.noted(found)


def training_options(command: Command) -> Command:
    """Add the options that say how a model is trained; the command gets them as ``training``."""
    names = TrainingAsked.__dataclass_fields__

    @functools.wraps(command)
    def collected(**given: Any) -> Any:
        training = TrainingAsked(**{name: given.pop(name) for name in names})
        return command(training=training, **given)

    return with_options(_TRAINING_OPTIONS, collected)


@click.command()
@click.argument("spec")
@model_options
@training_options
@output_options(FORMATS)
@click.option("--exact", is_flag=True, help="Write counts in full instead of with four digits.")
@click.option("--depth", type=click.IntRange(min=0), default=None, help="Deepest level of modules. Default: 2, or all in csv.")
def train(spec: str, asked: Asked, training: TrainingAsked, style: str, output: Path | None, exact: bool, depth: int | None) -> None:
    """Tell what a training step of the model of a SPEC costs: FLOPs of each phase, and memory."""
    with patience(f"tracing a step of {spec}"):
        step = training.step(asked, spec)
        if style == "json":
            text = step.to_json()
        elif style == "csv":
            text = step.to_csv(depth=depth)
        elif style == "latex":
            text = step.to_table("latex", depth=2 if depth is None else depth, exact=exact)
        else:
            write = step.to_text if style == "table" else step.to_markdown
            text = write(depth=2 if depth is None else depth, exact=exact)
    emit(text, output)
