"""The softmax relaxation of DARTS."""

from __future__ import annotations

from torch import Tensor


def softmax(alpha: Tensor) -> Tensor:
    """Weights of the candidates, of shape ``[edges, candidates]``, from parameters of that shape (Liu et al. 2019, eq. 2).

    Examples:
        >>> import torch
        >>> softmax(torch.zeros(1, 4))
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    return alpha.softmax(-1)
