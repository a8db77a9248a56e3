"""Predicted peaks of activations against real runs on this CPU: ``python -m benchmarks.memory [--train] [--device cuda]``.

A real run is watched by torch's profiler, which records each allocation and free. The peak over what was there before the call is what
activations and scratch memory took. Each model runs in a process of its own, on one thread. Of the peers, torchinfo says what a forward and
backward pass takes, and torch's MemTracker follows the tensors of a real run; each is given its best case.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.memory_models import ALL, Built

TOO_HIGH, TOO_LOW = 1.02, 0.995
"""What a prediction may be of the measured peak."""


def measure_here(name: str, is_training: bool, device: str = "cpu") -> dict[str, Any]:
    """Predict and measure one model in this process: bytes."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    built = ALL[name]()
    if is_training:
        model, args, kwargs = built
        twice = tuple(torch.cat([x, x]) if x.dim() == 4 else x for x in args)  # batch norm needs several images
        built = model.train(), twice, kwargs
    found = {"model": name, **(_predicted_step(built) if is_training else _predicted(built))}
    if device == "cuda":
        return {**found, "predicted": found["in_blocks"], "measured": _measured_on_cuda(built, is_training)}
    found["torchinfo"] = _quietly(_torchinfo, built, is_training)
    found["mem_tracker"] = _quietly(_mem_tracker, built, is_training)
    if is_training:
        found |= _measured_step(built)
    built[0].zero_grad(set_to_none=True)
    found["measured"] = _measured(built, is_training)
    return found


def _measured_on_cuda(built: Built, is_training: bool) -> int:
    torch: Any = importlib.import_module("torch")
    model, args, kwargs = built
    placed = model.cuda(), tuple(x.cuda() for x in args), {name: x.cuda() for name, x in kwargs.items()}
    _run(placed, is_training)  # a first run loads kernels and makes workspaces that stay
    placed[0].zero_grad(set_to_none=True)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    held = _run(placed, is_training)
    peak = int(torch.cuda.max_memory_allocated()) - before
    del held
    return peak


def _quietly(count: Any, built: Built, is_training: bool) -> int | str:
    try:
        return int(count(built, is_training))
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is its result
        return f"{type(error).__name__}: {error}".splitlines()[0][:100]


def _predicted(built: Built) -> dict[str, int]:
    import flopscope

    model, args, kwargs = built
    return _peaks(flopscope.analyze(model, *args, **kwargs)._graph)


def _peaks(graph: Any) -> dict[str, int]:
    """The peak without inputs: of tensors alone, with the scratch memory of this CPU, and in the blocks of CUDA."""
    from flopscope.analyses.memory.cuda import on_cuda
    from flopscope.analyses.memory.kernels import growths
    from flopscope.analyses.memory.storages import storages
    from flopscope.analyses.memory.timeline import timeline

    pieces, count = storages(graph), len(graph.ops)
    lines = {"tensors": timeline(pieces, count), "predicted": timeline(pieces, count, growths(graph))}
    lines["in_blocks"] = timeline(on_cuda(pieces), count)
    return {key: line.peak_bytes - line.before_bytes for key, line in lines.items()}


def _predicted_step(built: Built) -> dict[str, int]:
    from flopscope.analyses.conventions import count_under
    from flopscope.frontends.torch.step import trace_step

    model, args, kwargs = built
    step = trace_step(model, args, kwargs, loss=_loss)
    return {**_peaks(step.graph), "saved": sum(step.saved.values()), "flops": count_under(step.graph, "torch")}


def _measured_step(built: Built) -> dict[str, int]:
    """What autograd saves in a real forward pass, weights apart, and the FLOPs that FlopCounterMode counts of a real step."""
    torch: Any = importlib.import_module("torch")
    model, args, kwargs = built
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage  # held, so that no address is used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        held = _loss(model(*args, **kwargs))
    saved = sum(storage.nbytes() for storage in kept.values())
    del held
    with importlib.import_module("torch.utils.flop_counter").FlopCounterMode(display=False) as counter:
        _run(built, True)
    return {"measured_saved": saved, "measured_flops": int(counter.get_total_flops())}


def _loss(output: Any) -> Any:
    """The sum of the first tensor of an output."""
    while not hasattr(output, "backward"):
        output = next(iter(output.values())) if hasattr(output, "values") else output[0]
    return output.sum()


def _run(built: Built, is_training: bool) -> Any:
    torch: Any = importlib.import_module("torch")
    model, args, kwargs = built
    if not is_training:
        with torch.no_grad():
            return model(*args, **kwargs)
    output = model(*args, **kwargs)
    loss = _loss(output)
    loss.backward()
    return output, loss


def _measured(built: Built, is_training: bool) -> int:
    profiling: Any = importlib.import_module("torch.profiler")
    with profiling.profile(activities=[profiling.ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        held = _run(built, is_training)
    events = [event.nbytes() for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    del held
    return max(accumulate(events), default=0)


def _torchinfo(built: Built, _: bool) -> int:
    model, args, kwargs = built
    statistics = importlib.import_module("torchinfo").summary(model, input_data=list(args) or dict(kwargs), verbose=0)
    return int(statistics.total_output_bytes)


def _mem_tracker(built: Built, is_training: bool) -> int:
    """The peak of everything that it tracks, without weights and inputs."""
    torch: Any = importlib.import_module("torch")
    tracker = importlib.import_module("torch.distributed._tools.mem_tracker").MemTracker()
    tracker.track_external(built[0], *built[1], *built[2].values())
    with tracker:
        held = _run(built, is_training)
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    del held
    return sum(size for kind, size in peak.items() if str(kind).rpartition(".")[2] in ("ACT", "TEMP", "GRAD"))


def measure(name: str, is_training: bool, device: str) -> dict[str, Any]:
    """The same in a process of its own."""
    train = ["--train"] if is_training else []
    command = [sys.executable, "-m", "benchmarks.memory", "--one", name, "--device", device, *train]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"model": name, "failure": lines[-1] if lines else f"exit {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """The results in Markdown: the measured peak, and what each says of it."""
    columns = ("predicted", "tensors", "torchinfo", "mem_tracker")
    headers = ["model", "measured", "flopscope", "tensors alone", "torchinfo", "MemTracker"]
    trained = any("saved" in row for row in rows)
    if trained:
        headers += ["saved", "FLOPs"]
    cells = []
    for row in rows:
        ratios = ["-" if not isinstance(row.get(key), int) else f"{row[key] / row['measured']:.3f}" for key in columns]
        measured = f"{row['measured'] / 2**20:.2f} MiB" if "measured" in row else row["failure"]
        equal = [_equal(row, "saved"), _equal(row, "flops")] if trained else []
        cells.append([row["model"] + ("" if is_met(row) else " *"), measured, *ratios, *equal])
    return str(tabulate(cells, headers, tablefmt="github", disable_numparse=True, colalign=("left", *["right"] * (len(headers) - 1))))


def _equal(row: dict[str, Any], what: str) -> str:
    """Whether a count of a step equals the measured one, or the two."""
    if what not in row:
        return "-"
    return "equal" if row[what] == row[f"measured_{what}"] else f"{row[what]:,} of {row[f'measured_{what}']:,}"


def is_met(row: dict[str, Any]) -> bool:
    """Whether the prediction is where it is to be."""
    return "measured" in row and TOO_LOW * row["measured"] <= row["predicted"] <= TOO_HIGH * row["measured"]


def main() -> None:
    """Print the table; exit with 1 if a prediction is more than 2 % above or 0.5 % below a real run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--train", action="store_true", help="forward and backward passes, in place of a forward pass alone")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the real run is")
    parser.add_argument("--models", help="some of them, with commas in between")
    parser.add_argument("--json", type=Path, help="where to write the bytes; by default benchmarks/results/memory[_train].json")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_here(options.one, options.train, options.device)))
        return
    names = options.models.split(",") if options.models else list(ALL)
    rows = []
    for name in names:
        rows.append(measure(name, options.train, options.device))
        print(f"{len(rows)}/{len(names)} {name}", file=sys.stderr)
    path = options.json or Path(__file__).parent / "results" / ("memory_train.json" if options.train else "memory.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(table(rows))
    exact = sum(row.get("predicted") == row.get("measured", -1) for row in rows)
    met = sum(map(is_met, rows))
    print(f"\n{met} of {len(rows)} no more than {TOO_HIGH - 1:.0%} above or {1 - TOO_LOW:.1%} below (* is not), {exact} to the byte")
    if options.train and options.device == "cpu":
        counts = [sum(row.get(what) == row.get(f"measured_{what}", -1) for row in rows) for what in ("saved", "flops")]
        print(f"saved bytes equal in {counts[0]}, forward and backward FLOPs (as FlopCounterMode counts) in {counts[1]} of {len(rows)}")
    if not all(map(is_met, rows)):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
