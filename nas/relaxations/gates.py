"""How a choice runs its candidates: all of them in a mixture, or one of them alone.

Binary gates: Cai et al. 2019 (ProxylessNAS, arXiv:1812.00332), section 3.2 and appendix D. A mixture keeps the feature maps of all N
candidates for the backward pass; the other gates keep those of one path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Gate = Callable[[Sequence[nn.Module], Tensor], Tensor]
"""From candidates and what comes in to what goes out."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """``sum_j w_j o_j(x)``.

    Attributes:
        weights: of shape ``[candidates]``.
    """

    weights: Tensor

    def __call__(self, candidates: Sequence[nn.Module], x: Tensor) -> Tensor:
        """All candidates, each times its weight, added up."""
        total: Tensor = self.weights[0] * candidates[0](x)
        for weight, candidate in zip(self.weights[1:], list(candidates)[1:], strict=True):
            total = total + weight * candidate(x)
        return total


@dataclass(frozen=True)
class OnePath:
    """``o_i(x)``: the other candidates are not run.

    Attributes:
        index: i.
    """

    index: int

    def __call__(self, candidates: Sequence[nn.Module], x: Tensor) -> Tensor:
        """One candidate."""
        out: Tensor = candidates[self.index](x)
        return out


@dataclass(frozen=True, eq=False)
class WatchedPath:
    """``sum_j g_j o_j(x)`` with binary gates ``g``, of which one is open, and the derivative by each gate that is watched.

    ``dL/dg_j`` is the inner product of ``dL/dy`` and ``o_j(x)``. The outputs of candidates beside the path are computed in the backward
    pass and thrown away, so that neither direction holds more than one path (appendix D). The weights of candidates get no gradient.

    Attributes:
        index: of the open gate.
        watched: the gates whose derivative is wanted: two of them in a step of section 3.2.1, all in appendix D.
        gates: of shape ``[candidates]``, a leaf whose ``grad`` gets the derivatives; what its numbers are plays no part.
    """

    index: int
    watched: tuple[int, ...]
    gates: Tensor

    def __call__(self, candidates: Sequence[nn.Module], x: Tensor) -> Tensor:
        """One candidate, as far as values go."""
        out: Tensor = _Watched.apply(x, self.gates, tuple(candidates), self.index, self.watched)
        return out


class _Watched(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gates: Tensor, candidates: tuple[nn.Module, ...], index: int, watched: tuple[int, ...]) -> Tensor:
        inner = x.detach().requires_grad_(x.requires_grad)
        with torch.enable_grad():
            out: Tensor = candidates[index](inner)
        ctx.path, ctx.facts = (inner, out), (candidates, index, watched, gates)
        return out.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None, None]:
        (inner, out), (candidates, index, watched, gates) = ctx.path, ctx.facts
        by_gates = torch.zeros_like(gates)
        for other in watched:
            with torch.no_grad():
                made = out if other == index else candidates[other](inner)
                by_gates[other] = (gradient * made).sum()
        by_input = None
        if inner.requires_grad and out.requires_grad:
            (by_input,) = torch.autograd.grad(out, inner, gradient)
        ctx.path = ctx.facts = None  # the path is let go of as soon as it is used
        return by_input, by_gates, None, None, None
