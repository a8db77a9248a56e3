"""Measure the relaxed cost: exactness, throughput, and its share of a search step.

Counts are compared as integers. Times are taken in one process and shown as rates and ratios. FLOPSCOPE_DATA names the folder of the
published tables.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy
import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional as F

import flopscope
from flopscope.cost import METRICS
from flopscope.relax import cost_model, widths
from tests.relax.spaces import darts, nasbench201, nasbench_macro
from tests.relax.spaces.space import Space, slots_of

TARGET_RATE = 1e6
TARGET_SHARE = 0.01
RESULTS = Path("benchmarks/results/relax.json")


def seconds(run: Callable[[], Any], repeats: int) -> float:
    """The median time of a few runs after one that does not count."""
    run()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return median(found)


# -- exactness ----------------------------------------------------------------------------------------------


def published_rows(space: Space, published: tuple[Tensor, dict[str, Tensor]], columns: dict[str, str]) -> tuple[int, int]:
    """How many rows of a published table equal the relaxed cost in parameters and MACs, one batched call each, and how many there are."""
    architectures, table = published
    supernet = space.supernet()
    model = cost_model(supernet, space.inputs())
    ordered = architectures[:, slots_of(supernet, model.decisions)]
    same = torch.stack([model(metric, ordered) == table[column] for metric, column in columns.items()]).all(0)
    return int(same.sum()), len(same)


def exactness(data: Path) -> list[list[Any]]:
    """Every row of the published tables."""
    rows = []
    for name in nasbench201.DATA_SETS:
        columns = {"params": f"params_{name}", "macs": f"macs_{name}"}
        rows.append([f"NAS-Bench-201, {name}", *published_rows(nasbench201.space(name), nasbench201.published(data), columns)])
    columns = {"params": "params", "macs": "macs"}
    rows.append(["NAS-Bench-Macro", *published_rows(nasbench_macro.space(), nasbench_macro.published(data), columns)])
    return rows


def vertices(count: int) -> list[Any]:
    """Random DARTS networks of full size, every metric, against the analyzer's count of the network built for each."""
    space = darts.space()
    supernet = space.supernet()
    model = cost_model(supernet, space.inputs())
    architectures = space.random(count, seed=1)
    found = {metric: model(metric, architectures[:, slots_of(supernet, model.decisions)]).tolist() for metric in METRICS}
    same = 0
    for row, architecture in enumerate(architectures.tolist()):
        same += space.cost(architecture) == {metric: found[metric][row] for metric in METRICS}
    return ["DARTS networks, 5 metrics each", same, count]


# -- speed ----------------------------------------------------------------------------------------------------


def throughput(repeats: int) -> list[list[Any]]:
    """Architectures of the DARTS cell space a second, beside analyzing the network of one architecture."""
    space = darts.space()
    model = cost_model(space.supernet(), space.inputs())
    indices = torch.randint(8, (1_000_000, 28))
    probabilities = torch.randn(200_000, 28, 8, dtype=torch.float64).softmax(-1)
    single = probabilities.float()
    network = space.network((4,) * 28)
    cases: dict[str, tuple[Callable[[], Any], int]] = {
        "indices [N, 28]": (lambda: model("macs", indices), len(indices)),
        "probabilities [N, 28, 8], float64": (lambda: model("macs", probabilities), len(probabilities)),
        "probabilities [N, 28, 8], float32": (lambda: model("macs", single), len(probabilities)),
        "flopscope.analyze of one network, warm": (lambda: flopscope.analyze(network, space.inputs()).total, 1),
    }
    return [[name, f"{count / seconds(run, repeats):,.0f}"] for name, (run, count) in cases.items()]


def share_of_a_step(batch: int, repeats: int) -> dict[str, float]:
    """The time of ``model("macs")`` and its backward beside a first-order DARTS step (Liu et al. 2019).

    Such a step takes the gradient of the weights on one batch and that of the architecture parameters on another.
    """
    space = darts.space()
    supernet = space.supernet().train()
    model = cost_model(supernet, space.inputs())
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))

    def step() -> None:
        for _ in range(2):
            F.cross_entropy(supernet(images), labels).backward()

    def cost() -> None:
        model("macs").backward()

    costs, steps = seconds(cost, 50), seconds(step, repeats)
    return {"step_seconds": steps, "cost_seconds": costs, "share": costs / steps, "batch": batch}


def width_calls(repeats: int) -> list[list[Any]]:
    """One architecture and a batch of a thousand through the relaxed widths, beside a cold trace of one variant."""
    rows = []
    for name in ("mobilenet_v2", "resnet50", "shufflenet_v2_x1_0"):
        loaded = flopscope.load(f"torchvision:{name}")
        model = loaded.model.eval()
        w = widths(model, *loaded.args)
        batch = w.sizes.expand(1000, -1).contiguous()
        sizes = w.sizes.double().requires_grad_()

        def trace(model: nn.Module = model, inputs: Any = loaded.args) -> None:
            flopscope.clear_memo()
            _ = flopscope.analyze(model, *inputs).total

        one = seconds(lambda w=w: w.cost("macs"), repeats)
        many = seconds(lambda w=w, batch=batch: w.cost("macs", batch), repeats)
        slope = seconds(lambda w=w, sizes=sizes: w.cost("macs", sizes).backward(), repeats)
        rows.append(
            [
                name,
                len(w.groups),
                f"{one * 1e3:.1f}",
                f"{slope * 1e3:.1f}",
                f"{len(batch) / many:,.0f}",
                f"{seconds(trace, repeats) * 1e3:.1f}",
            ]
        )
    return rows


def formulas() -> list[list[Any]]:
    """The time to find and check closed forms, and the sizes a second that they give."""
    rows = []
    for spec, symbols in (("torchvision:resnet50", {"B": 0, "R": (2, 3)}), ("hf:gpt2", {"B": 0, "S": 1}), ("hf:llama", {"B": 0, "S": 1})):
        loaded = flopscope.load(spec)
        start = time.perf_counter()
        form = flopscope.closed_form(loaded.model.eval(), *loaded.args, symbols=symbols, **loaded.kwargs)
        found = time.perf_counter() - start
        batches, sizes = numpy.arange(1, 1001)[:, None], numpy.arange(64, 1024)[None, :]
        function = form.lambdify("macs")
        rate = batches.size * sizes.size / seconds(lambda f=function, b=batches, s=sizes: f(b, s), 3)
        rows.append([spec, ", ".join(symbols), f"{found:.1f}", f"{rate:,.0f}"])
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the tables and the targets, and write the JSON."""
    parser = argparse.ArgumentParser("python -m benchmarks.relax", description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default 2)")
    parser.add_argument("--batch", type=int, default=16, help="images in a batch of the DARTS step (default 16; DARTS itself takes 64)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median is taken (default 3)")
    parser.add_argument("--vertices", type=int, default=50, help="random DARTS networks to build and analyze (default 50)")
    parser.add_argument("--json", type=Path, default=RESULTS, help=f"where the results go (default {RESULTS})")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    folder = os.environ.get("FLOPSCOPE_DATA")
    exact = [vertices(options.vertices), *(exactness(Path(folder)) if folder else [])]
    print(tabulate(exact, ["table", "rows equal in every count", "rows"]), end="\n\n")
    if not folder:
        print("FLOPSCOPE_DATA names no folder, so the published tables were left out\n")
    rates = throughput(options.repeats)
    print(tabulate(rates, ["DARTS cell space", "architectures a second"], colalign=("left", "right"), disable_numparse=True), end="\n\n")
    wide = width_calls(options.repeats)
    headers = ["widths of", "groups", "one cost, ms", "cost and gradient, ms", "variants a second, batch of 1000", "cold trace, ms"]
    print(tabulate(wide, headers, disable_numparse=True), end="\n\n")
    closed = formulas()
    print(tabulate(closed, ["closed form of", "in", "found and checked, s", "sizes a second"], disable_numparse=True), end="\n\n")
    share = share_of_a_step(options.batch, options.repeats)
    print(f"a first-order DARTS step on {options.batch} images: {share['step_seconds']:.2f} s; model('macs') and backward: "
          f"{share['cost_seconds'] * 1e3:.2f} ms, a share of {share['share']:.5%}\n")  # fmt: skip
    targets = {
        "all counts equal": all(same == count for _, same, count in exact),
        "a million architectures a second": all(float(rate.replace(",", "")) >= TARGET_RATE for _, rate in rates[:3]),
        "under 1 % of a DARTS step": share["share"] < TARGET_SHARE,
    }
    print(tabulate([[name, "PASS" if met else "MISSED"] for name, met in targets.items()], ["target", "verdict"]))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "threads": options.threads,
        "exact": exact,
        "rates": rates,
        "widths": wide,
        "closed": closed,
        "share": share,
        "targets": targets,
    }
    options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
