"""One search step as the papers write it down, with nothing shared with the package but the layers: an oracle.

The mixed network is written anew on the plain modules of a supernet; gradients come from ``loss.backward()``, the network one step ahead
is a deep copy, and optimizers are written out by their formulas.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def logits_of(net: Any, x: Tensor) -> Tensor:
    """The mixed network: every edge the softmax-weighted sum of all candidates, every node the sum of its edges."""
    before, last = net.stem(x)
    for cell in net.cells:
        table = torch.softmax(net.levels[cell.level_name].alpha, dim=1)
        states, edge = [cell.preprocess0(before), cell.preprocess1(last)], 0
        while len(states) < 2 + cell.nodes:
            node = torch.zeros((), dtype=x.dtype)
            for state in states:
                for position, candidate in enumerate(cell.edges[edge].candidates):
                    node = node + table[edge, position] * candidate(state)
                edge += 1
            states.append(node)
        before, last = last, torch.cat(states[2:], 1)
    return net.classifier(last.mean((2, 3)))


def song_li_factor(net: Any, flops: dict[str, Tensor], cells: dict[str, int], k1: float, k2: float, k3: float) -> Tensor:
    """``F = k1 (ln sum m p)^k2``, ``m = FLOPs + k3`` for every candidate of every edge of every cell."""
    total = torch.zeros((), dtype=torch.float64)
    for name, table in flops.items():
        p = torch.softmax(net.levels[name].alpha, dim=1)
        for edge in range(len(p)):
            for operation in range(p.shape[1]):
                total = total + p[edge, operation] * (float(table[edge, operation]) + k3 * cells[name])
    return k1 * torch.log(total) ** k2


def architecture_gradient(net: Any, factor: Any, train: Any, valid: Any, xi: float) -> list[Tensor]:
    """The gradient of ``L_val(w - xi grad L_train) F`` by alpha; first order where xi is 0."""
    alphas, weights = net.architecture_parameters(), net.network_weights()
    ahead = copy.deepcopy(net)
    if xi:
        net.zero_grad()
        F.cross_entropy(logits_of(net, train[0]), train[1]).backward()
        for mine, theirs in zip(ahead.network_weights(), weights, strict=True):
            mine.data -= xi * theirs.grad
    ahead.zero_grad()
    loss = F.cross_entropy(logits_of(ahead, valid[0]), valid[1])
    (loss * factor(ahead)).backward()
    found = [alpha.grad.clone() for alpha in ahead.architecture_parameters()]
    if not xi:
        return found
    direction = [weight.grad.clone() for weight in ahead.network_weights()]
    epsilon = 0.01 / math.sqrt(sum(float((one**2).sum()) for one in direction))
    sides = []
    for sign in (1, -1):
        moved = copy.deepcopy(net)
        for weight, by in zip(moved.network_weights(), direction, strict=True):
            weight.data += sign * epsilon * by
        moved.zero_grad()
        F.cross_entropy(logits_of(moved, train[0]), train[1]).backward()
        sides.append([alpha.grad.clone() for alpha in moved.architecture_parameters()])
    assert len(alphas) == len(found)
    return [one - xi * (up - down) / (2 * epsilon) for one, up, down in zip(found, *sides, strict=True)]


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) with weight decay in the gradient, for one tensor."""

    def __init__(self, lr: float, betas: tuple[float, float], weight_decay: float) -> None:
        self.lr, self.betas, self.weight_decay = lr, betas, weight_decay
        self.m = self.v = torch.zeros(())
        self.t = 0

    def moved(self, alpha: Tensor, gradient: Tensor) -> Tensor:
        g, (one, two) = gradient + self.weight_decay * alpha, self.betas
        self.t += 1
        self.m, self.v = one * self.m + (1 - one) * g, two * self.v + (1 - two) * g * g
        return alpha - self.lr * (self.m / (1 - one**self.t)) / ((self.v / (1 - two**self.t)).sqrt() + 1e-8)


class Momentum:
    """Gradient descent with momentum and weight decay, for one tensor: ``v = momentum v + g``, ``w = w - lr v``."""

    def __init__(self, lr: float, momentum: float, weight_decay: float) -> None:
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.v = torch.zeros(())

    def moved(self, weight: Tensor, gradient: Tensor) -> Tensor:
        self.v = self.momentum * self.v + gradient + self.weight_decay * weight
        return weight - self.lr * self.v


def weight_gradient(net: Any, train: Any, clip: float) -> list[Tensor]:
    """The gradient of the training loss by the weights, clipped by its norm."""
    net.zero_grad()
    F.cross_entropy(logits_of(net, train[0]), train[1]).backward()
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in net.network_weights()]
    norm = math.sqrt(sum(float((one**2).sum()) for one in gradients))
    return [one * min(1.0, clip / (norm + 1e-6)) for one in gradients]
