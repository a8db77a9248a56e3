"""How well times are told on this machine: ``python -m benchmarks.latency machine``.

Thirty models (`benchmarks.machine_models`), float32, one input, one thread, in PyTorch eager and in ONNX Runtime. For each, the whole model
is run before and after its ops are measured one by one, and the median of all runs is what it takes. Four ways tell it:

- the table: the sum of its measured ops, and what calling its modules takes;
- the predictor: learned from the measured ops of the models of *other families*; it has seen no run of a whole model;
- the roofline, fitted to the whole times of the models of other families;
- MACs: a power of them, fitted to the same.

Error bars are judged in the same way: by what the models of other families say. Each model is kept as soon as it is measured, so that the
benchmark goes on where it was stopped.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.machine_models import FAMILIES, NAMES, build, exported

RESULTS = Path(__file__).parent / "results"
TABLE, WHOLES, FILES = RESULTS / "latency_machine.sqlite", RESULTS / "latency_machine.jsonl", RESULTS / "machine_onnx"
RUNTIMES = ("eager", "onnxruntime")
THREADS = 1
RUNS = 15
HOLDS = 0.9
"""What an error bar should hold."""


@dataclass(frozen=True)
class Model:
    """A model in a runtime: what it took, and the graph that the runtime makes of it."""

    name: str
    seconds: float
    graph: Any
    plain: Any
    """As flopscope traces it, for the roofline."""

    @property
    def family(self) -> str:
        """The models that are left out with it."""
        return FAMILIES[self.name]


def measure(names: Sequence[str] = NAMES) -> None:
    """Measure what is not measured yet."""
    done = {(row["name"], row["runtime"]) for row in rows()}
    for name in names:
        for runtime in RUNTIMES:
            if (name, runtime) not in done:
                row = _measured(name, runtime)
                print(f"{name:24} {runtime:12} {1e3 * row['seconds']:9.2f} ms, table {1e3 * row['sum']:9.2f} ms", flush=True)
                RESULTS.mkdir(exist_ok=True)
                with WHOLES.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


def rows() -> list[dict[str, Any]]:
    """What is measured."""
    return [json.loads(line) for line in WHOLES.read_text(encoding="utf-8").splitlines()] if WHOLES.exists() else []


def _measured(name: str, runtime: str) -> dict[str, Any]:
    import torch

    from flopscope.latency.table.measuring import measure_eager, measure_onnx_runtime
    from flopscope.latency.table.setting import Setting
    from flopscope.latency.table.source import MeasuredOps
    from flopscope.latency.table.store import Store

    torch.set_num_threads(THREADS)
    setting = Setting.here(runtime, THREADS)
    graph, run = _prepared(name, runtime)
    with Store(TABLE, create=True) as store:
        before = _times(run)
        outcome = (measure_eager if runtime == "eager" else measure_onnx_runtime)(store, setting, graph)
        after = _times(run)
        told = MeasuredOps.read(store, setting).total(graph)
    facts = {"new": outcome.measured, "failed": sorted(set(outcome.failed.values())), "unknown": told.unknown, "sum": told.seconds}
    halves = [statistics.median(before), statistics.median(after)]
    return {"name": name, "runtime": runtime, "seconds": statistics.median([*before, *after]), "before_and_after": halves, **facts}


def _prepared(name: str, runtime: str) -> tuple[Any, Any]:
    """The graph of a runtime, and what runs the model."""
    import torch

    from flopscope.latency.table.nodes import runtime_graph, session

    built = build(name)
    if runtime == "onnxruntime":
        path = exported(name, FILES)
        made = session(str(path), THREADS)
        return runtime_graph(path, THREADS, built.inputs), lambda: made.run(None, built.inputs)

    def run() -> None:
        with torch.inference_mode():
            built.model(*built.args)

    return traced(name, runtime), run


def traced(name: str, runtime: str) -> Any:
    """What flopscope makes of a model, or of its file."""
    import flopscope

    if runtime == "onnxruntime":
        return flopscope.analyze(str(exported(name, FILES))).graph
    built = build(name)
    return flopscope.analyze(built.model, *built.args).graph


def _times(run: Any) -> list[float]:
    import time

    found = []
    for number in range(RUNS + 3):
        start = time.perf_counter()
        run()
        if number >= 3:
            found.append(time.perf_counter() - start)
    return found


# -- what is told -----------------------------------------------------------------------------------------------------


def judge() -> dict[str, Any]:
    """Tell the times of all measured models, print tables, and keep them as JSON."""
    from flopscope.latency.table.setting import machine_name

    print(f"{machine_name()}, {THREADS} thread, float32, one input\n")
    found: dict[str, Any] = {}
    for runtime in RUNTIMES:
        models = _models(runtime)
        ways = {"table": _by_table(models, runtime), "predictor": _by_predictor(models, runtime), "roofline": _by_roofline(models, runtime),
                "MACs alone": _by_macs(models)}  # fmt: skip
        found[runtime] = {way: _facts(models, told) for way, told in ways.items()}
        _print_models(models, ways, runtime)
    lines = [
        [runtime, way, facts["models"], f"{100 * facts['error']:.1f} %", f"{100 * facts['worst']:.0f} %", f"{facts['spearman']:.3f}",
         "" if facts["covered"] is None else f"{facts['covered']} of {facts['models']}"]
        for runtime, ways in found.items() for way, facts in ways.items()
    ]  # fmt: skip
    headers = ["runtime", "told by", "models", "median error", "worst", "Spearman", "in the bar"]
    print(tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True))
    (RESULTS / "latency_machine.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


Told = tuple[float, float, float]
"""Seconds, and the bar."""


def _models(runtime: str) -> list[Model]:
    from flopscope.latency.table.nodes import runtime_graph

    found = []
    for row in rows():
        if row["runtime"] == runtime:
            plain = traced(row["name"], runtime)
            graph = plain
            if runtime == "onnxruntime":
                graph = runtime_graph(exported(row["name"], FILES), THREADS, build(row["name"]).inputs)
            found.append(Model(row["name"], row["seconds"], graph, plain))
    return found


def _others(models: Sequence[Model], model: Model) -> list[Model]:
    return [other for other in models if other.family != model.family]


def _table(runtime: str) -> Any:
    from flopscope.latency.table.setting import Setting
    from flopscope.latency.table.source import MeasuredOps
    from flopscope.latency.table.store import Store

    with Store(TABLE) as store:
        return MeasuredOps.read(store, Setting.here(runtime, THREADS))


def _by_table(models: Sequence[Model], runtime: str) -> list[Told]:
    """The bar is that of a table in which the models of other families were run."""
    from dataclasses import replace

    from flopscope.latency.table.store import Whole

    table = _table(runtime)
    wholes = {model.name: Whole(table.total(model.graph).seconds, model.seconds) for model in models}
    found = []
    for model in models:
        known = replace(table, wholes={other.name: wholes[other.name] for other in _others(models, model)})
        total = known.total(model.graph)
        found.append((total.seconds, total.low, total.high))
    return found


def _by_predictor(models: Sequence[Model], runtime: str) -> list[Told]:
    from flopscope.latency.table.eager import key_of
    from flopscope.latency.table.learning import learned

    table = _table(runtime)
    keys = {model.name: {key_of(op) for op in model.graph.ops} for model in models}
    found: dict[str, Told] = {}
    for family in sorted({model.family for model in models}):
        inside = [model for model in models if model.family == family]
        seen = set().union(*(keys[model.name] for model in models if model.family != family))
        predictor = learned(table, without={key for key in table.times if key not in seen})
        for model in inside:
            total = predictor.total(model.graph)
            calls = table.module_seconds(model.graph)
            found[model.name] = (total.seconds + calls, total.low + calls, total.high + calls)
    return [found[model.name] for model in models]


def _by_roofline(models: Sequence[Model], runtime: str) -> list[Told]:
    from flopscope.latency.device import device
    from flopscope.latency.fitting import Work, calibrated, predicted
    from flopscope.latency.kernels import kernels

    here = device("here")
    how = "eager" if runtime == "eager" else "compile"  # ONNX Runtime fuses elementwise ops, as compilers do
    work = Work.of(here, [kernels(model.plain, runtime=how, cache_bytes=here.cache_bytes) for model in models])  # type: ignore[arg-type]
    found = []
    for index, model in enumerate(models):
        known = [number for number, other in enumerate(models) if other.family != model.family]
        seconds = [models[number].seconds for number in known]
        ceilings = calibrated(here, work.only(known), seconds, "", [models[number].family for number in known])
        told = float(predicted(work.only([index]), ceilings)[0])
        found.append((told, told / ceilings.factor, told * ceilings.factor))
    return found


def _by_macs(models: Sequence[Model]) -> list[Told]:
    import numpy

    from flopscope.rules import price

    def macs(model: Model) -> float:
        return math.log(sum(op.times * cost.macs for op in model.plain.ops if (cost := price(op.signature)) is not None))

    found = []
    for model in models:
        known = _others(models, model)
        slope, constant = numpy.polyfit([macs(other) for other in known], [math.log(other.seconds) for other in known], 1)
        told = math.exp(constant + slope * macs(model))
        found.append((told, told, told))
    return found


def _facts(models: Sequence[Model], told: Sequence[Told]) -> dict[str, Any]:
    from scipy.stats import spearmanr

    errors = [abs(seconds / model.seconds - 1) for model, (seconds, _, _) in zip(models, told, strict=True)]
    covered = sum(low <= model.seconds <= high for model, (_, low, high) in zip(models, told, strict=True))
    has_bar = any(low < high for _, low, high in told)
    ranks = float(spearmanr([model.seconds for model in models], [seconds for seconds, _, _ in told]).statistic)
    return {"models": len(models), "error": statistics.median(errors), "worst": max(errors), "spearman": ranks,
            "covered": covered if has_bar else None}  # fmt: skip


def _print_models(models: Sequence[Model], ways: dict[str, list[Told]], runtime: str) -> None:
    lines = []
    for index, model in enumerate(models):
        ratios = [f"{told[index][0] / model.seconds:.2f}" for told in ways.values()]
        lines.append([model.name, f"{1e3 * model.seconds:.2f}", *ratios])
    print(tabulate(lines, headers=[f"{runtime}: model", "ms", *(f"{way} / measured" for way in ways)], disable_numparse=True), "\n")
