"""The loss of a training step, where the user names none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from flopscope.errors import InputError
from flopscope.frontends.torch.trace import tensors_in

Loss = Callable[[Any], Tensor]


def loss_of(output: Any, loss: Loss | None) -> tuple[Tensor, str]:
    """What is minimised, and how to call it.

    Without a loss function that is, of what the model returned: its ``loss``, where it has one; the cross-entropy of ``logits``
    ``[n, ..., classes]``, or of a single tensor ``[n, classes, ...]``, against one class per position; else the sum of all outputs.

    Raises:
        InputError: nothing that was returned has a gradient, or the loss is no single number.
    """
    if loss is not None:
        found, name = loss(output), getattr(loss, "__name__", type(loss).__name__)
    else:
        found, name = _usual(output)
    if not isinstance(found, Tensor) or found.numel() != 1:
        shape = f"a tensor {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise InputError(f"the loss ({name}) must be a tensor with one element, but is {shape}; take its mean or sum")
    return found, name


def _usual(output: Any) -> tuple[Tensor, str]:
    own = _named(output, "loss")
    if isinstance(own, Tensor):
        return own, "the model's own loss"
    logits = _named(output, "logits")
    if isinstance(logits, Tensor) and logits.dim() >= 2:
        return _cross_entropy(logits.flatten(0, -2)), "cross-entropy of the logits"
    floating = [leaf for leaf in tensors_in(output) if leaf.is_floating_point()]
    if len(floating) == 1 and floating[0].dim() >= 2:
        return _cross_entropy(floating[0]), "cross-entropy of the output"
    if not floating:
        raise InputError(
            f"nothing that the model returned has a gradient: {type(output).__name__}. Give the loss as a function of the output"
        )
    total = floating[0].sum()
    for leaf in floating[1:]:
        total = total + leaf.sum()
    return total, "the sum of all outputs"


def _cross_entropy(logits: Tensor) -> Tensor:
    """Against a class index for each position, which the data set would give."""
    targets = torch.empty((logits.shape[0], *logits.shape[2:]), dtype=torch.int64)
    return functional.cross_entropy(logits, targets)


def _named(output: Any, name: str) -> Any:
    return output.get(name) if isinstance(output, Mapping) else getattr(output, name, None) if not isinstance(output, Tensor) else None
