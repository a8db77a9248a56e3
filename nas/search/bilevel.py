"""One step of a bilevel search: architecture parameters by a validation batch, then weights by a training batch.

Liu et al. 2019 (arXiv:1806.09055), algorithm 1, with a cost in the loss (Song & Li 2020, section 1.3). What makes a step fast changes
nothing in what it computes: each pass asks for the gradients that it needs and no others, and weights are moved and put back in place
instead of in a second network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.objectives.objective import Objective
from nas.spaces.space import Cost, SuperNet

Batch = tuple[Tensor, Tensor]
PERTURBATION = 0.01
"""The length of the step along the gradient that the finite difference takes (Liu et al. 2019, section 2.3, footnote 2)."""


class Step(NamedTuple):
    """What a step saw, without a graph: of either batch the loss, and the logits of shape ``[B, classes]``, before it moved anything."""

    valid_loss: Tensor
    valid_logits: Tensor
    train_loss: Tensor
    train_logits: Tensor


@dataclass(frozen=True, eq=False)
class Bilevel:
    """What a step moves, and by what.

    Attributes:
        supernet: the network.
        objective: how the cost enters the loss.
        cost: the expected cost, as a function of the weights of candidates.
        weight_optimizer: for the network's weights.
        architecture_optimizer: for the architecture parameters.
        second_order: whether the architecture's gradient looks one step of the weights ahead.
        gradient_clip: the largest norm of the gradient of the weights.
        autocast: a context in which the network runs, for mixed precision.
    """

    supernet: SuperNet
    objective: Objective
    cost: Cost
    weight_optimizer: torch.optim.Optimizer
    architecture_optimizer: torch.optim.Optimizer
    second_order: bool = False
    gradient_clip: float = 5.0
    autocast: Callable[[], torch.autocast] | None = None

    def step(self, train: Batch, valid: Batch) -> Step:
        """Move architecture parameters, then weights; with second order the validation batch is seen with the weights one step ahead."""
        parameters = self.supernet.architecture_parameters()
        valid_loss, valid_logits, gradients = self.architecture_gradient(train, valid)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.architecture_optimizer.step()
        return Step(valid_loss, valid_logits, *self.weight_step(train))

    def architecture_gradient(self, train: Batch, valid: Batch) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The validation loss, its logits, and the gradient of the total loss by each architecture parameter."""
        parameters = self.supernet.architecture_parameters()
        if self.second_order:
            return self._second_order_gradient(train, valid, parameters)
        total, loss, logits = self._total(valid)
        return loss, logits, _gradients(total, parameters)

    def weight_step(self, train: Batch) -> tuple[Tensor, Tensor]:
        """Move the weights alone. Returns the training loss and the logits."""
        weights = self.supernet.network_weights()
        loss, logits = self._loss(train)
        gradients = _gradients(loss, weights)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        nn.utils.clip_grad_norm_(weights, self.gradient_clip, foreach=True)
        self.weight_optimizer.step()
        return loss.detach(), logits.detach()

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        images, labels = batch
        if self.autocast is None:
            logits = self.supernet(images)
        else:
            with self.autocast():
                logits = self.supernet(images)
            logits = logits.float()
        return F.cross_entropy(logits, labels), logits

    def _total(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        loss, logits = self._loss(batch)
        return self.objective(loss, self.cost(self.supernet.weights())), loss.detach(), logits.detach()

    def _second_order_gradient(self, train: Batch, valid: Batch, parameters: list[nn.Parameter]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """``grad_alpha L_total(w - xi grad_w L_train(w, alpha), alpha)`` (Liu et al. 2019, eq. 7 and 8; Song & Li 2020, eq. 4 to 6).

        The product of the mixed second derivative with ``v = grad_w' L_total`` is a finite difference between ``w + e v`` and ``w - e v``,
        ``e = 0.01 / |v|``. The weights are put back exactly.
        """
        weights = self.supernet.network_weights()
        xi = self.weight_optimizer.param_groups[0]["lr"]
        ahead = _gradients(self._loss(train)[0], weights)
        with _restored(weights) as saved:
            _moved(weights, saved, ahead, ahead[0].new_tensor(-xi))
            total, loss, logits = self._total(valid)
            both = _gradients(total, [*weights, *parameters])
            direction, direct = both[: len(weights)], both[len(weights) :]
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(direction)))
            epsilon = PERTURBATION / norm.clamp(min=1e-12)
            _moved(weights, saved, direction, epsilon)
            above = _gradients(self._loss(train)[0], parameters)
            _moved(weights, saved, direction, -epsilon)
            below = _gradients(self._loss(train)[0], parameters)
        implicit = [(up - down) / (2 * epsilon) for up, down in zip(above, below, strict=True)]
        return loss, logits, [one - xi * other for one, other in zip(direct, implicit, strict=True)]


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))


def _moved(weights: list[nn.Parameter], origin: list[Tensor], direction: list[Tensor], by: Tensor) -> None:
    """Set weights to where they were plus a multiple of a direction."""
    with torch.no_grad():
        steps = list(torch._foreach_mul(direction, by))
        torch._foreach_copy_(list[Tensor](weights), list(torch._foreach_add(origin, steps)))


@contextmanager
def _restored(weights: list[nn.Parameter]) -> Iterator[list[Tensor]]:
    """Gives a copy of the weights, and puts them back in the end, bit by bit, whatever happens."""
    saved = [weight.detach().clone() for weight in weights]
    try:
        yield saved
    finally:
        with torch.no_grad():
            torch._foreach_copy_(list[Tensor](weights), saved)
