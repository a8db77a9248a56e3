"""A search step beside a plain implementation of the original's structure, on the same numbers, in one run.

    python -m benchmarks.search_step            # CPU: the original's setting, and a small one
    python -m benchmarks.search_step --device cuda --compile --amp

The plain one does what the code that was published with DARTS does: each edge runs its eight operations one by one and adds up eight
products; the architecture's step computes all gradients; the second order builds a second network and copies the weights there. It is
written here anew, in the default layout of memory.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional as F

from nas.objectives.log_product import LogProduct
from nas.search.bilevel import Batch, Bilevel
from nas.searching import Compiled
from nas.spaces.darts.network import NetworkShape
from nas.spaces.darts.space import DartsSpace

SETTINGS = {
    "original": (DartsSpace(), 64, (3, 32, 32)),
    "small": (DartsSpace(nodes=3, search=NetworkShape(4, 4), trained=NetworkShape(8, 6)), 64, (3, 16, 16)),
}
LR, MOMENTUM, DECAY, CLIP = 0.025, 0.9, 3e-4, 5.0
TARGET_CPU, TARGET_GPU = 2.0, 3.0
K3 = 1e6


class PlainStep:
    """A step in the original's way."""

    def __init__(self, net: Any, cost: Any, second_order: bool) -> None:
        self.net, self.cost, self.second_order = net, cost, second_order
        net.plain = True
        self.weights = torch.optim.SGD(net.network_weights(), LR, MOMENTUM, weight_decay=DECAY)
        self.alphas = torch.optim.Adam(net.architecture_parameters(), 3e-4, (0.5, 0.999), weight_decay=1e-3)

    def _total(self, net: Any, batch: Batch) -> Tensor:
        total: Tensor = LogProduct()(F.cross_entropy(net(batch[0]), batch[1]), self.cost(net.weights()))
        return total

    def __call__(self, train: Batch, valid: Batch) -> None:
        """One step."""
        net = self.net
        self.alphas.zero_grad()
        if self.second_order:
            self._second_order(train, valid)
        else:
            self._total(net, valid).backward()
        self.alphas.step()
        self.weights.zero_grad()
        F.cross_entropy(net(train[0]), train[1]).backward()
        nn.utils.clip_grad_norm_(net.network_weights(), CLIP)
        self.weights.step()

    def _second_order(self, train: Batch, valid: Batch) -> None:
        net = self.net
        gradients = torch.autograd.grad(F.cross_entropy(net(train[0]), train[1]), net.network_weights())
        ahead = copy.deepcopy(net)
        for weight, gradient in zip(ahead.network_weights(), gradients, strict=True):
            weight.data.sub_(gradient, alpha=LR)
        ahead.zero_grad()
        self._total(ahead, valid).backward()
        direct = [alpha.grad for alpha in ahead.architecture_parameters()]
        direction = [weight.grad.data for weight in ahead.network_weights()]
        epsilon = 0.01 / torch.cat([one.reshape(-1) for one in direction]).norm().item()
        sides = []
        for by in (epsilon, -2 * epsilon):
            for weight, one in zip(net.network_weights(), direction, strict=True):
                weight.data.add_(one, alpha=by)
            sides.append(torch.autograd.grad(F.cross_entropy(net(train[0]), train[1]), net.architecture_parameters()))
        for weight, one in zip(net.network_weights(), direction, strict=True):
            weight.data.add_(one, alpha=epsilon)
        for alpha, one, up, down in zip(net.architecture_parameters(), direct, *sides, strict=True):
            alpha.grad = one - LR * (up - down) / (2 * epsilon)


def ours(net: Any, cost: Any, second_order: bool, options: argparse.Namespace) -> Bilevel:
    """A step of this package."""
    net = net.to(memory_format=torch.channels_last)
    autocast = (lambda: torch.autocast("cuda", torch.bfloat16)) if options.amp else None
    weights = torch.optim.SGD(net.network_weights(), LR, MOMENTUM, weight_decay=DECAY, foreach=True)
    alphas = torch.optim.Adam(net.architecture_parameters(), 3e-4, (0.5, 0.999), weight_decay=1e-3)
    if options.compile:
        return Bilevel(Compiled(net), LogProduct(), cost, weights, alphas, second_order, CLIP, autocast)
    return Bilevel(net, LogProduct(), cost, weights, alphas, second_order, CLIP, autocast)


def measure(name: str, second_order: bool, options: argparse.Namespace) -> dict[str, Any]:
    """Both on one network and the same batches, in turns; the largest difference of what they move; the time of each."""
    space, size, image = SETTINGS[name]
    size = options.batch or size
    torch.manual_seed(0)
    net = space.supernet(image, 10).to(options.device)
    twin = copy.deepcopy(net)
    cost = space.cells_cost("flops", image, 10, K3)
    batches = [(torch.randn(size, *image, device=options.device), torch.randint(10, (size,), device=options.device)) for _ in range(2)]
    plain, fast = PlainStep(twin, cost, second_order), ours(net, cost, second_order, options)
    layout = [(images.contiguous(memory_format=torch.channels_last), labels) for images, labels in batches]
    plain(*batches)
    fast.step(*layout)
    moved = _difference(net.network_weights(), twin.network_weights())
    alphas = _difference(net.architecture_parameters(), twin.architecture_parameters())
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    memory: dict[str, float] = {}
    for _ in range(options.repeats):
        for who, run in (("plain", lambda: plain(*batches)), ("ours", lambda: fast.step(*layout))):
            seconds, peak = _timed(run, options.device)
            times[who].append(seconds)
            memory[who] = max(memory.get(who, 0.0), peak)
    return {
        "setting": name, "order": 2 if second_order else 1, "batch": size, "plain_seconds": times["plain"], "our_seconds": times["ours"],
        "ratio": median(times["plain"]) / median(times["ours"]), "weights_differ_by": moved, "alphas_differ_by": alphas, "peak_mb": memory,
    }  # fmt: skip


def _difference(one: list[Tensor], other: list[Tensor]) -> float:
    with torch.no_grad():
        return max(float((mine - theirs).abs().max()) for mine, theirs in zip(one, other, strict=True))


def _timed(run: Callable[[], Any], device: str) -> tuple[float, float]:
    """Seconds, and the peak of the memory of a GPU in MB (a process's own is measured apart, with ``--only``)."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter() - start, torch.cuda.max_memory_allocated() / 2**20
    return time.perf_counter() - start, 0.0


def peak_alone(options: argparse.Namespace) -> None:
    """Print by how much one implementation alone raises the peak of a fresh process, in MB."""
    who, name, order = options.only.split(":")
    space, size, image = SETTINGS[name]
    net = space.supernet(image, 10)
    cost = space.cells_cost("flops", image, 10, K3)
    batches = [(torch.randn(options.batch or size, *image), torch.randint(10, (options.batch or size,))) for _ in range(2)]
    before = _peak_mb()
    if who == "plain":
        PlainStep(net, cost, order == "2")(*batches)
    else:
        ours(net, cost, order == "2", options).step(*[(x.contiguous(memory_format=torch.channels_last), y) for x, y in batches])
    print(_peak_mb() - before)


def _peak_mb() -> float:
    """The peak of this process's memory; that of `resource.getrusage` would begin with the parent's."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _peaks(result: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    import subprocess
    import sys

    found = {}
    for who in ("plain", "ours"):
        command = [sys.executable, "-m", "benchmarks.search_step", "--only", f"{who}:{result['setting']}:{result['order']}"]
        command += ["--threads", str(options.threads)] + (["--batch", str(options.batch)] if options.batch else [])
        found[who] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--settings", default="original,small")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/search_step.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.only:
        peak_alone(options)
        return
    results = []
    for name in options.settings.split(","):
        for second_order in (False, True):
            result = measure(name, second_order, options)
            if options.device == "cpu":
                result["peak_mb"] = _peaks(result, options)
            results.append(result)
            print(table(results), flush=True)
    target = TARGET_GPU if options.device == "cuda" else TARGET_CPU
    original = [result["ratio"] for result in results if result["setting"] == "original"]
    if original:
        reached = min(original) >= target
        print(f"target {target:g}x at the original's setting: {'PASS' if reached else 'MISSED'} ({min(original):.2f}x)")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def table(results: list[dict[str, Any]]) -> str:
    """A row for each setting and order."""
    rows = [
        [
            result["setting"], result["order"], result["batch"], f"{median(result['plain_seconds']):.2f}",
            f"{median(result['our_seconds']):.2f}", f"{result['ratio']:.2f}", f"{result['peak_mb']['plain']:.0f}",
            f"{result['peak_mb']['ours']:.0f}", f"{result['weights_differ_by']:.0e}", f"{result['alphas_differ_by']:.0e}",
        ]
        for result in results
    ]  # fmt: skip
    headers = ["setting", "order", "batch", "plain s", "ours s", "times faster", "plain MB", "ours MB", "weights differ", "alphas differ"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    main()
