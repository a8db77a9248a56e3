"""One step of a search over binary paths: weights along one sampled path, architecture parameters by the gates of one path.

Cai et al. 2019 (ProxylessNAS, arXiv:1812.00332), sections 3.2 and 3.3. Both kinds of step hold the feature maps of one path, however many
candidates there are. Four variants move the architecture parameters:

- ``"gradient"`` (3.2.1, their -G): for each choice two paths are sampled by their probabilities, and the gate of one of them is open. The
  derivative by the two gates goes through the softmax of the two. Then both parameters are shifted alike, so that what the sample says of
  two paths leaves the probabilities of all others as they are.
- ``"recompute"`` (appendix D): one path, the derivative by all gates, through the softmax of all.
- ``"reinforce"`` (3.3.3, eq. 8, their -R): ``-(R - b) grad log p(path)`` for any reward R, with a moving mean b of the rewards.
- ``"both"``: the sum of the gradients of the first and the third.

An expected cost in the loss (eq. 7) is known of all candidates: its derivative is exact, moves all of them, and is not rescaled. The
paper's code does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import RecipeError
from nas.objectives.objective import Objective
from nas.relaxations.gates import Gate, OnePath, WatchedPath
from nas.search.bilevel import Batch, Step
from nas.spaces.space import Cost, PathNet

Variant = Literal["gradient", "recompute", "reinforce", "both"]
Reward = Callable[[float, float], float]
"""From the accuracy of a network on a batch and its cost to how good that is. It need not have a derivative."""
Paths = Mapping[str, Tensor]
"""The index of a path for each choice, by the kind of choice; int64 ``[choices]``."""


@dataclass(eq=False)
class BinaryPaths:
    """What a step moves, and by what.

    Attributes:
        supernet: the network.
        objective: how the cost enters the loss.
        cost: the expected cost, as a function of the weights of candidates.
        weight_optimizer: for the network's weights.
        architecture_optimizer: for the architecture parameters. Parameters of paths that a step does not speak of stay where they are,
            whatever momentum it keeps.
        variant: how architecture parameters move.
        reward: for the variants with REINFORCE; by default the accuracy.
        gradient_clip: the largest norm of the gradient of the weights.
        autocast: a context in which the network runs, for mixed precision.
        samples: paths that a step of REINFORCE averages over (M of eq. 8).
        decay: of the moving mean of rewards.
        baseline: that mean so far; ``None`` before the first.

    Raises:
        RecipeError: there is no such variant, no sample, or a decay that is no part.
    """

    supernet: PathNet
    objective: Objective
    cost: Cost
    weight_optimizer: torch.optim.Optimizer
    architecture_optimizer: torch.optim.Optimizer
    variant: Variant = "gradient"
    reward: Reward = field(default=lambda accuracy, _: accuracy)
    gradient_clip: float = 5.0
    autocast: Callable[[], torch.autocast] | None = None
    samples: int = 1
    decay: float = 0.9
    baseline: float | None = None

    def __post_init__(self) -> None:
        if self.variant not in get_args(Variant):
            raise RecipeError(f"binary paths are searched by {', '.join(get_args(Variant))}, but {self.variant!r} was asked for")
        if self.samples < 1 or not 0 <= self.decay < 1:
            raise RecipeError(f"REINFORCE needs samples above zero and a decay from 0 to below 1, but has {self.samples} and {self.decay}")

    def step(self, train: Batch, valid: Batch) -> Step:
        """Move architecture parameters, then weights, each along paths sampled anew."""
        found = self.architecture_step(valid)
        return Step(*found, *self.weight_step(train))

    # -- weights ----------------------------------------------------------------------------------------------

    def weight_step(self, train: Batch) -> tuple[Tensor, Tensor]:
        """Move the weights of one sampled path. Returns the training loss and the logits."""
        weights = self.supernet.network_weights()
        with self._running(self.sampled()):
            loss, logits = self._loss(train)
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient  # none for paths that did not run: their weights stay, decay and momentum too
        nn.utils.clip_grad_norm_([weight for weight in weights if weight.grad is not None], self.gradient_clip, foreach=True)
        self.weight_optimizer.step()
        return loss.detach(), logits.detach()

    # -- architecture parameters --------------------------------------------------------------------------------

    def architecture_step(self, valid: Batch) -> tuple[Tensor, Tensor]:
        """Move the architecture parameters. Returns the validation loss and the logits of a sampled path."""
        parameters = self.supernet.architecture()
        before = {kind: alpha.detach().clone() for kind, alpha in parameters.items()}
        pairs = None
        with still(self.supernet):
            if self.variant == "reinforce":
                loss, logits, gradients = self.reinforce_gradient(valid)
            else:
                pairs = None if self.variant == "recompute" else {kind: two_of(alpha) for kind, alpha in before.items()}
                loss, logits, gradients = self.path_gradient(valid, pairs)
            if self.variant == "both":
                more = self.reinforce_gradient(valid)[2]
                gradients = {kind: gradient + more[kind] for kind, gradient in gradients.items()}
                pairs = None  # REINFORCE speaks of every path
        from_cost = self._cost_gradient(loss)
        for kind, alpha in parameters.items():
            alpha.grad = gradients[kind] + from_cost[kind]
        self.architecture_optimizer.step()
        if pairs is not None:
            self._rescale(before, pairs, {kind: gradient != 0 for kind, gradient in from_cost.items()})
        return loss, logits

    def path_gradient(self, valid: Batch, pairs: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The loss of one path, its logits, and the gradient by the architecture parameters through the gates that are watched.

        Args:
            valid: the batch.
            pairs: by kind, the two candidates of each choice that are compared, int64 ``[choices, 2]``; ``None`` for all candidates.
        """
        alphas = {kind: alpha.detach() for kind, alpha in self.supernet.architecture().items()}
        paths, gates, seen = {}, {}, {}
        for kind, alpha in alphas.items():
            seen[kind] = torch.arange(alpha.shape[1]).expand_as(alpha).to(alpha.device) if pairs is None else pairs[kind]
            chances = alpha.gather(1, seen[kind]).softmax(1)
            paths[kind] = seen[kind].gather(1, torch.multinomial(chances, 1)).squeeze(1)
            gates[kind] = [torch.zeros_like(row).requires_grad_() for row in alpha]
        open_gates = {
            kind: [
                WatchedPath(int(index), tuple(watched.tolist()), gate)
                for index, watched, gate in zip(paths[kind], seen[kind], gates[kind], strict=True)
            ]
            for kind in alphas
        }
        with _frozen(self.supernet.network_weights()), self._through(open_gates):
            loss, logits = self._loss(valid)
            flat = [gate for row in gates.values() for gate in row]
            found = dict(zip(map(id, flat), torch.autograd.grad(loss, flat, allow_unused=True, materialize_grads=True), strict=True))
        gradients = {}
        for kind, alpha in alphas.items():
            by_gates = torch.stack([found[id(gate)] for gate in gates[kind]])
            gradients[kind] = through_softmax(alpha, by_gates, seen[kind])
        return loss.detach(), logits.detach(), gradients

    def reinforce_gradient(self, valid: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The loss and logits of the last sampled path, and the gradient of the expected negative reward, estimated from samples."""
        alphas = {kind: alpha.detach() for kind, alpha in self.supernet.architecture().items()}
        totals = {kind: torch.zeros_like(alpha) for kind, alpha in alphas.items()}
        rewards = []
        for _ in range(self.samples):
            paths = self.sampled()
            with torch.no_grad(), self._running(paths):
                loss, logits = self._loss(valid)
            accuracy = (logits.argmax(1) == valid[1]).double().mean().item()
            rewards.append(float(self.reward(accuracy, float(self.cost(one_hot(alphas, paths))))))
            advantage = rewards[-1] - (rewards[-1] if self.baseline is None else self.baseline)
            for kind, alpha in alphas.items():
                totals[kind] -= advantage * score(alpha, paths[kind]) / self.samples
        mean = sum(rewards) / len(rewards)
        self.baseline = mean if self.baseline is None else self.decay * self.baseline + (1 - self.decay) * mean
        return loss, logits, totals

    def sampled(self) -> dict[str, Tensor]:
        """A path for each choice, by its probabilities."""
        return {kind: torch.multinomial(alpha.detach().softmax(1), 1).squeeze(1) for kind, alpha in self.supernet.architecture().items()}

    def _cost_gradient(self, loss: Tensor) -> dict[str, Tensor]:
        """The derivative of the total loss by the architecture parameters through the expected cost alone."""
        parameters = self.supernet.architecture()
        total = self.objective(loss, self.cost(self.supernet.weights()))
        if not total.requires_grad:
            return {kind: torch.zeros_like(alpha) for kind, alpha in parameters.items()}
        found = torch.autograd.grad(total, list(parameters.values()), allow_unused=True, materialize_grads=True)
        return dict(zip(parameters, found, strict=True))

    @torch.no_grad()
    def _rescale(self, before: Mapping[str, Tensor], pairs: Mapping[str, Tensor], costly: Mapping[str, Tensor]) -> None:
        """Shift the two parameters of each pair alike, so that the sum of their exponentials is what it was.

        Parameters that nothing spoke of are put back, and so are all others where there is no cost.
        """
        for kind, alpha in self.supernet.architecture().items():
            old, pair = before[kind], pairs[kind]
            moved = alpha.gather(1, pair)
            shift = old.gather(1, pair).logsumexp(1, keepdim=True) - moved.logsumexp(1, keepdim=True)
            kept = torch.where(costly[kind], alpha, old)
            alpha.copy_(kept.scatter(1, pair, moved + shift))

    # -- running --------------------------------------------------------------------------------------------------

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        images, labels = batch
        if self.autocast is None:
            logits = self.supernet(images)
        else:
            with self.autocast():
                logits = self.supernet(images)
            logits = logits.float()
        return F.cross_entropy(logits, labels), logits

    def _running(self, paths: Paths) -> _Gated:
        return self._through({kind: [OnePath(int(index)) for index in rows] for kind, rows in paths.items()})

    def _through(self, gates: Mapping[str, list[Gate]] | Mapping[str, list[OnePath]] | Mapping[str, list[WatchedPath]]) -> _Gated:
        return _Gated(self.supernet, gates)  # type: ignore[arg-type]


class _Gated:
    """A context in which each choice runs by the gate of its row."""

    def __init__(self, supernet: PathNet, gates: Mapping[str, list[Gate]]) -> None:
        self._pairs = [
            (choice, gate)
            for kind, rows in supernet.choices().items()
            for row, gate in zip(rows, gates[kind], strict=True)
            for choice in row
        ]

    def __enter__(self) -> None:
        for choice, gate in self._pairs:
            choice.gate = gate

    def __exit__(self, *_: object) -> None:
        for choice, _gate in self._pairs:
            choice.gate = None


def two_of(alpha: Tensor) -> Tensor:
    """For each choice two different candidates, sampled by their probabilities without replacement: int64 ``[choices, 2]``."""
    chances = alpha.detach().double().softmax(1).clamp(min=1e-30)  # two can be drawn where one is next to certain
    return torch.multinomial(chances, 2)


def through_softmax(alpha: Tensor, by_gates: Tensor, seen: Tensor) -> Tensor:
    """``dL/dalpha_i = sum_j dL/dg_j q_j (delta_ij - q_i)`` over the candidates that are compared (eq. 4), whose softmax is q; else zero.

    Args:
        alpha: ``[choices, candidates]``.
        by_gates: the derivatives by the gates, of the same shape.
        seen: which candidates of each choice are compared, int64 ``[choices, seen]``.
    """
    q, gradient = alpha.gather(1, seen).softmax(1), by_gates.gather(1, seen)
    found = q * (gradient - (q * gradient).sum(1, keepdim=True))
    return torch.zeros_like(alpha).scatter(1, seen, found)


def score(alpha: Tensor, path: Tensor) -> Tensor:
    """``grad_alpha log p(path)``: one at the candidate of the path, less the probabilities."""
    return F.one_hot(path, alpha.shape[1]).to(alpha) - alpha.softmax(1)


def one_hot(alphas: Mapping[str, Tensor], paths: Paths) -> dict[str, Tensor]:
    """Weights that are one at the candidates of paths."""
    return {kind: F.one_hot(paths[kind], alpha.shape[1]).to(alpha) for kind, alpha in alphas.items()}


@contextmanager
def still(supernet: PathNet) -> Iterator[None]:
    """A context in which batch normalisation uses the statistics of its batch, as in training, and remembers nothing of them."""
    layers = [layer for layer in supernet.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    saved = [(layer, layer.running_mean, layer.running_var) for layer in layers]
    for layer in layers:
        layer.running_mean = layer.running_var = None
    try:
        yield
    finally:
        for layer, mean, variance in saved:
            layer.running_mean, layer.running_var, layer.track_running_stats = mean, variance, True


@contextmanager
def _frozen(weights: list[nn.Parameter]) -> Iterator[None]:
    """A context in which no feature map is kept for the sake of the gradient of weights."""
    wanted = [weight for weight in weights if weight.requires_grad]
    for weight in wanted:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in wanted:
            weight.requires_grad_(True)
