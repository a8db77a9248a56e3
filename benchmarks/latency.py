"""How well times are told: ``python -m benchmarks.latency timm``, ``machine`` or ``tables``.

``timm``: the published throughputs of timm's models on an RTX 3090, an RTX 4090 and an i9-10940X (``latency/timm-*.csv`` in
FLOPSCOPE_DATA). The roofline of each device is calibrated on a random tenth of the models and predicts the rest, for several draws. Beside
it stand a roofline without calibration, and baselines that know the multiply-accumulates alone, or the activations alone, as the table
lists them: powers of these, fitted to the same tenth with the same softened error. Models are traced once, at the table's batches, in
float32; where the table was measured under autocast, `flopscope.latency.precision` follows the types. ``benchmarks/results`` keeps the
kernels.

``tables``: published tables of blocks against the latencies of published networks, and predictors that learn from 500 networks of
NAS-Bench-201 and FBNet: `benchmarks.latency_tables`.

``machine``: thirty models end to end on this machine, which must be quiet, and calibrated by ``flopscope calibrate``:
`benchmarks.latency_machine`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

RESULTS = Path(__file__).parent / "results"
KERNELS = RESULTS / "latency_timm_kernels.jsonl"
TABLES = {
    "timm-amp-nchw-pt240-cu124-rtx3090": ("rtx3090", "eager", "float16"),
    "timm-amp-nchw-pt240-cu124-rtx4090": ("rtx4090", "eager", "float16"),
    "timm-amp-nhwc-pt240-cu124-rtx3090": ("rtx3090", "eager", "float16"),
    "timm-fp32-nchw-pt240-cpu-i9_10940x-dynamo": ("i9-10940x", "compile", None),
}
"""The device of each table, the runtime and the mixed precision."""
_FIELDS = ("family", "dtype", "matrix_flops", "vector_flops", "memory_bytes", "cache_bytes", "launches")
Key = tuple[str, int, int]
"""A model, the side of its images, and their number."""


@dataclass(frozen=True)
class Measured:
    """A row of a table."""

    key: Key
    seconds: float
    gmacs: float
    mega_activations: float

    @property
    def batch(self) -> int:
        """The images of a step."""
        return self.key[2]


def read_table(name: str) -> list[Measured]:
    """The rows of a table of timm: seconds of a step."""
    path = Path(os.environ["FLOPSCOPE_DATA"]) / "latency" / f"{name}.csv"
    with path.open(encoding="utf-8") as file:
        return [
            Measured(
                (row["model"], int(row["infer_img_size"]), int(row["infer_batch_size"])),
                float(row["infer_step_time"]) / 1e3,
                float(row["infer_gmacs"]) * int(row["infer_batch_size"]),
                float(row["infer_macts"]) * int(row["infer_batch_size"]),
            )
            for row in csv.DictReader(file)
        ]


# -- the kernels of all models --------------------------------------------------------------------------------------


def all_kernels() -> dict[tuple[str, Key], list[Any]]:
    """The kernels of each model for each way to run it. What is missing in the file is traced, which takes a quarter of an hour in all."""
    found = dict(_kept())
    wanted: dict[tuple[str, int], set[tuple[str, int]]] = {}
    for name in TABLES:
        how = _how(name)
        for row in read_table(name):
            if (how, row.key) not in found:
                wanted.setdefault(row.key[:2], set()).add((how, row.batch))
    RESULTS.mkdir(exist_ok=True)
    with KERNELS.open("a", encoding="utf-8") as file:
        for number, ((model, size), runs) in enumerate(sorted(wanted.items())):
            print(f"\rtracing {model} ({number + 1} of {len(wanted)})".ljust(79), end="", flush=True)
            for how, key, rows in _traced(model, size, sorted(runs)):
                file.write(json.dumps([how, list(key), rows]) + "\n")
                found[how, key] = [_kernel(row) for row in rows]
            file.flush()
    print("\r".ljust(79), end="\r")
    return found


def _how(name: str) -> str:
    return "/".join(map(str, TABLES[name]))


def _kept() -> Iterator[tuple[tuple[str, Key], list[Any]]]:
    if KERNELS.exists():
        for line in KERNELS.read_text(encoding="utf-8").splitlines():
            how, (model, size, batch), rows = json.loads(line)
            yield (how, (model, size, batch)), [_kernel(row) for row in rows]


def _kernel(row: Sequence[Any]) -> Any:
    from flopscope.latency.kernels import Kernel

    return Kernel(ops=(), **dict(zip(_FIELDS, row, strict=True)))


def _traced(model: str, size: int, runs: Sequence[tuple[str, int]]) -> Iterator[tuple[str, Key, list[list[Any]]]]:
    import flopscope
    from flopscope.latency.roofline import Roofline

    built = _built(model, size)
    graphs: dict[int, Any] = {}
    for how, batch in runs:
        if batch not in graphs:
            graphs[batch] = flopscope.analyze(built, f"{batch}x3x{size}x{size}", execute="never")._graph
        device, runtime, amp = how.split("/")
        roofline: Any = Roofline(device, runtime=runtime, amp=None if amp == "None" else amp)  # type: ignore[arg-type]
        rows: dict[tuple[Any, ...], int] = {}
        for kernel in roofline.kernels(graphs[batch]):
            counts = [getattr(kernel, name) // kernel.launches for name in _FIELDS[2:-1]]
            place = (kernel.family, kernel.dtype, *counts)
            rows[place] = rows.get(place, 0) + kernel.launches
        found = [[*place[:2], *(count * times for count in place[2:]), times] for place, times in rows.items()]
        yield how, (model, size, batch), found
    flopscope.clear_memo()


def _built(model: str, size: int) -> Any:
    import contextlib

    import timm

    import flopscope

    for meta in (True, False):  # a pruned model reads the sizes of its weights from a file, which needs real ones
        for settings in ({"img_size": size}, {}):
            with contextlib.suppress(TypeError, RuntimeError), flopscope.building() if meta else contextlib.nullcontext():
                return timm.create_model(model, pretrained=False, **settings).eval()
    raise RuntimeError(f"timm cannot build {model}")


# -- proof 1 --------------------------------------------------------------------------------------------------------


def timm(seeds: int = 10) -> dict[str, Any]:
    """Calibrate on a tenth of timm's models, predict the rest."""
    kernels = all_kernels()
    results: dict[str, Any] = {}
    rows = []
    for name in TABLES:
        found = _of_table(name, [row for row in read_table(name) if (_how(name), row.key) in kernels], kernels, seeds)
        results[name] = found
        for way in ("roofline", "roofline, families apart", "not calibrated", "MACs alone", "activations alone"):
            facts = found[way]
            covered = f"{100 * facts['covered']:.0f} %" if "covered" in facts else ""
            rows.append([name.removeprefix("timm-"), way, found["models"], *(f"{facts[key]:.3f}" for key in ("spearman", "spearman_worst")),
                         *(f"{100 * facts[key]:.1f} %" for key in ("error", "error_worst")), covered])  # fmt: skip
    headers = ["table", "known", "models", "Spearman", "worst draw", "median error", "worst draw", "in the bar"]
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))
    for name, found in results.items():
        print(f"\n{name}, the furthest off (measured in units of what was predicted):")
        print("  " + ", ".join(f"{model}@{size} {ratio:.2f}" for (model, size, _), ratio in found["furthest"]))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latency_timm.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def _of_table(name: str, rows: Sequence[Measured], kernels: Any, seeds: int) -> dict[str, Any]:
    import numpy

    from flopscope.latency.ceilings import assumed
    from flopscope.latency.device import device
    from flopscope.latency.fitting import Work, calibrated, predicted

    on = device(TABLES[name][0])
    work = Work.of(on, [kernels[_how(name), row.key] for row in rows])
    measured = numpy.array([row.seconds for row in rows])
    images = numpy.array([row.batch for row in rows])
    ways: dict[str, list[dict[str, float]]] = {}
    ratios = []
    for seed in range(seeds):
        order = numpy.random.default_rng(seed).permutation(len(rows))
        known, rest = order[: len(rows) // 10], order[len(rows) // 10 :]
        relatives = [_family(rows[i]) for i in known]
        ceilings = calibrated(on, work.only(known.tolist()), measured[known].tolist(), "", relatives)
        told = predicted(work, ceilings)
        if seed == 0:
            ratios = [(row.key, float(real / said)) for i in rest for row, real, said in [(rows[i], measured[i], told[i])]]
        answers = {"roofline": told, "not calibrated": predicted(work, assumed(on))}
        for way, values in (("MACs alone", [row.gmacs for row in rows]), ("activations alone", [row.mega_activations for row in rows])):
            answers[way] = _power(numpy.array(values), measured, known)
        for way, answer in answers.items():
            facts = _judged(answer[rest], measured[rest], images[rest])
            factor = ceilings.factor if way == "roofline" else assumed(on).factor if way == "not calibrated" else None
            if factor is not None:
                facts["covered"] = float(numpy.mean(numpy.abs(numpy.log(answer[rest] / measured[rest])) <= numpy.log(factor)))
            ways.setdefault(way, []).append(facts)
    apart = _families_apart(name, rows, work, seeds)
    ratios.sort(key=lambda item: -abs(numpy.log(item[1])))
    return {
        "models": len(rows),
        "seeds": seeds,
        "furthest": ratios[:12],
        "roofline, families apart": apart,
        **{way: _summary(facts) for way, facts in ways.items()},
    }


def _families_apart(name: str, rows: Sequence[Measured], work: Any, seeds: int) -> dict[str, float]:
    """The same where the tenth is of whole families (names that begin with the same letters), so that no relative of a model is known."""
    import numpy

    from flopscope.latency.device import device
    from flopscope.latency.fitting import calibrated, predicted

    families: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        families.setdefault(_family(row), []).append(number)
    measured, images = numpy.array([row.seconds for row in rows]), numpy.array([row.batch for row in rows])
    facts = []
    for seed in range(seeds):
        names = numpy.random.default_rng(seed).permutation(sorted(families))
        known: list[int] = []
        for family in names:
            if len(known) < len(rows) // 10:
                known += families[family]
        rest = numpy.setdiff1d(numpy.arange(len(rows)), known)
        relatives = [_family(rows[i]) for i in known]
        ceilings = calibrated(device(TABLES[name][0]), work.only(known), measured[known].tolist(), "", relatives)
        told = predicted(work, ceilings)
        found = _judged(told[rest], measured[rest], images[rest])
        found["covered"] = float(numpy.mean(numpy.abs(numpy.log(told[rest] / measured[rest])) <= numpy.log(ceilings.factor)))
        facts.append(found)
    return _summary(facts)


def _family(row: Measured) -> str:
    """What the name of a model begins with: its letters."""
    found = re.match("[a-z]*", row.key[0].removeprefix("tf_"))
    return found.group() if found else ""


def _judged(told: Any, measured: Any, images: Any) -> dict[str, float]:
    """The median error of a step's time, and how well the times of one image are ranked."""
    import numpy
    from scipy.stats import spearmanr

    error = numpy.median(numpy.abs(told / measured - 1))
    return {"error": float(error), "spearman": float(spearmanr(told / images, measured / images).statistic)}


def _summary(facts: Sequence[dict[str, float]]) -> dict[str, float]:
    means = {key: statistics.mean(fact[key] for fact in facts) for key in facts[0]}
    worst = {"error_worst": max(fact["error"] for fact in facts), "spearman_worst": min(fact["spearman"] for fact in facts)}
    return {**means, **worst}


def _power(values: Any, measured: Any, known: Any) -> Any:
    """``a * x ** b``, fitted to some of the models with the error that calibration uses."""
    import numpy
    from scipy.optimize import least_squares

    logs = numpy.log(values)

    def errors(numbers: Any) -> Any:
        return numbers[0] + numbers[1] * logs[known] - numpy.log(measured[known])

    fitted = least_squares(errors, [0.0, 1.0], loss="soft_l1", f_scale=0.2).x
    return numpy.exp(fitted[0] + fitted[1] * logs)


def save_ceilings(folder: Path) -> None:
    """Calibrate on all models of each table, and write the ceilings that flopscope ships."""
    from flopscope.latency.ceilings import file_name
    from flopscope.latency.device import device
    from flopscope.latency.fitting import Work, calibrated

    kernels = all_kernels()
    for name, (on, runtime, amp) in TABLES.items():
        if "nhwc" in name:
            continue
        rows = [row for row in read_table(name) if (_how(name), row.key) in kernels]
        batches = sorted({row.batch for row in rows})
        many = f"batches of {batches[0]} to {batches[-1]}" if len(batches) > 1 else "one image"
        how = f"{runtime}, {amp + ' autocast' if amp else 'float32'}, {many}"
        work = Work.of(device(on), [kernels[_how(name), row.key] for row in rows])
        why = f"calibrated on {len(rows)} models of timm's published throughputs ({how}; PyTorch 2.4)"
        found = calibrated(device(on), work, [row.seconds for row in rows], why, [_family(row) for row in rows])
        path = folder / file_name(on, runtime, amp)
        path.write_text(found.to_json(), encoding="utf-8")
        print(f"wrote {path}")


def main() -> None:
    """Run a proof."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proof", choices=("timm", "machine", "tables"))
    parser.add_argument("--seeds", type=int, default=10, help="how many random tenths")
    parser.add_argument("--save-ceilings", type=Path, help="write the ceilings of all models into this folder too")
    asked = parser.parse_args()
    if asked.proof == "tables":
        from benchmarks.latency_tables import tables

        tables()
        return
    if asked.proof == "machine":
        from benchmarks.latency_machine import judge, measure

        measure()
        judge()
        return
    timm(asked.seeds)
    if asked.save_ceilings is not None:
        save_ceilings(asked.save_ceilings)


if __name__ == "__main__":
    main()
