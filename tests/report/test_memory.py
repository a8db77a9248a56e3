"""The memory part of a report: its forms, and the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import flopscope
from flopscope.cli.main import main
from flopscope.report.memory_text import chart
from flopscope.report.text import binary

CHAIN = """
import torch

class Chain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, x):
        x = self.layer(x)
        x = x.exp()
        return x.sin()

def chain():
    return Chain(), torch.empty(4, 4)

def nothing():
    return torch.nn.Identity(), torch.empty(4, 4)
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "models.py"
    path.write_text(CHAIN)
    return f"{path}:chain"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["memory", *arguments])


def test_the_text_says_where_and_what(spec: str) -> None:
    result = call(spec, "--exact")
    assert result.exit_code == 0, result.output
    assert "peak        192 bytes of live tensors, at #1 aten::exp" in result.output
    assert "inputs 64 bytes, activations 128 bytes" in result.output
    assert "parameters 80 bytes, buffers 0 bytes" in result.output
    assert "in all      272 bytes" in result.output
    assert "128 bytes is the least that an ideal planner needs, 128 bytes" in result.output
    assert "#0 aten::linear in layer  #1 aten::exp" in result.output


def test_fused_tells_of_the_planner(spec: str) -> None:
    result = call(spec, "--exact", "--fused")
    assert "peak        128 bytes of live tensors as an ideal planner places them, at #0 aten::linear in layer" in result.output


def test_csv_is_the_timeline(spec: str) -> None:
    rows = list(csv.DictReader(call(spec, "--format", "csv").output.splitlines()))
    assert [row["target"] for row in rows] == ["aten::linear", "aten::exp", "aten::sin"]
    assert [int(row["live_bytes"]) for row in rows] == [128, 192, 192]
    assert [int(row["ideal_live_bytes"]) for row in rows] == [128, 128, 128]


def test_json_holds_everything(spec: str, tmp_path: Path) -> None:
    output = tmp_path / "memory.json"
    assert call(spec, "--format", "json", "--output", str(output)).exit_code == 0
    found = json.loads(output.read_text())
    assert found["peak_bytes"] == 192
    assert found["peak"] == {"op": 1, "target": "aten::exp", "scope": ""}
    assert found["timeline"] == [128, 192, 192]
    assert found["ideal"] == {"peak_bytes": 128, "arena_lower_bound_bytes": 64, "arena_bytes": 64, "strategy": "greedy by size"}
    assert [piece["bytes"] for piece in found["alive"]] == [64, 64, 64]
    assert found["alive"][0]["shape"] == [4, 4]


@pytest.mark.parametrize("style", ["markdown", "latex"])
def test_tables_list_what_is_alive(spec: str, style: str) -> None:
    output = call(spec, "--format", style, "--exact").output
    assert output.count("float32[4, 4]") == 3


def test_top_says_what_it_leaves_out(spec: str) -> None:
    assert "and 2 more, 128 bytes together" in call(spec, "--exact", "--top", "1").output


def test_a_model_without_ops(spec: str) -> None:
    result = call(spec.replace(":chain", ":nothing"), "--exact")
    assert result.exit_code == 0, result.output
    assert "peak        64 bytes of live tensors\n" in result.output


def test_a_report_tells_of_memory_in_one_line(spec: str) -> None:
    output = CliRunner().invoke(main, ["analyze", spec]).output
    assert "memory  peak 192 B of live tensors at #1 aten::exp, weights 80 B" in output
    found = json.loads(CliRunner().invoke(main, ["analyze", spec, "--format", "json"]).output)
    assert found["memory"]["peak_bytes"] == 192


def test_a_plot_is_written(spec: str, tmp_path: Path) -> None:
    for suffix in ("png", "svg"):
        path = tmp_path / f"timeline.{suffix}"
        assert call(spec, "--plot", str(path)).exit_code == 0
        assert path.stat().st_size > 1000
    assert "192 B at op 1" in (tmp_path / "timeline.svg").read_text() or (tmp_path / "timeline.svg").read_text().count("<path") > 10
    assert call(spec.replace(":chain", ":nothing"), "--plot", str(tmp_path / "nothing.png")).exit_code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--plot", "timeline.gif"], "must end in .png, .svg or .pdf"),
        (["--dim", "batch=1..8"], "one size of each dimension"),
        (["--dim", "batch=8"], "--dim names dimensions of ONNX models"),
        (["--top", "0"], "0 is not in the range"),
        (["--format", "html"], "'html' is not one of"),
        (["--plot", "no/such/folder/timeline.png"], "cannot write"),
        (["--output", "no/such/folder/text"], "cannot write"),
    ],
)
def test_bad_options_are_messages(spec: str, options: list[str], message: str) -> None:
    result = call(spec, *options)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (9633792, "9.19 MiB"), (10 * 1024, "10.0 KiB"), (1023 * 1024, "1.00 MiB"),
        (999 * 1024, "999 KiB"), (140 * 2**30, "140 GiB"), (3 * 2**40, "3.00 TiB"),
    ],
)  # fmt: skip
def test_binary_units(count: int, text: str) -> None:
    assert binary(count) == text


def test_the_chart_shows_the_most_of_each_column() -> None:
    assert chart([]) == chart([0, 0]) == []
    lines = chart([1, 8, 4])
    assert lines[0].count("█") == 1  # the peak alone reaches the top
    wide = chart([1] * 999 + [100])
    assert wide[0].endswith("█")
    assert len(wide[0]) < 100


def test_a_report_holds_the_memory_of_a_model() -> None:
    import torch

    report = flopscope.analyze(torch.nn.Linear(4, 4), "4x4")
    assert report.memory is report.memory
    assert report.to_dict()["memory"]["total_bytes"] == 128 + 80
