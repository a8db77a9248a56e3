"""ONNX counters side by side: `python -m benchmarks.onnx --help`.

Counts and times of flopscope, onnx-tool and onnxsim's counting, from the path of a file to a number, over the ONNX files under
FLOPSCOPE_DATA and over graphs of a thousand and four thousand nodes that are made here. Every counter works in a process of its own that is
ended where it dies or hangs. onnx-tool is given arrays for inputs of open size, as its manual wants; the sizes are those that flopscope
chooses.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

from benchmarks import peers

OWN, TOOL, SIM = "flopscope", "onnx-tool", "onnxsim"
LOADS = {OWN: "flopscope", TOOL: "onnx_tool", SIM: "onnxsim.model_info"}
PATIENCE_SECONDS = 60.0
REPEATS = 5
CLOSE = 0.01
"""Counts are called equal within 1 %: onnx-tool adds other ops to its multiply-accumulates."""


@dataclass
class Outcome:
    """What one counter gave on one file."""

    counter: str
    file: str
    macs: int | None = None
    seconds: float | None = None
    """Time from the path to the count, the best of a few; of flopscope with its memo emptied."""
    warm_seconds: float | None = None
    """Of flopscope with its memo filled."""
    failure: str = ""


def _count_own(path: str, _: dict[str, Any]) -> int:
    flopscope = importlib.import_module("flopscope")
    return int(flopscope.analyze(path).total.macs)


def _count_tool(path: str, shapes: dict[str, Any]) -> int:
    numpy, tool = importlib.import_module("numpy"), importlib.import_module("onnx_tool")
    model = tool.Model(path)
    arrays = {name: numpy.zeros(shape, dtype) for name, (shape, dtype) in shapes.items()}
    model.graph.shape_infer(arrays or None)
    model.graph.profile()
    macs = model.graph.macs
    return int(macs[0] if isinstance(macs, list | tuple) else macs)


def _count_sim(path: str, shapes: dict[str, Any]) -> int:
    onnx, info = importlib.import_module("onnx"), importlib.import_module("onnxsim.model_info")
    model = onnx.load(path, load_external_data=False)
    for value in model.graph.input:
        if value.name in shapes:
            for dim, size in zip(value.type.tensor_type.shape.dim, shapes[value.name][0], strict=False):
                dim.dim_value = size
    return int(info.ModelInfo(model).macs)


COUNT = {OWN: _count_own, TOOL: _count_tool, SIM: _count_sim}


def serve(link: peers.Link, counter: str, *_: str) -> None:
    """Answer each message, a path and shapes, with what came of it, as a dict."""
    peers._silence()
    while (message := link.recv()) is not None:
        path, shapes = message
        outcome = Outcome(counter, path)
        try:
            importlib.import_module(LOADS[counter])
            with contextlib.redirect_stdout(io.StringIO()):
                _measure(outcome, path, shapes)
        except BaseException as error:  # noqa: BLE001 - whatever a counter raises is the result
            outcome.macs = outcome.seconds = None
            outcome.failure = peers.describe(error, LOADS[counter]) if isinstance(error, Exception) else type(error).__name__
        link.send(asdict(outcome))


def _measure(outcome: Outcome, path: str, shapes: dict[str, Any]) -> None:
    count = COUNT[outcome.counter]
    outcome.macs = count(path, shapes)  # also pays for late imports
    outcome.seconds = min(_timed(count, path, shapes, cold=True) for _ in range(REPEATS))
    if outcome.counter == OWN:
        outcome.warm_seconds = min(_timed(count, path, shapes, cold=False) for _ in range(REPEATS))


def _timed(count: Any, path: str, shapes: dict[str, Any], *, cold: bool) -> float:
    if cold and count is _count_own:
        importlib.import_module("flopscope").clear_memo()
    start = time.perf_counter()
    count(path, shapes)
    return time.perf_counter() - start


def _chosen_shapes(path: Path) -> dict[str, Any]:
    """The inputs whose sizes the file leaves open, with those that flopscope chooses."""
    flopscope, onnx = importlib.import_module("flopscope"), importlib.import_module("onnx")
    try:
        report = flopscope.analyze(str(path))
    except flopscope.FlopscopeError:
        return {}
    declared = {value.name: value.type.tensor_type for value in onnx.load(str(path), load_external_data=False).graph.input}
    shapes = {}
    for value in report.graph.inputs:
        dims = declared[value.name].shape.dim
        if any(not dim.HasField("dim_value") or dim.dim_value < 1 for dim in dims):
            shapes[value.name] = (value.shape, value.type.dtype)
    return shapes


def made(folder: Path, nodes: int) -> Path:
    """A graph of so many nodes: blocks of a matrix product, an addition, an activation and a normalisation."""
    import numpy
    import onnx
    from onnx import helper, numpy_helper

    width, path = 64, folder / f"made_{nodes}_nodes.onnx"
    weights = [numpy_helper.from_array(numpy.ones(shape, numpy.float32), name) for name, shape in (("s", [width]), ("b", [width]))]
    listed, last = [], "x"
    for block in range(nodes // 4):
        weights.append(numpy_helper.from_array(numpy.ones((width, width), numpy.float32), f"w{block}"))
        listed += [
            helper.make_node("MatMul", [last, f"w{block}"], [f"m{block}"], name=f"/block{block}/fc/MatMul"),
            helper.make_node("Add", [f"m{block}", last], [f"a{block}"], name=f"/block{block}/Add"),
            helper.make_node("Relu", [f"a{block}"], [f"r{block}"], name=f"/block{block}/act/Relu"),
            helper.make_node("LayerNormalization", [f"r{block}", "s", "b"], [f"n{block}"], name=f"/block{block}/norm/LayerNormalization"),
        ]
        last = f"n{block}"
    ends = [helper.make_tensor_value_info(name, 1, [1, 16, width]) for name in ("x", last)]
    onnx.save(
        helper.make_model(helper.make_graph(listed, "made", ends[:1], ends[1:], weights), opset_imports=[helper.make_opsetid("", 17)]), path
    )
    return path


def files(folder: Path) -> list[Path]:
    """All files that are not broken on purpose, and the graphs that are made here."""
    data = os.environ.get("FLOPSCOPE_DATA")
    found = sorted(path for path in Path(data, "onnx").rglob("*.onnx") if "malformed" not in str(path)) if data else []
    return [*found, made(folder, 1000), made(folder, 4000)]


def run(counters: list[str], paths: list[Path]) -> list[Outcome]:
    """Every counter on every file; of each file all counters one after the other."""
    workers: dict[str, peers.Worker] = {}
    outcomes = []
    for number, path in enumerate(paths, 1):
        shapes = _chosen_shapes(path)
        for name in counters:
            worker = workers.get(name) or workers.setdefault(name, peers.Worker(serve, name))
            worker.link.send((str(path), shapes))
            answer: Any = f"no answer in {PATIENCE_SECONDS:.0f} s"
            if worker.link.poll(PATIENCE_SECONDS):
                answer = worker.answer()
            if isinstance(answer, dict):
                outcomes.append(Outcome(**answer))
            else:
                outcomes.append(Outcome(name, str(path), failure=str(answer)))
                workers.pop(name).end()
        print(f"{number}/{len(paths)} {path.name}", flush=True)
    for worker in workers.values():
        worker.end()
    return outcomes


def table(outcomes: list[Outcome]) -> str:
    """Coverage, agreement and time of each counter, as Markdown."""
    own = {one.file: one for one in outcomes if one.counter == OWN}
    lines = []
    for name in dict.fromkeys(one.counter for one in outcomes):
        found = [one for one in outcomes if one.counter == name]
        counted = [one for one in found if one.macs is not None]
        close = [one for one in counted if _is_close(one.macs, own[one.file].macs)]
        shares = [(one.seconds or 0) / (own[one.file].seconds or 1) for one in counted if own[one.file].seconds]
        faster = [one for one in counted if (one.seconds or 0) < (own[one.file].seconds or 0)]
        faster_warm = [one for one in faster if (one.seconds or 0) < (own[one.file].warm_seconds or 0)]
        times = [] if name == OWN else [f"{median(shares):.1f}", len(faster), len(faster_warm)]
        speed = f"{1000 * median([one.seconds or 0 for one in counted]):.2f}" if counted else ""
        lines.append([name, f"{len(counted)} of {len(found)}", len(close), speed, *times])
    headers = ["counter", "gives a number", "within 1 % of flopscope", "median ms", "time / flopscope, median"]
    return tabulate(lines, [*headers, "faster than flopscope", "also than its memo"], tablefmt="github")


def _is_close(macs: int | None, other: int | None) -> bool:
    return macs is not None and other is not None and abs(macs - other) <= CLOSE * max(abs(other), 1)


def main() -> None:
    """Measure, and print the table and the largest graph's time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", default="", help="a part of the names of the files to take; all if not given")
    parser.add_argument(
        "--folder", type=Path, help="take the files of this folder instead, such as those of tests.conformance.onnx_exports --keep"
    )
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/onnx.json"), help="where outcomes go")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        listed = files(Path(folder)) if given.folder is None else sorted(given.folder.rglob("*.onnx"))
        paths = [path for path in listed if given.files in str(path)]
        outcomes = run([OWN, TOOL, SIM], paths)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps([asdict(one) for one in outcomes], indent=1))
    print(table(outcomes))
    for one in outcomes:
        if Path(one.file).name.startswith("made_") and one.seconds:
            print(f"{Path(one.file).name}: {one.counter} {1000 * one.seconds:.0f} ms, {one.macs:,} MACs")


if __name__ == "__main__":
    main()
