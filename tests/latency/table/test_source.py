"""A table as a source of latencies: sums are added up by hand, and commands say what they do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import flopscope
from flopscope.cli.main import main
from flopscope.graph import Graph
from flopscope.latency.source import LatencySource
from flopscope.latency.table.eager import MODULE_CALL, key_of
from flopscope.latency.table.measuring import measure_eager
from flopscope.latency.table.setting import Setting
from flopscope.latency.table.source import ASSUMED_FACTOR, MeasuredOps
from flopscope.latency.table.store import Measured, Store, Whole

SETTING = Setting("m", "eager", "2.9", 1)
MODEL = """
import torch
from torch import nn

def net():
    layers = [layer for _ in range(3) for layer in (nn.Linear(8, 8), nn.ReLU(), nn.LayerNorm(8), nn.Sigmoid())]
    sizes = [layer for size in (8, 16, 32, 64) for layer in (nn.Linear(size, 2 * size), nn.Tanh())]
    return nn.Sequential(*layers, *sizes), torch.zeros(2, 8)
"""


@pytest.fixture
def graph() -> Graph:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Sigmoid())
    found: Graph = flopscope.analyze(model, "2x4").graph
    return found


def table(graph: Graph, seconds: list[float], call: float | None = None) -> MeasuredOps:
    """The ops of a graph in order take so long each; ops of equal signature share a time."""
    times = {str(key_of(op)): Measured(value, value / 2, value * 2, 9) for op, value in zip(graph.ops, seconds, strict=False)}
    calls = {} if call is None else {MODULE_CALL: Measured(call, call, call, 9)}
    return MeasuredOps(SETTING, {**times, **calls})


def test_ops_and_calls_of_modules_add_up(graph: Graph) -> None:
    assert [op.kind for op in graph.ops] == ["linear", "relu", "linear", "sigmoid"]
    source = table(graph, [3.0, 1.0, 3.0, 0.5], call=0.25)
    assert isinstance(source, LatencySource)
    total = source.total(graph)
    assert total.seconds == 3.0 + 1.0 + 3.0 + 0.5 + 5 * 0.25  # four layers in a Sequential
    assert (total.low, total.high) == (total.seconds * (1 / ASSUMED_FACTOR), total.seconds * ASSUMED_FACTOR)
    assert not total.partial
    first = source.estimate(graph.ops[0])
    assert first is not None
    assert (first.seconds, first.low, first.high) == (3.0, 1.5, 6.0)


def test_what_was_not_measured_is_unknown_and_not_zero(graph: Graph) -> None:
    source = table(graph, [3.0])
    assert source.estimate(graph.ops[1]) is None
    total = source.total(graph)
    assert (total.seconds, total.unknown) == (6.0, 2)
    assert [op.kind for op in source.missing(graph)] == ["relu", "sigmoid"]
    assert flopscope.analyze(nn.ReLU(), "1x2").latency(source).total.unknown == 1


def test_the_bar_is_that_of_whole_models_once_there_are_ten(graph: Graph) -> None:
    base = table(graph, [1.0, 1.0, 1.0, 1.0])
    few = {str(number): Whole(1.0, 1.5) for number in range(9)}
    assert MeasuredOps(SETTING, base.times, few).factor == (1 / ASSUMED_FACTOR, ASSUMED_FACTOR)
    # of 39 ratios the second lowest and the second highest: 0.95 * 40 = 38
    many = {str(number): Whole(100.0, 80.0 + number) for number in range(39)}
    assert MeasuredOps(SETTING, base.times, many).factor == (0.81, 1.17)


def test_the_ops_of_a_model_are_measured_once_and_resumed(tmp_path: Path, graph: Graph) -> None:
    setting = Setting.here("eager", 1)
    threads = torch.get_num_threads()
    with Store(tmp_path / "t", create=True) as store:
        first = measure_eager(store, setting, graph)
        assert (first.measured, first.failed) == (3, {})
        assert not MeasuredOps.read(store, setting).total(graph).partial
        assert measure_eager(store, setting, graph).measured == 0
        wider = flopscope.analyze(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 8)), "2x4").graph
        assert measure_eager(store, setting, wider).measured == 1
        assert torch.get_num_threads() == threads
        with pytest.raises(flopscope.FlopscopeError, match=r"but not as eager 2\.9 with 1 thread on m"):
            measure_eager(store, SETTING, graph)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_commands_measure_list_tell_and_learn(tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    spec, times, predictor = tmp_path / "nets.py", str(tmp_path / "t.sqlite"), str(tmp_path / "p.json")
    spec.write_text(MODEL)
    asked = f"{spec}:net"
    measured = run("measure", asked, "--table", times, "--whole", "--format", "json")
    assert measured.exit_code == 0, measured.output
    assert "12 ops are new" in measured.stderr
    told = json.loads(measured.stdout)
    again = json.loads(run("latency", asked, "--table", times, "--format", "json").stdout)
    assert again == told
    assert told["total"]["unknown"] == 0
    assert ",eager," in run("tables", "--table", times, "--format", "csv").stdout
    assert run("learn", "--table", times, "-o", predictor).exit_code == 0
    learned = json.loads(run("latency", asked, "--predictor", predictor, "--format", "json").stdout)
    assert learned["total"]["unknown"] == 0
    assert learned["total"]["low"] <= learned["total"]["seconds"] <= learned["total"]["high"]
    merged = run("tables", "--table", str(tmp_path / "mine"), "--merge", times)
    assert "13 times are new" in merged.stderr  # 4 + 4 + 4 ops, and the call of a module


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["latency", "torchvision:alexnet"], "times come from one source: give one of --device, --table, --predictor, not none"),
        (["latency", "torchvision:alexnet", "--device", "t4", "--table", "t"], "not --device and --table"),
        (["latency", "torchvision:alexnet", "--device", "t4", "--runtime", "onnxruntime"], "needs --table or --predictor"),
        (["latency", "torchvision:alexnet", "--table", "t", "--plot", "a.png"], "--plot belong to a roofline"),
        (["latency", "torchvision:alexnet", "--table", "no-such-file"], "there is no table of measured times at no-such-file"),
        (["measure", "torchvision:alexnet", "--runtime", "onnxruntime"], "ONNX Runtime runs .onnx files"),
        (["measure", "model.onnx"], "PyTorch does not run 'model.onnx'"),
        (["measure", "torchvision:alexnet", "--threads", "100000"], "100000 threads were asked for"),
        (["learn", "--table", "no-such-file", "-o", "p.json"], "there is no table"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if "onnxruntime" in arguments and arguments[0] == "measure":
        pytest.importorskip("onnxruntime")
    found = run(*arguments)
    assert found.exit_code == 2
    assert message in found.stderr
    assert "Traceback" not in found.output
