"""Coverage, agreement and time of every counter over some 200 models: `python -m benchmarks.coverage --help`.

Each counter works in a process of its own, which is ended where it fails, hangs or dies: what it patched is gone with it. Every outcome
is written down at once, so that a run that was interrupted goes on. `--table` prints what is there.
"""

from __future__ import annotations

import argparse
import copy
import gc
import importlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

from benchmarks import peers
from benchmarks.coverage_models import Subject, build, published_gmacs, specs
from benchmarks.peers import META, PEERS, REAL, REAL_GRAD, Peer

OWN = "flopscope"
COUNTERS = [
    OWN,
    "FlopCounterMode",
    "fvcore",
    "thop",
    "ptflops pytorch",
    "ptflops aten",
    "torchinfo",
    "calflops",
    "DeepSpeed",
    "torchprofile",
    "torchscan",
    "torchlens",
]
TRACERS = ("fvcore", "torchprofile")  # torch.jit cannot trace convolutions on meta tensors
PATIENCE_SECONDS = 90.0
LARGE_MACS = 10**9
REPEATS = 2  # after the first run, if it was quick; the best counts
QUICK_SECONDS = 2.0
MOST_COPIED_BYTES = 400 * 2**20
CLOSE = 0.01  # of the true count


@dataclass
class Outcome:
    """What one counter gave on one model. `failure` says why there is no count."""

    counter: str
    model: str
    mode: str = ""
    macs: float | None = None
    seconds: float | None = None
    """Of processor time, on one thread, which other work on the machine does not add to."""
    cold_seconds: float | None = None
    """Of flopscope with its memo emptied."""
    failure: str = ""


def _modes(counter: str) -> tuple[str, ...]:
    """How a counter is tried, until its count is right: the fast way first, then as its manual says."""
    return (REAL, REAL_GRAD) if counter in TRACERS else (META, REAL_GRAD, REAL)


def serve(link: peers.Link, counter: str, *_: str) -> None:
    """Answer each message, a model and a mode, with what came of it, as a dict."""
    peers._silence()
    importlib.import_module("torch").set_num_threads(1)
    peer = None
    while (message := link.recv()) is not None:
        model, mode = message
        outcome = Outcome(counter, model, mode)
        try:
            if counter != OWN and peer is None:
                peer = PEERS[counter]
                importlib.import_module(peer.loads)
            _measure(outcome, peer)
        except Exception as error:  # noqa: BLE001 - whatever a counter raises is the result
            outcome.macs = outcome.seconds = None
            outcome.failure = peers.describe(error, PEERS[counter].loads if counter != OWN else OWN)
        link.send(asdict(outcome))


def _measure(outcome: Outcome, peer: Peer | None) -> None:
    if peer is None:
        return _measure_own(outcome)
    subject = build(outcome.model, "meta" if outcome.mode == META else "cpu")
    if peer.before_all is not None:
        peer.before_all(subject.model, subject.inputs)
    nbytes = sum(weight.nbytes for weight in subject.model.parameters())
    again = [copy.deepcopy(subject.model) for _ in range(REPEATS)] if nbytes <= MOST_COPIED_BYTES or outcome.mode == META else []
    outcome.macs, outcome.seconds = _timed(peer.count, subject, subject.model, outcome.mode)
    for model in again:  # the first run also pays for late imports
        if outcome.seconds < QUICK_SECONDS:
            outcome.seconds = min(outcome.seconds, _timed(peer.count, subject, model, outcome.mode)[1])
    return None


def _measure_own(outcome: Outcome) -> None:
    flopscope = importlib.import_module("flopscope")
    from benchmarks.coverage_models import settings_of

    loaded = flopscope.load(outcome.model, settings_of(outcome.model))

    def analyse() -> tuple[float, float]:
        gc.collect()
        start = time.process_time()
        report = flopscope.analyze(loaded.model, *loaded.args, strict=True, **loaded.kwargs)
        macs = report.total.macs
        return macs, time.process_time() - start

    outcome.macs, outcome.cold_seconds = analyse()
    outcome.seconds = outcome.cold_seconds
    for _ in range(REPEATS):
        if outcome.cold_seconds < QUICK_SECONDS:
            flopscope.clear_memo()
            outcome.cold_seconds = min(outcome.cold_seconds, analyse()[1])
            outcome.seconds = min(outcome.seconds, analyse()[1])


def _timed(count: Callable[..., float], subject: Subject, model: Any, mode: str) -> tuple[float, float]:
    gc.collect()
    with importlib.import_module("torch").set_grad_enabled(mode == REAL_GRAD):
        start = time.process_time()
        macs = count(model, subject.inputs)
        return macs, time.process_time() - start


class Counter:
    """A counter in a process that is started anew after every failure."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.worker: peers.Worker | None = None

    def run(self, model: str, mode: str) -> Outcome:
        """What the counter gives on one model in one mode."""
        worker = self._asked(model, mode)
        answer: Any = f"no answer in {PATIENCE_SECONDS:.0f} s"
        if worker.link.poll(PATIENCE_SECONDS):
            answer = worker.answer()
        found = Outcome(**answer) if isinstance(answer, dict) else Outcome(self.name, model, mode, failure=str(answer))
        if found.failure:
            self.end()
        return found

    def _asked(self, model: str, mode: str) -> peers.Worker:
        """A process that has the question: a new one where the last one died after its answer."""
        while True:
            if self.worker is None:
                self.worker = peers.Worker(serve, self.name)
            try:
                self.worker.link.send((model, mode))
                return self.worker
            except OSError:
                self.end()

    def end(self) -> None:
        """End the process."""
        if self.worker is not None:
            self.worker.end()
        self.worker = None


def best(counter: Counter, model: str, truth: float | None) -> Outcome:
    """The fastest outcome whose count is right; else the one whose count is nearest; else the last failure.

    Of a large model, the first way that counts right stands: there, running it for real is never the faster way.
    """
    if counter.name == OWN:
        return counter.run(model, "shapes")
    tried: list[Outcome] = []
    for mode in _modes(counter.name):
        if mode in PEERS[counter.name].modes:
            found = counter.run(model, mode)
            tried.append(found)
            if found.failure == "not installed" or (is_close(found, truth) and (truth or 0) > LARGE_MACS):
                return found
    right = [one for one in tried if is_close(one, truth)]
    if right:
        return min(right, key=lambda one: one.seconds or 0.0)
    counted = [one for one in tried if one.macs is not None]
    return min(counted, key=lambda one: abs((one.macs or 0.0) - (truth or 0.0))) if counted else tried[-1]


def is_close(outcome: Outcome, truth: float | None) -> bool:
    """Whether a count is within 1 % of the true one."""
    return bool(outcome.macs is not None and truth and abs(outcome.macs / truth - 1) <= CLOSE)


def truths(outcomes: dict[tuple[str, str], Outcome]) -> dict[str, float]:
    """The true multiply-accumulates: what torchvision publishes, and elsewhere flopscope's own count."""
    found: dict[str, float] = {}
    for (counter, model), outcome in outcomes.items():
        if counter == OWN:
            published = published_gmacs(model)
            macs = outcome.macs if published is None else published * 1e9
            if macs:
                found[model] = macs
    return found


def load(path: Path) -> dict[tuple[str, str], Outcome]:
    """The outcomes of earlier runs. A line that was cut off is left out."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            outcome = Outcome(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found[outcome.counter, outcome.model] = outcome
    return found


def measure(path: Path, counters: list[str], models: list[str]) -> None:
    """Run everything that the file does not hold yet, model by model."""
    done = load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    peers.preload[:] = ["timm", "transformers", "flopscope", "fvcore.nn"]
    working = {name: Counter(name) for name in counters}
    for number, model in enumerate(models, 1):
        for name in counters:
            if (name, model) in done:
                continue
            outcome = best(working[name], model, truths(done).get(model) if name != OWN else None)
            done[name, model] = outcome
            with path.open("a") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
        own = done.get((OWN, model))
        print(f"{number}/{len(models)} {model}: {own.failure or own.macs if own else '-'}", flush=True)
    for counter in working.values():
        counter.end()


def table(outcomes: dict[tuple[str, str], Outcome], counters: list[str]) -> str:
    """Coverage, agreement and time of each counter, as Markdown."""
    true = truths(outcomes)
    models = [model for model in true if all((name, model) in outcomes for name in counters)]
    lines = []
    for name in counters:
        found = [outcomes[name, model] for model in models]
        if all(one.failure == "not installed" for one in found):
            continue
        counted = [one for one in found if one.macs is not None]
        right = [one for one in found if is_close(one, true[one.model])]
        shares = [(one.seconds or 0.0) / (outcomes[OWN, one.model].cold_seconds or 1.0) for one in counted]
        faster = sum(share < 1 for share in shares) if name != OWN else 0
        lines.append(
            [
                name,
                f"{len(counted)} ({100 * len(counted) / len(models):.1f} %)",
                f"{len(right)} ({100 * len(right) / len(models):.1f} %)",
                f"{1000 * median([one.seconds or 0.0 for one in counted]):.1f}" if counted else "",
                f"{median(shares):.1f}" if counted else "",
                str(faster),
            ]
        )
    headers = [
        "counter",
        f"analysed, of {len(models)}",
        "within 1 %",
        "median CPU ms",
        "time / flopscope cold, median",
        "faster than flopscope cold",
    ]
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True, colalign=("left", *("right",) * 5))


def failures(outcomes: dict[tuple[str, str], Outcome], counters: list[str]) -> str:
    """Why each counter failed, the most frequent reason first."""
    lines = []
    for name in counters:
        reasons: dict[str, list[str]] = {}
        for (counter, model), outcome in outcomes.items():
            if counter == name and outcome.failure:
                reasons.setdefault(outcome.failure, []).append(model)
        for reason, models in sorted(reasons.items(), key=lambda item: -len(item[1])):
            lines.append(f"- {name}: {len(models)} x {reason} ({', '.join(models[:3])}{', ...' if len(models) > 3 else ''})")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/coverage.jsonl"), help="where outcomes are kept")
    parser.add_argument("--markdown", type=Path, default=Path("benchmarks/results/coverage.md"), help="where the table goes")
    parser.add_argument("--models", default="", help="parts of names, with commas; all if not given")
    parser.add_argument("--counters", default=",".join(COUNTERS), help="names, with commas")
    parser.add_argument("--table", action="store_true", help="measure nothing, print what is there")
    given = parser.parse_args()
    counters = [OWN, *(name for name in given.counters.split(",") if name != OWN)]
    unknown = [name for name in counters if name not in COUNTERS]
    if unknown:
        parser.error(f"unknown counters: {', '.join(unknown)}; choose from {', '.join(COUNTERS)}")
    if not given.table:
        wanted = [part for part in given.models.split(",") if part]
        measure(given.json, counters, [name for name in specs() if not wanted or any(part in name for part in wanted)])
    outcomes = load(given.json)
    text = f"{table(outcomes, counters)}\n\n{failures(outcomes, counters)}\n"
    given.markdown.parent.mkdir(parents=True, exist_ok=True)
    given.markdown.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
