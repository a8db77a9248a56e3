"""Searched and hand-made networks in one table: accuracy, parameters, work, memory access, measured time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

import flopscope
from nas.data import ImageData
from nas.models.spec import build
from nas.recipe import Recipe
from nas.report.tradeoff import Point
from nas.runs import RECIPE, Run
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
}
STYLES = {"table": "simple", "markdown": "github", "latex": "latex_booktabs", "csv": "tsv"}


@dataclass(frozen=True, slots=True)
class Row:
    """One network. ``accuracy`` is ``None`` where it was not trained; ``milliseconds`` is the median time of one image on this machine."""

    name: str
    searched: bool
    accuracy: float | None
    params: int
    macs: int
    flops: int
    access: int
    milliseconds: float


def row_of(spec: str, recipe: Recipe, data: ImageData, repeats: int = 20) -> Row:
    """The row of a run folder or of a network by name.

    Args:
        spec: the folder of a training, of a search (its network, not trained), or a SPEC of `nas.models.spec.build`.
        recipe: how cells are stacked, where the folder does not say.
        data: the images that a network by name is made for.
        repeats: how often to measure the time.

    Raises:
        RunError: the folder holds no finished run.
        FlopscopeError: the network cannot be built.
    """
    folder, accuracy, name = Path(spec), None, spec
    if (folder / RECIPE).is_file():
        run = Run.open(folder)
        recipe = run.recipe()
        if run.about()["kind"] == "train":
            accuracy = run.read_json("result.json")["test_accuracy"]
            spec = run.about()["network"]
        name = run.about().get("label", folder.name)
        if (folder / "genotype.json").is_file():
            spec = str(folder)
    image, classes = network_input(recipe, data.shape, len(data.classes))
    network = build(spec, image, classes if accuracy is None else len(data.classes), network_shape(recipe)).eval()
    total = flopscope.analyze(network, "x".join(map(str, (1, *image)))).total
    time = milliseconds(network, torch.zeros(1, *image), repeats)
    searched = (folder / "genotype.json").is_file() or spec.startswith("published:") or spec.endswith(".json")
    return Row(name, searched, accuracy, total.params, total.macs, total.flops, total.access, time)


def table_of(rows: Sequence[Row], style: str = "table") -> str:
    """The rows as a table: ``"table"``, ``"markdown"``, ``"latex"``, or ``"csv"``, which has the numbers in full."""
    if style == "csv":
        import csv
        import io

        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(HEADERS)
        writer.writerows([["" if (value := getattr(row, key)) is None else value for key in HEADERS] for row in rows])
        return out.getvalue()
    cells = [[_cell(key, getattr(row, key)) for key in HEADERS] for row in rows]
    aligned = ["left"] + ["right"] * (len(HEADERS) - 1)
    return tabulate(cells, list(HEADERS.values()), tablefmt=STYLES[style], disable_numparse=True, colalign=aligned) + "\n"


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
