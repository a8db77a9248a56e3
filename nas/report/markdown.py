"""The report of a run, for people: a Markdown page and its pictures."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from nas.amounts import in_words
from nas.genotype import Genotype
from nas.report.cells import draw_cells
from nas.report.curves import draw_history
from nas.report.heatmap import draw_weights
from nas.runs import Run


def write_search_report(run: Run, operations: tuple[str, ...], edge_names: list[str]) -> None:
    """Write ``report.md``, ``history.png``, ``weights.png`` and ``cells.png`` of a search that is finished.

    Raises:
        RunError: a file cannot be read or written.
    """
    events, result = run.events(), run.read_json("result.json")
    genotype = Genotype.from_dict(run.read_json("genotype.json"))
    draw_history(events, run.folder / "history.png")
    draw_weights(events[-1]["weights"], operations, edge_names, run.folder / "weights.png")
    draw_cells(genotype, run.folder / "cells.png")
    recipe = run.recipe()
    rows = [[event["epoch"] + 1, *(_cell(event.get(key)) for key in _COLUMNS)] for event in _spread(events)]
    lines = [
        f"# Search: {recipe.name}",
        f"{recipe.source}. Data: {recipe.data.name}. Seed {recipe.seed}. All settings are in `recipe.toml`, the versions in "
        "`environment.json`.",
        f"The network that the cells make ({recipe.network.layers} layers, {recipe.network.channels} channels) costs "
        f"**{in_words(result['cost'], result['metric'])}**{_budget_words(recipe.objective.target, result)}. It has {result['skips']} skip "
        "connections.",
        "## Cells",
        "![The cells](cells.png)",
        f"```\n{genotype}\n```",
        "## Accuracy and cost over time",
        "![Accuracy and cost over time](history.png)",
        "Validation accuracy is that of the batches which moved the architecture, before they did; no weight was trained on them.",
        tabulate(rows, ["epoch", *_COLUMNS.values()], tablefmt="github", disable_numparse=True),
        "## Weights of the candidates at the end",
        "![Weights of the candidates](weights.png)",
    ]
    run.write_text("report.md", "\n\n".join(lines) + "\n")


_COLUMNS = {
    "train_accuracy": "train accuracy",
    "valid_accuracy": "validation accuracy",
    "cost": "expected cost",
    "derived_cost": "cost if derived now",
    "entropy": "entropy",
    "skips": "skips",
}


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


def _budget_words(target: float, result: dict[str, Any]) -> str:
    if not target or result["cost"] > target:
        return ""
    words = f", {result['cost'] / target:.1%} of its budget of {in_words(target, result['metric'])}"
    if result["cost"] != result["cost_of_strongest"]:
        words += f" (the strongest network without it would cost {in_words(result['cost_of_strongest'], result['metric'])})"
    return words
