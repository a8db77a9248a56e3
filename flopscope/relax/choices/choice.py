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
            a parameter of its own, of zeros. An optimizer finds a plain tensor only where it is told of it.

    Raises:
        SupernetError: there are no candidates, or ``alpha`` has another shape.

    Examples:
        >>> choice = Choice([nn.Conv2d(8, 8, 3, padding=1), nn.Identity()])
        >>> choice.probabilities()
        tensor([0.5000, 0.5000], grad_fn=<SoftmaxBackward0>)
    """

    def __init__(self, candidates: Iterable[nn.Module], alpha: Tensor | None = None) -> None:
        super().__init__()
        members = list(candidates)
        if odd := next((member for member in members if not isinstance(member, nn.Module)), None):
            raise SupernetError(f"the candidates of a choice must be modules, but one is {odd!r}")
        self.candidates = nn.ModuleList(members)
        count = len(members)
        if count == 0:
            raise SupernetError("a choice needs at least one candidate, but got none")
        if alpha is not None and (not isinstance(alpha, Tensor) or tuple(alpha.shape) != (count,)):
            found = list(alpha.shape) if isinstance(alpha, Tensor) else repr(alpha)
            raise SupernetError(f"a choice among {count} candidates needs alpha of the shape [{count}], but it has {found}")
        self.alpha = nn.Parameter(torch.zeros(count)) if alpha is None else alpha

    def probabilities(self) -> Tensor:
        """The probability of each candidate, of shape ``[len(candidates)]``: the softmax of ``alpha``."""
        return self.alpha.softmax(-1)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The sum of what the candidates return, each times its probability."""
        weights = self.probabilities()
        outputs = [weight * candidate(*args, **kwargs) for weight, candidate in zip(weights, self.candidates, strict=True)]
        return torch.stack(outputs).sum(0)
