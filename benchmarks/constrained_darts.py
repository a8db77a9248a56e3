"""The constrained search of Song & Li 2020: FLOPs of what it finds against k3, and its accuracy against random networks of equal FLOPs.

    FLOPSCOPE_DATA=... python -m benchmarks.constrained_darts               # under an hour on two cores
    FLOPSCOPE_DATA=... python -m benchmarks.constrained_darts --profile paper --workers 1   # the paper's setting, for a GPU

Each search and each training is a run folder below ``--out``; called again, the benchmark goes on where it was stopped. The small profile
differs from the paper in scale, and in that its searches are first order, with an alpha_lr of 0.02 in place of 3e-4.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from tabulate import tabulate

from nas.data import ImageData, load
from nas.environment import with_whole_paths
from nas.errors import RunError
from nas.genotype import INPUTS, Genotype
from nas.models.spec import build
from nas.recipe import Recipe
from nas.recipe import load as load_recipe
from nas.report.tradeoff import Point, draw_tradeoff
from nas.runs import Run
from nas.searching import Search, space_of
from nas.training import Training

PAPER_K3 = (0.0, 1e5, 5e5, 1e6, 5e6)
MATCHED = (5e5, 5e6)
"""For these k3 random networks of equal FLOPs are trained beside what the search found."""
TOLERANCE = 0.05
SMALL = (
    ("data.limit", 4000), ("data.size", 16), ("space.nodes", 3), ("space.channels", 4), ("space.layers", 4), ("network.channels", 8),
    ("network.layers", 6), ("search.order", 1), ("search.epochs", 6), ("search.alpha_lr", 0.02), ("train.epochs", 10),
    ("train.batch_size", 64), ("train.lr", 0.05), ("train.cutout", 0), ("train.drop_path", 0.0), ("train.auxiliary", 0.0),
    ("machine.threads", 1),
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A search and the training of what it finds, or the training of a random network."""

    name: str
    profile: str
    k3: float
    seed: int
    out: str
    genotype: str = ""


def recipe_of(profile: str, k3: float, seed: int) -> Recipe:
    """The recipe of one search; ``k3`` is in the unit of the paper's cells."""
    settings: list[tuple[str, Any]] = [("seed", seed)]
    if profile == "small":
        settings += SMALL
    recipe = load_recipe("constrained", settings)
    return load_recipe("constrained", [*settings, ("objective.k3", k3 * scale_of(recipe))])


def scale_of(recipe: Recipe) -> float:
    """How many FLOPs a candidate of these cells has for each of a candidate of the paper's, on the average."""
    return _candidate_flops(recipe) / _candidate_flops(load_recipe("constrained"))


def _candidate_flops(recipe: Recipe) -> float:
    space, size = space_of(recipe), recipe.data.size or 32
    cost = space.cells_cost("flops", (3, size, size), 10)
    uniform = torch.full((len(space.edge_names), len(space.operations)), 1 / len(space.operations))
    return float(cost({"normal": uniform, "reduce": uniform})) / (len(space.edge_names) * recipe.space.layers)


def work(job: Job) -> dict[str, Any]:
    """Do a job, or what is left of it."""
    folder = Path(job.out) / job.name
    recipe = recipe_of(job.profile, job.k3, job.seed)
    data = load(recipe.data.name, Path(recipe.data.root) if recipe.data.root else None, size=recipe.data.size or None)
    if job.genotype:
        genotype = Genotype.load(Path(job.genotype))
    else:
        run = _run(folder / "search", "search", recipe, data, {})
        genotype = Genotype.from_dict(run.read_json("genotype.json")) if _done(run) else Search(run, recipe, data).finish()
        run.write_json("genotype.json", genotype.to_dict())
    run = _run(folder / "train", "train", recipe, data, {"network": job.name, "label": job.name}, genotype)
    if not _done(run):
        torch.manual_seed(job.seed)
        network = build(genotype, data.shape, len(data.classes), space_of(recipe).trained, auxiliary=recipe.train.auxiliary > 0)
        Training(run, recipe, data, network).finish()
    cost = space_of(recipe).network_cost("flops", data.shape, len(data.classes))
    accuracy = run.read_json("result.json")["test_accuracy"]
    return {
        "name": job.name, "k3": job.k3, "seed": job.seed, "random": bool(job.genotype), "flops": cost.of(genotype), "accuracy": accuracy,
        "skips": genotype.count("skip_connect"), "genotype": genotype.to_dict(),
    }  # fmt: skip


def _run(folder: Path, kind: str, recipe: Recipe, data: ImageData, about: dict[str, Any], genotype: Genotype | None = None) -> Run:
    if not Run.is_at(folder):
        return Run.create(folder, kind, recipe, data, about, genotype)
    run = Run.open(folder, kind)
    if run.recipe() != with_whole_paths(recipe):
        raise RunError(f"{folder} holds a run with other settings than this benchmark's now: remove it, or name another folder with --out")
    run.check_data(data)
    return run


def _done(run: Run) -> bool:
    return (run.folder / "result.json").exists()


def random_genotype(recipe: Recipe, flops: int, draw: random.Random) -> Genotype:
    """A network drawn uniformly from those of the space whose FLOPs are within `TOLERANCE` of a number."""
    space, size = space_of(recipe), recipe.data.size or 32
    cost = space.network_cost("flops", (3, size, size), 10)
    operations = [name for name in space.operations if name != "none"]
    concat = tuple(range(INPUTS, INPUTS + space.nodes))
    while True:
        cells = []
        for _ in range(2):
            states = [draw.sample(range(INPUTS + node), 2) for node in range(space.nodes)]
            cells.append(tuple((draw.choice(operations), state) for pair in states for state in pair))
        genotype = Genotype(cells[0], concat, cells[1], concat)
        if abs(cost.of(genotype) / flops - 1) <= TOLERANCE:
            return genotype


def random_jobs(found: list[dict[str, Any]], profile: str, out: Path, per_network: int) -> list[Job]:
    """Trainings of random networks, a few for each network that was found with the k3 in `MATCHED`."""
    jobs = []
    for row in found:
        if row["k3"] not in MATCHED:
            continue
        draw, recipe = random.Random(row["seed"]), recipe_of(profile, row["k3"], row["seed"])
        for index in range(per_network):
            name = f"random-{row['name']}-{index}"
            path = out / f"{name}.json"
            random_genotype(recipe, row["flops"], draw).save(path)
            jobs.append(Job(name, profile, row["k3"], row["seed"], str(out), str(path)))
    return jobs


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and spread over seeds."""
    lines = []
    for is_random in (False, True):
        for k3 in sorted({row["k3"] for row in rows if row["random"] == is_random}):
            group = [row for row in rows if row["k3"] == k3 and row["random"] == is_random]
            name = f"random, FLOPs of k3 = {k3:g}" if is_random else f"k3 = {k3:g}"
            accuracy = [row["accuracy"] for row in group]
            lines.append(
                [
                    name,
                    len(group),
                    f"{mean(row['flops'] for row in group) / 1e6:.2f}",
                    f"{min(row['flops'] for row in group) / 1e6:.2f} to {max(row['flops'] for row in group) / 1e6:.2f}",
                    f"{mean(row['skips'] for row in group):.1f}",
                    f"{mean(weightless(row['genotype']) for row in group):.1f}",
                    f"{mean(accuracy):.1%} ± {stdev(accuracy) if len(accuracy) > 1 else 0:.1%}",
                ]
            )
    return tabulate(
        lines,
        ["search", "networks", "MFLOPs", "range", "skips", "without weights", "test accuracy"],
        tablefmt="github",
        disable_numparse=True,
    )


def weightless(genotype: dict[str, Any]) -> int:
    """How many edges of a genotype skip or pool."""
    return sum(name == "skip_connect" or "pool" in name for name, _ in (*genotype["normal"], *genotype["reduce"]))


def main() -> None:
    """Run everything that is not there yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=("small", "paper"), default="small")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--random", type=int, default=2, help="random networks for each one found")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/constrained_darts"))
    options = parser.parse_args()
    out = options.out / options.profile
    out.mkdir(parents=True, exist_ok=True)
    jobs = [Job(f"k3-{k3:g}-seed-{seed}", options.profile, k3, seed, str(out)) for seed in range(options.seeds) for k3 in PAPER_K3]
    try:
        with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
            found = list(pool.map(work, jobs))
            print(table(found), flush=True)
            found += pool.map(work, random_jobs(found, options.profile, out, options.random))
    except RunError as error:
        parser.error(str(error))
    print(table(found))
    (out / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    points = [
        Point(row["name"], row["flops"], row["accuracy"], None, "random" if row["random"] else f"k3 = {row['k3']:g}") for row in found
    ]
    draw_tradeoff(points, out / "accuracy.png", cost_label="FLOPs")


if __name__ == "__main__":
    main()
