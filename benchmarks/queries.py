"""Searches by queries on tables of real accuracies: ``python -m benchmarks.queries macro`` or ``nasbench201``.

``macro``: NAS-Bench-Macro (Su et al. 2021, 6,561 networks, CIFAR-10), three budgets of multiply-accumulates; the mean accuracy of three
trainings is the reward. ``nasbench201``: NAS-Bench-201 (Dong & Yang 2020, 15,625 cells), two budgets; the reward is the validation accuracy
after 12 epochs, and the regret is in test accuracy after 200. Regret is what the best network of the budget has more, in percent. "near"
is the median number of queries until a network within 0.1 % of the best reward is found. Means and standard errors of twenty seeds. No
image is touched.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import os
import random
import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from nas.search.queries import SEARCHES, Architecture, Query, Space, best_after

RESULTS = Path(__file__).parent / "results"
SEEDS, QUERIES, NEAR = 20, 1000, 0.1
POINTS = (50, 100, 200, 500, 1000)
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


@dataclass(frozen=True)
class Bench:
    """A table: what a search is told of each architecture, what it is judged by, and what it costs."""

    sizes: tuple[int, ...]
    reward: Mapping[Architecture, float]
    judged: Mapping[Architecture, float]
    macs: Mapping[Architecture, int]
    budgets: tuple[int, ...]


def macro() -> Bench:
    """NAS-Bench-Macro."""
    table = json.loads((_data() / "nas/nasbench_macro.json").read_text(encoding="utf-8"))
    keys = {tuple(map(int, key)): facts for key, facts in table.items()}
    accuracy = {key: float(facts["mean_acc"]) for key, facts in keys.items()}
    macs = {key: int(facts["flops"]) for key, facts in keys.items()}
    return Bench((3,) * 8, accuracy, accuracy, macs, (40_000_000, 55_000_000, 70_000_000))


def nasbench201() -> Bench:
    """NAS-Bench-201 on CIFAR-10."""
    reward, judged, macs = {}, {}, {}
    with gzip.open(_data() / "nas/nasbench201.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = tuple(OPERATIONS.index(name) for name in re.findall(r"\|?([a-z_0-9]+)~", row["arch"]))
            reward[key], judged[key] = float(row["c10_valid_12"]), float(row["c10_test_200"])
            macs[key] = int(row["macs_c10"])
    return Bench((5,) * 6, reward, judged, macs, (50_000_000, 100_000_000))


def _data() -> Path:
    return Path(os.environ["FLOPSCOPE_DATA"])


def measure(bench: Bench, seeds: int = SEEDS, queries: int = QUERIES) -> list[dict[str, Any]]:
    """Run every search at every budget."""
    found = []
    for budget in bench.budgets:
        within = [key for key, macs in bench.macs.items() if macs <= budget]
        best = max(bench.judged[key] for key in within)
        top = max(bench.reward[key] for key in within)
        for name, search in SEARCHES.items():
            runs = [_run(bench, budget, search, seed, queries) for seed in range(seeds)]
            regrets = {point: [best - bench.judged[run[point - 1].architecture] for run in runs] for point in POINTS if point <= queries}
            near = [next((number for number, query in enumerate(run, 1) if query.reward >= top - NEAR), math.inf) for run in runs]
            found.append({"budget": budget, "networks": len(within), "best": best, "search": name,
                          "regret": {point: statistics.mean(values) for point, values in regrets.items()},
                          "error": {point: statistics.stdev(values) / math.sqrt(seeds) for point, values in regrets.items()},
                          "near": statistics.median(near), "held": all(bench.macs[run[-1].architecture] <= budget for run in runs),
                          "curve": [statistics.mean(best - bench.judged[run[point].architecture] for run in runs)
                                    for point in range(0, queries, 10)]})  # fmt: skip
    return found


def _run(bench: Bench, budget: int, search: Callable[[Space], Any], seed: int, queries: int) -> list[Query]:
    space = Space(bench.sizes, bench.reward.__getitem__, lambda key: bench.macs[key] <= budget, random.Random(seed))
    return best_after(search(space), queries)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the mean regret against the number of queries, a panel for each budget."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    budgets = sorted({row["budget"] for row in rows})
    figure, panels = pyplot.subplots(1, len(budgets), figsize=(4.6 * len(budgets), 3.8), sharey=True, squeeze=False, layout="constrained")
    styles = dict(zip(SEARCHES, ("-", "--", "-.", ":"), strict=True))
    for panel, budget in zip(panels[0], budgets, strict=True):
        for row in rows:
            if row["budget"] == budget:
                xs = range(1, 10 * len(row["curve"]) + 1, 10)
                panel.plot(xs, [max(value, 1e-3) for value in row["curve"]], styles[row["search"]], label=row["search"])
        panel.set(title=f"at most {budget / 1e6:.0f} M MACs", xlabel="queries", xscale="log", yscale="log")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("mean regret, % accuracy (0.001 and less at the bottom)")
    panels[0][-1].legend()
    figure.savefig(path, dpi=140)
    print(f"wrote {path}")


def main() -> None:
    """Run a benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", choices=("macro", "nasbench201"))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--plot", type=Path, help="draw regret against queries into this file")
    asked = parser.parse_args()
    rows = measure(macro() if asked.bench == "macro" else nasbench201(), asked.seeds, asked.queries)
    points = [point for point in POINTS if point <= asked.queries]
    lines = [
        [f"{row['budget'] / 1e6:.0f} M", row["search"], *(f"{row['regret'][point]:.2f} ± {row['error'][point]:.2f}" for point in points),
         "never" if math.isinf(row["near"]) else f"{row['near']:.0f}", "yes" if row["held"] else "NO"]
        for row in rows
    ]  # fmt: skip
    headers = ["at most", "search", *(f"after {point}" for point in points), "near", "budget held"]
    print(tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"queries_{asked.bench}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if asked.plot is not None:
        draw(rows, asked.plot)


if __name__ == "__main__":
    main()
