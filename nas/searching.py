"""A search from its recipe to its genotype."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.data import Augmentation, Batches, ImageData, default_augmentation, halves
from nas.errors import RecipeError
from nas.genotype import Genotype
from nas.machine import autocast_of, device_of, placed, seed_everything
from nas.objectives.build import build_objective
from nas.recipe import Recipe
from nas.runs import Run
from nas.search.bilevel import Bilevel, Step
from nas.spaces.darts.cost import CellCost
from nas.spaces.darts.latency import LatencyTable
from nas.spaces.darts.network import NetworkShape
from nas.spaces.darts.space import DartsSpace

CHECKPOINT_SECONDS = 60.0
BUDGET_SLACK = 0.02
"""How far below its budget a network may end."""
Progress = Callable[[int, int, str], None]
"""Called after each step with steps done, steps in all, and a few words."""


def space_of(recipe: Recipe) -> DartsSpace:
    """The space of a recipe."""
    space, network = recipe.space, recipe.network
    return DartsSpace(
        space.operations,
        space.nodes,
        NetworkShape(space.channels, space.layers),
        NetworkShape(network.channels, network.layers, network.stem),
        init_scale=space.init_scale,
    )


@dataclass(frozen=True, eq=False)
class Costs:
    """What a search reports and what it moves by."""

    moved_by: CellCost
    network: CellCost

    @classmethod
    def of(cls, recipe: Recipe, space: DartsSpace, data: ImageData) -> Costs:
        """The costs that the objective of a recipe speaks of.

        Raises:
            RecipeError: the objective's cost is of nothing that there is.
        """
        settings, classes = recipe.objective, len(data.classes)
        table = LatencyTable.load(Path(settings.table)) if settings.table else None
        network = space.network_cost(settings.metric, data.shape, classes, table)
        if settings.of == "network":
            return cls(network, network)
        if settings.of == "supernet":
            return cls(space.supernet_cost(settings.metric, data.shape, classes, table), network)
        if settings.of == "cells":
            return cls(space.cells_cost(settings.metric, data.shape, classes, settings.k3, table), network)
        raise RecipeError(f"objective.of is {settings.of!r}; there are 'cells', 'supernet' and 'network'")


class Search:
    """One search, from its beginning or from where its folder says.

    Args:
        run: its folder.
        recipe: its settings.
        data: its images.
    """

    def __init__(self, run: Run, recipe: Recipe, data: ImageData) -> None:
        self.run, self.recipe, self.data = run, recipe, data
        settings = recipe.search
        self.device = device_of(recipe.machine)
        self.space = space_of(recipe)
        self.costs = Costs.of(recipe, self.space, data)
        self.objective = build_objective(recipe.objective)
        if recipe.objective.form == "budget":
            self._check_budget()
        seed_everything(recipe.seed)
        self.supernet = placed(self.space.supernet(data.shape, len(data.classes)), recipe.machine, self.device)
        self.weight_optimizer = torch.optim.SGD(
            self.supernet.network_weights(),
            settings.weight_lr,
            settings.momentum,
            weight_decay=settings.weight_decay,
            foreach=True,
        )
        self.architecture_optimizer = torch.optim.Adam(
            self.supernet.architecture_parameters(),
            settings.alpha_lr,
            (settings.alpha_betas[0], settings.alpha_betas[1]),
            weight_decay=settings.alpha_weight_decay,
        )
        self.bilevel = Bilevel(
            Compiled(self.supernet) if recipe.machine.compile else self.supernet,
            self.objective,
            self.costs.moved_by,
            self.weight_optimizer,
            self.architecture_optimizer,
            settings.order == 2,
            settings.gradient_clip,
            autocast_of(recipe.machine, self.device),
        )
        self.train_batches, self.valid_batches = self._batches()
        self.epoch = self.step = 0
        self.sums = torch.zeros(5, dtype=torch.float64, device=self.device)

    def _check_budget(self) -> None:
        """Say at once if no network of the space meets the budget."""
        edges = len(self.space.edge_names)
        uniform = {level: torch.full((edges, len(self.space.operations)), 1 / len(self.space.operations)) for level in ("normal", "reduce")}
        self.space.derive_within(uniform, self.costs.network, *self._bounds())

    def _bounds(self) -> tuple[int, int]:
        return bounds_of(self.recipe.objective.target)

    def _batches(self) -> tuple[Batches, Batches]:
        recipe, settings = self.recipe, self.recipe.search
        split = self.data.train
        if recipe.data.limit:
            split = split.subset(torch.arange(min(recipe.data.limit, len(split))))
        train, valid = halves(split, recipe.seed, settings.train_share)
        augmentation = Augmentation.none()
        if settings.augment:
            usual = default_augmentation(self.data.name, self.data.shape)
            augmentation = Augmentation(usual.crop_padding, usual.flip, settings.cutout)
        layout = recipe.machine.channels_last
        train_batches, valid_batches = (
            Batches(
                self.data,
                part,
                settings.batch_size,
                seed=2 * recipe.seed + index,
                augmentation=augmentation,
                device=self.device,
                channels_last=layout,
            )
            for index, part in enumerate((train, valid))
        )
        return train_batches, valid_batches

    # -- going through it -----------------------------------------------------------------------------------

    def finish(self, progress: Progress | None = None) -> Genotype:
        """Search to the end, derive and write the genotype.

        Raises:
            RunError: the folder cannot be written.
        """
        self._restore()
        epochs, steps = self.recipe.search.epochs, len(self.train_batches)
        saved = time.monotonic()
        while self.epoch < epochs:
            started = time.monotonic()
            while self.step < steps:
                self._one_step()
                self.step += 1
                if progress is not None:
                    progress(self.epoch * steps + self.step, epochs * steps, f"epoch {self.epoch + 1} of {epochs}")
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self._save()
                    saved = time.monotonic()
            self.run.add_event({**self._event(), "seconds": round(time.monotonic() - started, 3)})
            self.epoch, self.step = self.epoch + 1, 0
            self.sums.zero_()
            self._save()
            saved = time.monotonic()
        return self._derived()

    def _one_step(self) -> None:
        settings = self.recipe.search
        lr = cosine(settings.weight_lr, settings.weight_lr_min, self.epoch, settings.epochs)
        for group in self.weight_optimizer.param_groups:
            group["lr"] = lr
        seed_everything(self.recipe.seed, self.epoch, self.step)
        train = self.train_batches.batch(self.epoch, self.step)
        if self.epoch < settings.warmup_epochs:
            loss, logits = self.bilevel.weight_step(train)
            self._count(Step(loss, logits, loss, logits), train[1], train[1])
            return
        round_, step = divmod(self.epoch * len(self.train_batches) + self.step, len(self.valid_batches))
        valid = self.valid_batches.batch(round_, step)
        self._count(self.bilevel.step(train, valid), train[1], valid[1])
        if self.recipe.objective.form == "budget":
            self.objective.observe(self.costs.network.of(self.space.derive(self.weights())))

    def _count(self, step: Step, train_labels: Tensor, valid_labels: Tensor) -> None:
        """Add up on the device: reading a number every step would make a GPU wait."""
        train_right = (step.train_logits.argmax(1) == train_labels).double().mean()
        valid_right = (step.valid_logits.argmax(1) == valid_labels).double().mean()
        one = torch.ones((), device=self.device, dtype=torch.float64)
        self.sums += torch.stack([one, step.train_loss.double(), train_right, step.valid_loss.double(), valid_right])

    def weights(self) -> dict[str, Tensor]:
        """The weights of the candidates now, on the CPU."""
        return {level: weights.detach().cpu() for level, weights in self.supernet.weights().items()}

    def _event(self) -> dict[str, Any]:
        count, train_loss, train_right, valid_loss, valid_right = self.sums.tolist()
        weights = self.weights()
        entropy = sum(float(torch.special.entr(table).sum(1).mean()) for table in weights.values()) / len(weights)
        event = {
            "epoch": self.epoch,
            "train_loss": train_loss / count,
            "train_accuracy": train_right / count,
            "valid_loss": valid_loss / count,
            "valid_accuracy": valid_right / count,
            "cost_metric": self.costs.network.metric,
            "cost": float(self.costs.network(weights)),
            "derived_cost": self.costs.network.of(self.space.derive(weights)),
            "moved_by_cost": float(self.costs.moved_by(weights)),
            "entropy": entropy,
            "skips": self.space.derive(weights).count("skip_connect"),
            "weights": {level: [[round(value, 6) for value in row] for row in table.tolist()] for level, table in weights.items()},
        }
        if self.recipe.objective.form == "budget":
            event |= {"budget": self.recipe.objective.target, "multiplier": self.objective.state()}
        return event

    # -- stopping and going on ------------------------------------------------------------------------------

    def _save(self) -> None:
        self.run.save_checkpoint(
            {
                "epoch": self.epoch,
                "step": self.step,
                "supernet": self.supernet.state_dict(),
                "weight_optimizer": self.weight_optimizer.state_dict(),
                "architecture_optimizer": self.architecture_optimizer.state_dict(),
                "objective": self.objective.state(),
                "sums": self.sums,
            }
        )

    def _restore(self) -> None:
        state = self.run.load_checkpoint(self.device)
        if state is not None:
            self.epoch, self.step = state["epoch"], state["step"]
            self.supernet.load_state_dict(state["supernet"])
            self.weight_optimizer.load_state_dict(state["weight_optimizer"])
            self.architecture_optimizer.load_state_dict(state["architecture_optimizer"])
            self.objective.restore(state["objective"])
            self.sums = state["sums"]
        self.run.rewind(self.epoch)

    def _derived(self) -> Genotype:
        weights = self.weights()
        strongest = self.space.derive(weights)
        genotype = strongest
        if self.recipe.objective.form == "budget":
            genotype = self.space.derive_within(weights, self.costs.network, *self._bounds())
        self.run.write_json("genotype.json", genotype.to_dict())
        self.run.write_json(
            "result.json",
            {
                "metric": self.costs.network.metric,
                "cost": self.costs.network.of(genotype),
                "cost_of_strongest": self.costs.network.of(strongest),
                "skips": genotype.count("skip_connect"),
            },
        )
        return genotype


class Compiled:
    """A compiled network with the methods of the one that was compiled."""

    def __init__(self, supernet: Any) -> None:
        self._compiled, self._supernet = torch.compile(supernet), supernet

    def __call__(self, x: Tensor) -> Tensor:
        """The logits."""
        out: Tensor = self._compiled(x)
        return out

    def __getattr__(self, name: str) -> Any:
        return getattr(self._supernet, name)


def bounds_of(budget: float) -> tuple[int, int]:
    """What a network may cost to meet a budget."""
    return math.ceil(budget * (1 - BUDGET_SLACK)), math.floor(budget)


def cosine(first: float, last: float, epoch: int, epochs: int) -> float:
    """Cosine annealing from one learning rate to another (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5)."""
    return last + (first - last) * (1 + math.cos(math.pi * epoch / epochs)) / 2
