"""The report of a run, for people: a Markdown page and its pictures."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from nas.amounts import in_words
from nas.checked import checked
from nas.genotype import Genotype
from nas.recipe import ObjectiveSettings, Recipe
from nas.report.cells import draw_cells
from nas.report.curves import draw_history
from nas.report.heatmap import draw_weights
from nas.runs import EVENTS, GENOTYPE, REPORT, RESULT, Run
from nas.searching import recorded_weights
from nas.spaces.darts.space import DartsSpace


def write_search_report(run: Run, space: DartsSpace) -> None:
    """Write ``report.md``, ``history.png``, ``weights.png`` and ``cells.png`` of a search that is finished.

    Raises:
        RunError: a file cannot be read or written.
    """
    events = run.events(moved_by_cost=float, **{key: float for key in _COLUMNS if key != VALIDATION})
    weights = {level: table.tolist() for level, table in recorded_weights(run, space).items()}
    result = run.read_json(RESULT, metric=str, cost=int, cost_of_strongest=int, skips=int)
    genotype, recipe = Genotype.load(run.folder / GENOTYPE), run.recipe()
    for event in events:
        if VALIDATION in event or event["epoch"] >= recipe.search.warmup_epochs:  # before that no validation batch is seen
            checked(event, f"epoch {event['epoch']} of {run.folder / EVENTS}", **{VALIDATION: float})
    draw_history(_from_one(events), run.folder / "history.png")
    draw_weights(weights, space.operations, space.edge_names, run.folder / "weights.png")
    draw_cells(genotype, run.folder / "cells.png")
    lines = [
        f"# Search: {recipe.name}",
        f"{recipe.source}. {_origin(recipe)}",
        f"The network that the cells make ({recipe.network.layers} layers, {recipe.network.channels} channels) costs "
        f"**{in_words(result['cost'], result['metric'])}**{_budget_words(recipe.objective, result)}. It has {result['skips']} skip "
        f"connections.{_target_words(recipe.objective, events[-1]['moved_by_cost'])}",
        "## Cells",
        "![The cells](cells.png)",
        f"```\n{genotype}\n```",
        "## Accuracy and cost over time",
        "![Accuracy and cost over time](history.png)",
        "Validation accuracy is that of the batches which moved the architecture, before they did; no weight was trained on them.",
        _table(_from_one(events), _COLUMNS),
        "## Weights of the candidates at the end",
        "![Weights of the candidates](weights.png)",
    ]
    run.write_text(REPORT, "\n\n".join(lines) + "\n")


def write_training_report(run: Run) -> None:
    """Write ``report.md``, ``history.png`` and, of a network of cells, ``cells.png`` of a training that is finished.

    Raises:
        RunError: a file cannot be read or written.
    """
    events = run.events(**dict.fromkeys(_TRAINING_COLUMNS, float))
    result = run.read_json(RESULT, test_accuracy=float, **dict.fromkeys(_COSTS, int))
    network, recipe = run.network(), run.recipe()
    draw_history(_from_one(events), run.folder / "history.png")
    lines = [
        f"# Training: {run.label()}",
        f"Recipe {recipe.name}. {_origin(recipe)}",
        f"**Test accuracy {result['test_accuracy']:.2%}**. Epochs: {len(events)}; the test images were seen once, in the end.",
        tabulate([[f"{result[key]:,}" for key in _COSTS]], list(_COSTS.values()), tablefmt="github", disable_numparse=True),
    ]
    if isinstance(network, Genotype):
        draw_cells(network, run.folder / "cells.png")
        lines += ["## Cells", "![The cells](cells.png)", f"```\n{network}\n```"]
    lines += ["## Accuracy over time", "![Accuracy over time](history.png)", _table(_from_one(events), _TRAINING_COLUMNS)]
    run.write_text(REPORT, "\n\n".join(lines) + "\n")


VALIDATION = "valid_accuracy"
_COLUMNS = {
    "train_accuracy": "train accuracy",
    VALIDATION: "validation accuracy",
    "cost": "expected cost",
    "derived_cost": "cost if derived now",
    "entropy": "entropy",
    "skips": "skips",
}
_TRAINING_COLUMNS = {"train_loss": "train loss", "train_accuracy": "train accuracy"}
_COSTS = {"params": "params", "macs": "MACs", "flops": "FLOPs", "access": "access"}
_SUBJECTS = {"cells": "the candidates in the cells", "supernet": "the supernet", "network": "the network"}


def _origin(recipe: Recipe) -> str:
    return f"Data: {recipe.data.name}. Seed {recipe.seed}. All settings are in `recipe.toml`, the versions in `environment.json`."


def _from_one(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events with epochs numbered as people count them, in tables and pictures alike."""
    return [{**event, "epoch": event["epoch"] + 1} for event in events]


def _table(events: list[dict[str, Any]], columns: dict[str, str]) -> str:
    rows = [[event["epoch"], *(_cell(event.get(key)) for key in columns)] for event in _spread(events)]
    return tabulate(rows, ["epoch", *columns.values()], tablefmt="github", disable_numparse=True)


def _cell(value: Any) -> str:
    if value is None:  # no validation while the weights warm up
        return "-"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4f}"


def _spread(events: list[dict[str, Any]], most: int = 12) -> list[dict[str, Any]]:
    """Some of the epochs, the first and the last among them."""
    if len(events) <= most:
        return events
    return [events[round(index * (len(events) - 1) / (most - 1))] for index in range(most)]


def _budget_words(objective: ObjectiveSettings, result: dict[str, Any]) -> str:
    if objective.form != "budget":
        return ""
    words = f", {result['cost'] / objective.target:.1%} of its budget of {in_words(objective.target, objective.metric)}"
    if result["cost"] != result["cost_of_strongest"]:
        words += f" (the strongest network without it would cost {in_words(result['cost_of_strongest'], objective.metric)})"
    return words


def _target_words(objective: ObjectiveSettings, expected: float) -> str:
    """How near the cost that the objective speaks of came to a target, which nothing makes it meet."""
    if objective.form not in ("absolute", "power"):
        return ""
    return (
        f" The objective's target is {in_words(objective.target, objective.metric)} of {_SUBJECTS[objective.of]}, whose expected cost was "
        f"{in_words(expected, objective.metric)} at the end, {expected / objective.target:.1%} of it."
    )
