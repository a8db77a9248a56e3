"""A search from its recipe to its genotype."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from nas.checked import ADVICE, first_line
from nas.data import Batches, ImageData, halves, limited
from nas.errors import RunError
from nas.genotype import Genotype
from nas.job import Job, Progress, augmentation_of, cosine, enough
from nas.machine import autocast_of, device_of, placed, seed_everything
from nas.objectives.build import build_objective
from nas.recipe import Recipe
from nas.runs import EVENTS, GENOTYPE, RESULT, Run
from nas.search.bilevel import Bilevel
from nas.spaces.darts.cost import LEVELS, CellCost
from nas.spaces.darts.latency import LatencyTable
from nas.spaces.darts.network import NetworkShape
from nas.spaces.darts.space import DartsSpace
from nas.spaces.space import Weights

BUDGET_SLACK = 0.02
"""How far below its budget a network may end."""


def space_of(recipe: Recipe) -> DartsSpace:
    """The space of a recipe."""
    space = recipe.space
    return DartsSpace(
        space.operations,
        space.nodes,
        NetworkShape(space.channels, space.layers),
        network_shape(recipe),
        init_scale=space.init_scale,
    )


def network_shape(recipe: Recipe) -> NetworkShape:
    """How the network that is trained is stacked."""
    return NetworkShape(recipe.network.channels, recipe.network.layers, recipe.network.stem)


def network_input(recipe: Recipe, image: tuple[int, int, int], classes: int) -> tuple[tuple[int, int, int], int]:
    """The images and the number of classes that the network is made for: those of the recipe, or of the data where it says none."""
    size = recipe.network.size
    return (image[0], size, size) if size else image, recipe.network.classes or classes


def latency_table(recipe: Recipe) -> LatencyTable | None:
    """The measured times that the objective names, if it does."""
    return LatencyTable.load(Path(recipe.objective.table)) if recipe.objective.table else None


@dataclass(frozen=True, eq=False)
class Costs:
    """What a search reports and what it moves by."""

    moved_by: CellCost
    network: CellCost

    @classmethod
    def of(cls, recipe: Recipe, space: DartsSpace, data: ImageData) -> Costs:
        """The costs that the objective of a recipe speaks of.

        Raises:
            OptionError: there is no such metric, or no measured times for it.
        """
        settings, classes = recipe.objective, len(data.classes)
        table = latency_table(recipe)
        network = space.network_cost(settings.metric, *network_input(recipe, data.shape, classes), table)
        if settings.of == "network":
            return cls(network, network)
        if settings.of == "supernet":
            return cls(space.supernet_cost(settings.metric, data.shape, classes, table), network)
        return cls(space.cells_cost(settings.metric, data.shape, classes, settings.k3, table), network)


class Search(Job):
    """One search, from its beginning or from where its folder says.

    Args:
        run: its folder.
        recipe: its settings.
        data: its images.

    Raises:
        BudgetError: no network of the space meets the budget.
        RecipeError: a setting cannot be used.
    """

    steadied_by: ClassVar[str] = "search.weight_lr, search.alpha_lr or search.gradient_clip"

    def __init__(self, run: Run, recipe: Recipe, data: ImageData) -> None:
        super().__init__(run, device_of(recipe.machine), sums=5)
        self.recipe, self.data = recipe, data
        self.space = space_of(recipe)
        self.costs = Costs.of(recipe, self.space, data)
        self.objective = build_objective(recipe.objective)
        if self._has_budget:
            self._check_budget()
        seed_everything(recipe.seed)
        self.supernet = placed(self.space.supernet(data.shape, len(data.classes)), recipe.machine, self.device)
        self.bilevel = self._bilevel()
        self.train_batches, self.valid_batches = self._batches()

    @property
    def _has_budget(self) -> bool:
        return self.recipe.objective.form == "budget"

    def _check_budget(self) -> None:
        """Say at once if no network of the space meets the budget."""
        edges, count = len(self.space.edge_names), len(self.space.operations)
        uniform = {level: torch.full((edges, count), 1 / count) for level in LEVELS}
        self.space.derive_within(uniform, self.costs.network, *bounds_of(self.recipe.objective.target))

    def _bilevel(self) -> Bilevel:
        settings, machine = self.recipe.search, self.recipe.machine
        weight_optimizer = torch.optim.SGD(
            self.supernet.network_weights(), settings.weight_lr, settings.momentum, weight_decay=settings.weight_decay, foreach=True
        )
        architecture_optimizer = torch.optim.Adam(
            self.supernet.architecture_parameters(),
            settings.alpha_lr,
            (settings.alpha_betas[0], settings.alpha_betas[1]),
            weight_decay=settings.alpha_weight_decay,
        )
        return Bilevel(
            Compiled(self.supernet) if machine.compile else self.supernet,
            self.objective,
            _nothing if self.recipe.objective.form == "none" else self.costs.moved_by.to(self.device),
            weight_optimizer,
            architecture_optimizer,
            settings.order == 2,
            settings.gradient_clip,
            autocast_of(machine, self.device),
        )

    def _batches(self) -> tuple[Batches, Batches]:
        recipe, settings = self.recipe, self.recipe.search
        augmentation = augmentation_of(self.data, settings.augment, settings.cutout, section="search")
        parts = halves(limited(self.data.train, recipe.data.limit, recipe.seed), recipe.seed, settings.train_share)
        train, valid = (
            Batches(
                self.data,
                part,
                settings.batch_size,
                seed=2 * recipe.seed + index,
                augmentation=augmentation,
                device=self.device,
                channels_last=recipe.machine.channels_last,
            )
            for index, part in enumerate(parts)
        )
        return enough(train), enough(valid)

    def finish(self, progress: Progress | None = None) -> Genotype:
        """Search to the end, derive and write the genotype.

        Raises:
            RunError: the folder cannot be read or written.
            DivergedError: a loss is no number any more.
        """
        self.do_epochs(self.recipe.search.epochs, len(self.train_batches), progress)
        weights = self.weights()
        strongest = genotype = self.space.derive(weights)
        cost = self.costs.network
        if self._has_budget:
            genotype = self.space.derive_within(weights, cost, *bounds_of(self.recipe.objective.target))
        self.run.write_json(GENOTYPE, genotype.to_dict())
        result = {"metric": cost.metric, "cost": cost.of(genotype), "cost_of_strongest": cost.of(strongest)}
        self.run.write_json(RESULT, {**result, "skips": genotype.count("skip_connect")})
        return genotype

    def one_step(self) -> None:
        """One step of the bilevel search, or of the weights alone while it warms up."""
        settings = self.recipe.search
        for group in self.bilevel.weight_optimizer.param_groups:
            group["lr"] = cosine(settings.weight_lr, settings.weight_lr_min, self.epoch, settings.epochs)
        seed_everything(self.recipe.seed, self.epoch, self.step)
        train = self.train_batches.batch(self.epoch, self.step)
        if self.epoch < settings.warmup_epochs:
            self._count((*self.bilevel.weight_step(train), train[1]))
            return
        valid_epoch, valid_step = divmod(self.epoch * len(self.train_batches) + self.step, len(self.valid_batches))
        valid = self.valid_batches.batch(valid_epoch, valid_step)
        step = self.bilevel.step(train, valid)
        self._count((step.train_loss, step.train_logits, train[1]), (step.valid_loss, step.valid_logits, valid[1]))
        if self._has_budget:
            self.objective.observe(self.costs.network.of(self.space.derive(self.weights())))

    def _count(self, *seen: tuple[Tensor, Tensor, Tensor]) -> None:
        """Add up loss and accuracy of the batches of a step: training, and validation where it saw one."""
        found = [torch.ones((), device=self.device, dtype=torch.float64)]
        for loss, logits, labels in seen:
            found += [loss.double(), (logits.argmax(1) == labels).double().mean()]
        self.sums[: len(found)] += torch.stack(found)

    def weights(self) -> dict[str, Tensor]:
        """The weights of the candidates now, on the CPU."""
        return {level: weights.detach().cpu() for level, weights in self.supernet.weights().items()}

    def event(self) -> dict[str, Any]:
        """Accuracies, costs, and the weights of the candidates, of which nine digits are exact, so that they derive the same network."""
        count, train_loss, train_right, valid_loss, valid_right = self.sums.tolist()
        weights = self.weights()
        derived = self.space.derive(weights)
        event = {
            "train_loss": train_loss / count,
            "train_accuracy": train_right / count,
            "cost_metric": self.costs.network.metric,
            "cost": float(self.costs.network(weights)),
            "derived_cost": self.costs.network.of(derived),
            "moved_by_cost": float(self.costs.moved_by(weights)),
            "entropy": sum(float(torch.special.entr(table).sum(1).mean()) for table in weights.values()) / len(weights),
            "skips": derived.count("skip_connect"),
            "weights": {level: [[float(f"{value:.9g}") for value in row] for row in table.tolist()] for level, table in weights.items()},
        }
        if self.epoch >= self.recipe.search.warmup_epochs:  # before that no validation batch is seen
            event |= {"valid_loss": valid_loss / count, "valid_accuracy": valid_right / count}
        if self._has_budget:
            event |= {"budget": self.recipe.objective.target, "multiplier": self.objective.state()}
        return event

    def state(self) -> dict[str, Any]:
        """The supernet, both optimizers, and what the objective keeps."""
        return {
            "supernet": self.supernet.state_dict(),
            "weight_optimizer": self.bilevel.weight_optimizer.state_dict(),
            "architecture_optimizer": self.bilevel.architecture_optimizer.state_dict(),
            "objective": self.objective.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.supernet.load_state_dict(state["supernet"])
        self.bilevel.weight_optimizer.load_state_dict(state["weight_optimizer"])
        self.bilevel.architecture_optimizer.load_state_dict(state["architecture_optimizer"])
        self.objective.restore(float(state["objective"]))


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


def _nothing(weights: Weights) -> Tensor:  # noqa: ARG001  a cost is given the weights
    """A cost for an objective that does not ask for one."""
    return torch.zeros((), dtype=torch.float64)


def bounds_of(budget: float) -> tuple[int, int]:
    """What a network may cost to meet a budget."""
    return math.ceil(budget * (1 - BUDGET_SLACK)), math.floor(budget)


def recorded_weights(run: Run, space: DartsSpace) -> dict[str, Tensor]:
    """The weights of the candidates after the last whole epoch of a search.

    Raises:
        RunError: there is none yet, or its weights do not fit the space.
    """
    events = run.events(weights=dict)
    if not events:
        raise RunError(f"the search in {run.folder} has not finished an epoch yet")
    wanted = len(space.edge_names), len(space.operations)
    try:
        found = {level: torch.tensor(events[-1]["weights"][level]) for level in LEVELS}
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"the weights at the end of {run.folder / EVENTS} cannot be read ({first_line(error)}). {ADVICE}") from error
    if any(tuple(table.shape) != wanted for table in found.values()):
        raise RunError(
            f"the weights at the end of {run.folder / EVENTS} are not of {wanted[0]} edges with {wanted[1]} operations, as the recipe "
            f"says: one of the two was changed. {ADVICE}"
        )
    return found
