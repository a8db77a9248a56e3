"""Measure flopscope next to other counters: `python -m benchmarks.analyzer --help`.

One run measures everything side by side: every counter in its own process, timed in
turns, so that a busy moment of the machine falls on all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib import metadata
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

from benchmarks import models, peers
from benchmarks.models import MODELS
from benchmarks.peers import META, PEERS, REAL, REAL_GRAD, Outcome, Worker

BARE, BASELINE = "bare meta forward", "FlopCounterMode"
COLD, WARM = "flopscope cold", "flopscope warm"
QUICK_MODELS = ("resnet50", "mobilenet_v2")

REPEATS = 5  # turns for each counter; a turn of a quick one is several runs
SLOW_SECONDS, SLOW_TURNS = 2.0, 3
HELP_SECONDS = 0.3
BUDGET_SECONDS = 6.0  # of timed runs for each (counter, model); one turn always runs
CLOSE_CALL = 2.0  # modes of a counter within this factor are timed in turns to tell them apart
SAME_COUNT = 0.001  # of the published count: modes this close to each other count alike

WARM_SHARE, COLD_SHARE = 1 / 15, 1 / 3
SHELL_PAIRS, SHELL_LIMIT = 5, 1.5


@dataclass
class Row:
    """All that one counter gave on one model; `failure` says why the rest is missing."""

    mode: str = "-"
    macs: float | None = None
    peak_bytes: int | None = None
    runs: list[float] = field(default_factory=list)
    tried: dict[str, Outcome] = field(default_factory=dict)
    failure: str = ""

    @property
    def seconds(self) -> float | None:
        """The median of the timed runs."""
        return median(self.runs) if self.runs else None


Rows = dict[str, Row]  # by counter


def choose_modes(peer: str, model: str, published: float) -> list[Row]:
    """Return the fastest modes among those whose count is as good as this counter's best.

    A mode that counts worse is not what anybody should use: two counters count linear
    layers twice on meta tensors, and several miss attention without autograd.
    """
    tried: dict[str, Outcome] = {}
    for mode in PEERS[peer].modes:
        if (mode == META or MODELS[model].real_weights) and not _is_settled(peer, mode, tried):
            tried[mode] = peers.run_once(peer, model, mode)
    off = {mode: abs(one.macs / 1e9 / published - 1) for mode, one in tried.items() if one.macs is not None}
    if not off:
        return [Row(tried=tried, failure=_why(model, [one.failure for one in tried.values()]))]
    exact = [mode for mode in off if models.agrees(tried[mode].macs or 0.0, published)]
    good = exact or [mode for mode in off if off[mode] <= min(off.values()) + SAME_COUNT]
    if REAL in good and REAL_GRAD in good:
        good.remove(REAL_GRAD)  # the same work and more; only noise could make it the faster one
    best = min(tried[mode].seconds or 0.0 for mode in good)
    close = [mode for mode in good if (tried[mode].seconds or 0.0) <= best * CLOSE_CALL]
    return [Row(mode, tried[mode].macs, tried[mode].peak_bytes, tried=tried) for mode in close]


def _is_settled(peer: str, mode: str, tried: dict[str, Outcome]) -> bool:
    """Whether trying `mode` cannot change the choice any more."""
    counts = [one.macs for one in tried.values() if one.macs is not None]
    if any(one.failure == "not installed" for one in tried.values()):
        return True
    if PEERS[peer].first_that_works:
        return bool(counts)
    # Autograd only costs time, and is tried for counts that go wrong without it.
    return mode == REAL_GRAD and len(counts) > 1 and max(counts) - min(counts) <= SAME_COUNT * max(counts)


def _why(model: str, failures: list[str]) -> str:
    """Say in one line why no mode worked, with the failure nearest to the manual's use."""
    needs = f"needs real weights ({MODELS[model].weights_size})"
    if not failures:
        return needs
    if failures[-1] == "not installed" or MODELS[model].real_weights:
        return failures[-1]
    return f"{failures[-1]} (on meta; otherwise {needs})"


def time_in_turns(model: str, contenders: list[tuple[str, Row]], turns: int) -> None:
    """Time all counters of one model round-robin, and fill in `runs` of each row."""
    started = [(row, Worker(peers.serve_timings, name, model, row.mode)) for name, row in contenders if not row.failure]
    for row, worker in started:
        _hear(row, worker)
        row.runs.clear()  # the first run warms up
    for turn in range(turns):
        # Each turn starts one counter later, so that none always follows the same one.
        shift = turn % max(len(started), 1)
        for row, worker in started[shift:] + started[:shift]:
            if not row.failure and _has_time_left(row.runs, turn):
                worker.link.send(True)
                _hear(row, worker)
    for _, worker in started:
        worker.end()


def _has_time_left(runs: list[float], turn: int) -> bool:
    if not runs:
        return True
    slow = median(runs) > SLOW_SECONDS
    return sum(runs) < BUDGET_SECONDS and not (slow and turn >= SLOW_TURNS)


def _hear(row: Row, worker: Worker) -> None:
    """Take down the times that a process sends; one that fails takes no further part."""
    answer = worker.answer()
    if isinstance(answer, list):
        row.runs += answer
    else:
        row.failure = str(answer)


def measure_model(model: str, names: list[str], turns: int, published: float) -> Rows:
    """Measure all counters on one model: counts and peaks first, then times in turns."""
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        chosen = list(pool.map(lambda name: choose_modes(name, model, published), names))
    modes = dict(zip(names, chosen, strict=True))
    time_in_turns(model, [(name, row) for name in names for row in modes[name]], turns)
    # Modes that were too close to call have all been timed; the faster one stands.
    return {name: min(modes[name], key=lambda row: row.seconds or inf) for name in names}


def _ratio(row: Row, base: Row) -> float | None:
    return row.seconds / base.seconds if row.seconds and base.seconds else None


def _number(value: float | None, layout: str) -> str:
    return "-" if value is None else format(value, layout)


def model_table(model: str, rows: Rows, published: float, memory: bool) -> str:
    """Lay out what all counters gave on one model."""
    headers = ["counter", "tensors", "median ms", "x bare", "x FlopCounter", "runs"]
    headers += ["peak MB", "GMACs", "as published"]
    lines: list[list[str]] = []
    for name, row in rows.items():
        if row.failure:
            lines.append([name, row.failure])
            continue
        peak = row.peak_bytes / 1e6 if memory and row.peak_bytes is not None else None
        lines.append(
            [
                name,
                row.mode,
                _number((row.seconds or 0.0) * 1e3, ".2f"),
                _number(_ratio(row, rows[BARE]), ".3f"),
                _number(_ratio(row, rows[BASELINE]), ".3f"),
                str(len(row.runs)),
                _number(peak, ".0f"),
                _number(row.macs / 1e9 if row.macs else None, ".3f"),
                models.deviation(row.macs, published),
            ]
        )
    # Failures are too wide for a column, so they follow the table.
    whole = [line for line in lines if len(line) > 2]
    failed = [f"  {name}: {why}" for name, why in (line for line in lines if len(line) == 2)]
    align = ("left", "left", *("right",) * (len(headers) - 2))
    table = tabulate(whole, headers, disable_numparse=True, colalign=align if whole else None)
    title = f"{MODELS[model].title}: published {published:.3f} GMACs"
    return "\n".join([title, table, *failed])


def time_shell() -> dict[str, Any]:
    """Time the command line against importing torchvision, in interleaved pairs."""
    script = Path(sys.executable).parent / "flopscope"
    if not script.exists():
        return {"failure": "no flopscope script next to the interpreter", "lost": None}
    commands = {
        "flopscope": [str(script), "analyze", "torchvision:resnet50"],
        "import": [sys.executable, "-c", "import torchvision"],
        "help": [str(script), "--help"],
    }
    # Compiling every module anew would take most of the time of both and hide the difference.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for pair in range(SHELL_PAIRS + 1):
        for name, command in commands.items():
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or [""])[-1]
                why = f"{name} ended with {done.returncode}: {last[:90]}"
                return {"failure": why, "lost": None if name == "import" else False}
            if pair:  # the first pair fills the caches
                seconds[name].append(time.perf_counter() - start)
    # Within a pair the machine was about equally busy, between pairs often not.
    ratios = [own / bare for own, bare in zip(seconds["flopscope"], seconds["import"], strict=True)]
    return {"seconds": seconds, "ratio": median(ratios), "help": median(seconds["help"])}


@dataclass
class Target:
    """One promise, whether it held in each place it was measured, and the evidence."""

    name: str
    held: list[bool | None] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    def note(self, where: str, held: bool | None, detail: str) -> None:
        """Add one place; `held` is None where nothing could be measured."""
        self.held.append(held)
        mark = {True: "", False: "  <- missed", None: "  <- not measured"}[held]
        self.details.append(f"{where}: {detail}{mark}")

    @property
    def verdict(self) -> str:
        """What was not measured neither passes nor counts as lost."""
        if False in self.held:
            return "MISSED"
        return "PASS" if self.held and None not in self.held else "NOT MEASURED"


def _own_failure(rows: Rows) -> str:
    """Say why flopscope has no time on a model, if it has none."""
    return next((rows[name].failure for name in (COLD, WARM) if rows[name].failure), "")


def _share_target(label: str, name: str, share: float, results: dict[str, Rows]) -> Target:
    """Check that `name` takes at most `share` of FlopCounterMode's time on every model."""
    target = Target(label)
    for model, rows in results.items():
        ratio = _ratio(rows[name], rows[BASELINE])
        if rows[name].failure:
            target.note(model, _lost_by(rows[name].failure), rows[name].failure)
        elif ratio is None:
            target.note(model, None, f"{BASELINE}: {rows[BASELINE].failure}")
        else:
            target.note(model, ratio <= share, f"1/{1 / ratio:.1f}")
    return target


def _fastest_target(results: dict[str, Rows]) -> Target:
    """Check that cold and warm are both faster than every other counter on every model."""
    target = Target("cold and warm faster than every counter")
    for model, rows in results.items():
        times = {name: row.seconds for name, row in rows.items() if row.seconds is not None}
        others = {name: time for name, time in times.items() if name not in (COLD, WARM, BARE)}
        failure = _own_failure(rows)
        if failure:
            target.note(model, _lost_by(failure), failure)
        elif not others:
            target.note(model, None, "no other counter gave a time")
        else:
            own = max(times[COLD], times[WARM])
            rival = min(others, key=lambda name: others[name])
            target.note(model, own < others[rival], f"{own * 1e3:.1f} ms, {rival} {others[rival] * 1e3:.1f} ms")
    return target


def _count_target(results: dict[str, Rows], published: dict[str, float]) -> Target:
    """Check flopscope's counts, since a fast wrong answer wins nothing."""
    target = Target("flopscope counts as published")
    for model, rows in results.items():
        failure = _own_failure(rows)
        if failure:
            target.note(model, _lost_by(failure), failure)
        else:
            right = all(models.agrees(rows[name].macs or 0.0, published[model]) for name in (COLD, WARM))
            target.note(model, right, models.deviation(rows[COLD].macs, published[model]))
    return target


def _lost_by(failure: str) -> bool | None:
    """A counter that fails has lost; one that is not there has not been measured."""
    return None if failure == "not installed" else False


def check_targets(results: dict[str, Rows], published: dict[str, float], shell: dict[str, Any]) -> list[Target]:
    """Check every target on what was measured; what was not measured never passes."""
    command_line = Target("command line within 1.5x of importing torchvision")
    if "ratio" in shell:
        command_line.note("resnet50", shell["ratio"] <= SHELL_LIMIT, f"{shell['ratio']:.2f}x")
        command_line.note("--help within 0.3 s", shell["help"] <= HELP_SECONDS, f"{shell['help']:.2f} s")
    else:
        command_line.note("resnet50", shell["lost"], shell["failure"])
    return [
        _share_target("warm <= 1/15 of FlopCounterMode", WARM, WARM_SHARE, results),
        _share_target("cold <= 1/3 of FlopCounterMode", COLD, COLD_SHARE, results),
        _fastest_target(results),
        command_line,
        _count_target(results, published),
    ]


def _versions() -> dict[str, str]:
    """Return the versions of everything measured; a package that is missing is left out."""
    found = {"python": platform.python_version()}
    names = ["torch", "torchvision", "transformers", "flopscope", "fvcore", "thop", "ptflops"]
    names += ["torchinfo", "calflops", "deepspeed", "torchprofile", "torchscan", "torchlens"]
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_json(path: Path, results: dict[str, Rows], published: dict[str, float], extra: dict[str, Any]) -> None:
    """Write every run of every counter, with what is needed to read it later."""
    by_model = {
        model: {
            "published_gmacs": published[model],
            "counters": {name: {**asdict(row), "median_seconds": row.seconds} for name, row in rows.items()},
        }
        for model, rows in results.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"versions": _versions(), "models": by_model, **extra}
    path.write_text(json.dumps(content, indent=1) + "\n")


def _chosen(parser: argparse.ArgumentParser, given: str, known: list[str]) -> list[str]:
    names = [name.strip() for name in given.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return names


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line into lists of models and counters and the rest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", default="", help="comma-separated; default: all")
    parser.add_argument("--peers", default="", help="comma-separated counters; default: all")
    parser.add_argument("--repeats", type=int, default=0, help=f"turns, default {REPEATS}")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/analyzer.json"))
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory")
    parser.add_argument("--quick", action="store_true", help="two models, two turns")
    options = parser.parse_args(arguments)
    fallback = list(QUICK_MODELS if options.quick else MODELS)
    options.models = _chosen(parser, options.models, list(MODELS)) if options.models else fallback
    named = _chosen(parser, options.peers, list(PEERS)) if options.peers else list(PEERS)
    # Ratios and targets need these four whatever was asked for.
    options.peers = [name for name in PEERS if name in {COLD, WARM, BARE, BASELINE, *named}]
    options.repeats = options.repeats or (2 if options.quick else REPEATS)
    return options


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the tables and the targets, and write the JSON."""
    options = parse(arguments)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    shell = time_shell()
    results: dict[str, Rows] = {}
    published: dict[str, float] = {}
    for model in options.models:
        published[model] = models.published_gmacs(model)
        results[model] = measure_model(model, options.peers, options.repeats, published[model])
        print(model_table(model, results[model], published[model], not options.no_memory))
        print(flush=True)
    targets = check_targets(results, published, shell)
    lines = [[target.name, target.verdict, "\n".join(target.details)] for target in targets]
    print(tabulate(lines, ["target", "verdict", "measured"], disable_numparse=True))
    extra = {"shell": shell, "targets": [{**asdict(target), "verdict": target.verdict} for target in targets]}
    write_json(options.json, results, published, extra)


if __name__ == "__main__":
    main()
