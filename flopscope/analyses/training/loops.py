"""What a step takes where an optimizer works on one parameter after another, as PyTorch does on a CPU.

Each function binds names as the loop of ``torch.optim`` does: a name of one turn holds its memory until the next turn binds it again.
Numbers that become tensors of 12 bytes or less, for as long as one op runs, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flopscope.analyses.training.held import Held
from flopscope.analyses.training.settings import Settings
from flopscope.analyses.training.states import column_of, row_of
from flopscope.graph import TensorType

Step = Callable[[Held, Sequence[TensorType], Settings], None]


def sgd(held: Held, weights: Sequence[TensorType], settings: Settings, *, first: bool = False) -> None:
    """The loop of SGD. Buffers are made in the loop of the first step."""
    for number, weight in enumerate(weights):
        _gradient(held, weight, settings)
        if settings.momentum:
            if first:
                held.bind(f"buffer {number}", [weight])
            if settings.nesterov:
                held.bind("gradient", [weight])
            else:
                held.free("gradient")


def adam(held: Held, weights: Sequence[TensorType], settings: Settings) -> None:
    """The loop of Adam, AdamW and NAdam: a root or quotient, and the denominator that is made from it."""
    for weight in weights:
        _gradient(held, weight, settings)
        held.bind("root", [weight])
        held.bind("denominator", [weight])
        held.free("root")


def rmsprop(held: Held, weights: Sequence[TensorType], settings: Settings) -> None:
    """The loop of RMSprop."""
    for weight in weights:
        held.free("gradient")
        _gradient(held, weight, settings)
        held.bind("average", [weight])


def adagrad(held: Held, weights: Sequence[TensorType], settings: Settings) -> None:
    """The loop of Adagrad: its deviation takes what the average of RMSprop takes."""
    rmsprop(held, weights, settings)


def adafactor(held: Held, weights: Sequence[TensorType], settings: Settings) -> None:
    """The loop of Adafactor: the second moment is made from its factors for one parameter at a time."""
    for weight in weights:
        _gradient(held, weight, settings)
        if len(weight.shape) > 1:
            held.bind("row mean", [row_of(weight)])
            held.bind("column mean", [column_of(weight)])
            held.bind("estimate", [weight])
            held.pass_by([_mean_of_rows(weight)])
        else:
            held.bind("square", [weight])
            held.bind("estimate", [weight])
        held.move("estimate", to="update")


def lion(held: Held, weights: Sequence[TensorType], _: Settings) -> None:
    """The loop of Lion as its authors published it: two products, and their sum whose sign is the update."""
    for weight in weights:
        held.bind("decayed", [weight])
        held.bind("scaled", [weight])
        held.bind("update", [weight])
        held.free("decayed")
        held.free("scaled")


def muon(held: Held, weights: Sequence[TensorType], settings: Settings) -> None:
    """The loop of Muon, then that of AdamW for what is no matrix."""
    for weight in weights:
        if len(weight.shape) == 2:
            _orthogonalized(held, weight, settings)
    held.free("update")
    adam(held, [weight for weight in weights if len(weight.shape) != 2], settings)


def _orthogonalized(held: Held, weight: TensorType, settings: Settings) -> None:
    side = min(weight.shape)
    square, half = TensorType.of((side, side), "bfloat16"), TensorType.of(weight.shape, "bfloat16")
    if settings.nesterov:
        held.bind("update", [weight])
    else:
        held.free("update")
    held.bind("orthogonal", [half])
    for _ in range(settings.newton_schulz_steps):
        held.bind("gram", [square])
        held.bind("gram update", [square])
        held.bind("orthogonal", [half])
    held.free("gram")
    held.free("gram update")
    held.move("orthogonal", to="update")
    if weight.dtype != half.dtype:
        held.pass_by([weight])  # a CPU widens the update before it adds it


def _gradient(held: Held, weight: TensorType, settings: Settings) -> None:
    """The gradient itself, or a copy that is negated or has weight decay added."""
    if settings.maximize:
        held.bind("gradient", [weight])
    else:
        held.free("gradient")
    if settings.weight_decay and not settings.decoupled:
        held.bind("gradient", [weight])


def _mean_of_rows(weight: TensorType) -> TensorType:
    return TensorType.of((*weight.shape[:-2], 1, 1), weight.dtype)
