"""A small base class for choices. Any module with ``candidates`` and ``probabilities()`` is one too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from flopscope.errors import SupernetError


class Choice(nn.Module):
    """One of several candidate modules, relaxed to a sum of all of them (Liu et al. 2019, arXiv:1806.09055, eq. 2).

    Subclasses may give other `probabilities`, or a forward that draws a path instead of adding up all of them.

    Args:
        candidates: the modules to choose from. They take the same inputs and return tensors of the same shape.
        alpha: the architecture parameters, of shape ``[len(candidates)]``, such as a parameter that several choices share; by default
            zeros of its own.

    Raises:
        SupernetError: there are no candidates, or ``alpha`` has another shape.

    Examples:
        >>> choice = Choice([nn.Conv2d(8, 8, 3, padding=1), nn.Identity()])
        >>> choice.probabilities()
        tensor([0.5000, 0.5000], grad_fn=<SoftmaxBackward0>)
    """

    def __init__(self, candidates: Iterable[nn.Module], alpha: nn.Parameter | None = None) -> None:
        super().__init__()
        self.candidates = nn.ModuleList(candidates)
        count = len(self.candidates)
        if count == 0:
            raise SupernetError("a choice needs at least one candidate, but got none")
        if alpha is not None and tuple(alpha.shape) != (count,):
            raise SupernetError(f"a choice among {count} candidates needs alpha of the shape [{count}], but it has {list(alpha.shape)}")
        self.alpha = nn.Parameter(torch.zeros(count)) if alpha is None else alpha

    def probabilities(self) -> Tensor:
        """The probability of each candidate, of shape ``[len(candidates)]``: the softmax of ``alpha``."""
        return self.alpha.softmax(-1)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The sum of what the candidates return, each times its probability."""
        weights = self.probabilities()
        outputs = [weight * candidate(*args, **kwargs) for weight, candidate in zip(weights, self.candidates, strict=True)]
        return torch.stack(outputs).sum(0)
