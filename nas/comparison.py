"""Searched and hand-made networks in one table: accuracy, parameters, work, memory access, measured time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from tabulate import tabulate
from torch import nn

from nas.environment import Images
from nas.errors import RunError
from nas.genotype import Genotype
from nas.models.spec import build, cost_of, genotype_of
from nas.recipe import Recipe
from nas.report.tradeoff import Point
from nas.runs import RESULT, Run
from nas.searching import network_input, network_shape
from nas.spaces.darts.latency import milliseconds

HEADERS = {
    "name": "network",
    "accuracy": "test accuracy",
    "params": "params",
    "macs": "MACs",
    "flops": "FLOPs",
    "access": "access",
    "milliseconds": "ms",
    "images": "images",
}
STYLES = {"table": "simple", "markdown": "github", "latex": "latex_booktabs", "csv": "tsv"}


@dataclass(frozen=True, slots=True)
class Row:
    """One network and the images that it is made for.

    ``accuracy`` is ``None`` where it was not trained; ``milliseconds`` is the median time of one image on this machine.
    """

    name: str
    searched: bool
    accuracy: float | None
    params: int
    macs: int
    flops: int
    access: int
    milliseconds: float
    images: str


def row_of_run(run: Run, repeats: int = 20) -> Row:
    """The row of a training, or of what a search found, which is not trained: with the recipe and the images of the run itself.

    Args:
        run: which.
        repeats: how often to measure the time.

    Raises:
        RunError: it has no network yet, or is a training that is not finished.
        FlopscopeError: the network cannot be built.
    """
    recipe, network, images, accuracy = run.recipe(), run.network(), run.images(), None
    if run.kind() == "train":
        if not (run.folder / RESULT).exists():
            raise RunError(f"the training in {run.folder} is not finished; resume it with: python -m nas train --resume {run.folder}")
        accuracy = float(run.read_json(RESULT, test_accuracy=float)["test_accuracy"])
    else:
        images = made_for(recipe, images)
    return _row(run.label(), network, accuracy, recipe, images, repeats)


def row_of_spec(spec: str, recipe: Recipe, images: Images, repeats: int = 20) -> Row:
    """The row of a network by name, which is not trained.

    Args:
        spec: which, as for `nas.models.spec.build`.
        recipe: how cells are stacked.
        images: what it is made for.
        repeats: how often to measure the time.

    Raises:
        FlopscopeError: the network cannot be built.
    """
    return _row(spec, genotype_of(spec) or spec, None, recipe, images, repeats)


def made_for(recipe: Recipe, images: Images) -> Images:
    """The images that the network of a recipe is made for, where the recipe says other sizes or classes than those of its data.

    They have no name if there are other classes, for then they are of no data that are at hand.
    """
    shape, classes = network_input(recipe, images.shape, images.classes)
    return replace(images, name=images.name if classes == images.classes else "", shape=shape, classes=classes)


def _row(name: str, spec: Genotype | str, accuracy: float | None, recipe: Recipe, images: Images, repeats: int) -> Row:
    network: nn.Module = build(spec, images.shape, images.classes, network_shape(recipe)).eval()
    total = cost_of(network, images.shape)
    time = milliseconds(network, torch.zeros(1, *images.shape), repeats)
    searched = isinstance(spec, Genotype)
    return Row(name, searched, accuracy, total.params, total.macs, total.flops, total.access, time, str(images))


def table_of(rows: Sequence[Row], style: str = "table") -> str:
    """The rows as a table: ``"table"``, ``"markdown"``, ``"latex"``, or ``"csv"``, which has the numbers in full.

    The images have a column where they are not the same in all rows, and in ``"csv"``.
    """
    if style == "csv":
        import csv
        import io

        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(HEADERS)
        writer.writerows([["" if (value := getattr(row, key)) is None else value for key in HEADERS] for row in rows])
        return out.getvalue()
    shown = [key for key in HEADERS if key != "images" or len({row.images for row in rows}) > 1]
    cells = [[_cell(key, getattr(row, key)) for key in shown] for row in rows]
    aligned = ["left" if key in ("name", "images") else "right" for key in shown]
    return tabulate(cells, [HEADERS[key] for key in shown], tablefmt=STYLES[style], disable_numparse=True, colalign=aligned) + "\n"


def points_of(rows: Sequence[Row]) -> list[Point]:
    """Accuracy against MACs, of the rows that have an accuracy."""
    return [
        Point(row.name, row.macs, row.accuracy, None, "searched" if row.searched else "hand-made")
        for row in rows
        if row.accuracy is not None
    ]


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if key == "accuracy":
        return f"{value:.2%}"
    if key == "milliseconds":
        return f"{value:.2f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
