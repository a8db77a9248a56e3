"""What a step takes where an optimizer works on all parameters of one dtype at once (``foreach=True``), as PyTorch does on a GPU.

Each function binds names as ``torch.optim`` does, for one group of parameters after another: a name holds its memory until the next
group binds it again.
"""

from __future__ import annotations

from collections.abc import Sequence

from flopscope.analyses.training.held import Held
from flopscope.analyses.training.settings import Settings
from flopscope.analyses.training.states import column_of, row_of
from flopscope.graph import TensorType


def sgd(held: Held, weights: Sequence[TensorType], settings: Settings, *, first: bool = False) -> None:
    """SGD: with Nesterov momentum the gradients are written over, or the copies that weight decay made."""
    _gradients(held, weights, settings)
    if settings.momentum:
        if first:
            held.bind(f"buffers of {weights[0].dtype}", weights)
        if not settings.nesterov:
            held.free("gradients")


def adam(held: Held, weights: Sequence[TensorType], settings: Settings) -> None:
    """Adam and AdamW: copied gradients are let go of before the roots are made."""
    _gradients(held, weights, settings)
    held.free("gradients")
    held.bind("roots", weights)


def keeping(held: Held, weights: Sequence[TensorType], settings: Settings) -> None:
    """NAdam and RMSprop: copied gradients are kept to the end."""
    _gradients(held, weights, settings)
    held.bind("roots", weights)


def adagrad(held: Held, weights: Sequence[TensorType], settings: Settings) -> None:
    """Adagrad: the scaled gradients beside the roots."""
    _gradients(held, weights, settings)
    held.bind("roots", weights)
    if settings.maximize or settings.weight_decay:
        held.move("gradients", to="numerators")
    else:
        held.bind("numerators", weights)


def adafactor(held: Held, weights: Sequence[TensorType], settings: Settings) -> None:
    """Adafactor: matrices and vectors are groups of their own, in the order in which they come."""
    matrices, vectors = ([weight for weight in weights if (len(weight.shape) > 1) == wanted] for wanted in (True, False))
    groups = [matrices, vectors] if len(weights[0].shape) > 1 else [vectors, matrices]
    for group in filter(None, groups):
        _gradients(held, group, settings)
        if len(group[0].shape) > 1:
            held.pass_by([row_of(weight) for weight in group])
            held.pass_by([column_of(weight) for weight in group])
            held.bind("estimates", group)
            held.pass_by([TensorType.of((*weight.shape[:-2], 1, 1), weight.dtype) for weight in group])
        else:
            held.pass_by(group)
            held.bind("estimates", group)
        held.move("estimates", to="updates")


def _gradients(held: Held, weights: Sequence[TensorType], settings: Settings) -> None:
    """The gradients themselves, or copies that are negated; weight decay is added to these copies, or to copies of its own."""
    held.free("gradients")
    if settings.maximize or (settings.weight_decay and not settings.decoupled):
        held.bind("gradients", weights)
