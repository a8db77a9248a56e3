"""What ``flopscope advise`` and the column of arithmetic intensity write."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import flopscope
from flopscope.cli.main import main
from flopscope.cost import Cost

SPEC = "torchvision:mobilenet_v2"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


class Grouped(nn.Module):
    """Three grouped convolutions that differ, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(8, 8 * width, 1, groups=2, bias=False) for width in (1, 2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([layer(x) for layer in self.layers], dim=1).relu()


@pytest.fixture
def advice() -> flopscope.report.Advice:
    return flopscope.analyze(Grouped().eval(), "1x8x6x6").advise()


def test_text(advice: flopscope.report.Advice) -> None:
    text = str(advice)
    assert [line.split("  ")[0] for line in text.splitlines() if line.startswith("G") and line[1].isdigit()][:4] == [
        "G1 equal channel widths", "G2 few groups", "G3 little fragmentation", "G4 few elementwise operations",
    ]  # fmt: skip
    assert "8 -> 24 in 2 groups at 36 positions; in one group 6 -> 17" in text
    assert "3-fragment-parallel; 3 could be one op" in text


def test_the_worst_come_first_and_the_rest_is_summed_up(advice: flopscope.report.Advice) -> None:
    places = advice["G2"].places
    assert [place.scope for place in places] == ["layers.2", "layers.1", "layers.0"]
    rest = sum(place.amount for place in places[1:])
    line = next(line for line in advice.to_text(1).splitlines() if line.startswith("2 more"))
    assert f"{rest} B" in line
    assert f"{rest} B" not in advice.to_text(None)


def test_formats(advice: flopscope.report.Advice) -> None:
    found = json.loads(advice.to_json())
    assert [(f["guideline"], f["kept"]) for f in found["findings"]] == [(f.guideline, f.kept) for f in advice.findings]
    assert found["total"]["access_bytes"] == advice.total.access_bytes
    rows = list(csv.DictReader(io.StringIO(advice.to_csv())))
    for finding in advice.findings:
        assert sum(int(row["amount"]) for row in rows if row["guideline"] == finding.guideline) == finding.amount
    assert "### G2 few groups" in advice.to_markdown()


def test_a_model_without_ops_and_one_that_is_not_counted() -> None:
    assert flopscope.analyze(nn.Identity(), "2x3").advise().kept
    assert "FLOPs, 0 B" in str(flopscope.analyze(nn.Identity(), "2x3").advise())
    nothing = flopscope.analyze(nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval(), "0x4").advise()
    assert nothing["G1"].amount == nothing["G2"].amount == 0


def test_command(tmp_path: Path) -> None:
    target = tmp_path / "advice.json"
    assert run("advise", SPEC, "--format", "json", "-o", str(target)).exit_code == 0
    assert [f["kept"] for f in json.loads(target.read_text())["findings"]] == [False, True, True, False]
    short, long = run("advise", SPEC, "--most", "1").stdout, run("advise", SPEC, "--all").stdout
    assert len(short.splitlines()) < len(run("advise", SPEC).stdout.splitlines()) < len(long.splitlines())
    assert "features.2.conv.0.0" in short


def test_an_onnx_model_gets_the_same_advice(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, proto = onnx.helper, onnx.TensorProto
    weights = [helper.make_tensor(name, proto.FLOAT, shape, [0.0] * (shape[0] * shape[1])) for name, shape in
               (("a", (24, 4, 1, 1)), ("b", (24, 24, 1, 1)), ("c", (24, 1, 1, 1)))]  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["y"], group=2),
        helper.make_node("Conv", ["y", "b"], ["z"]),
        helper.make_node("Conv", ["z", "c"], ["v"], group=24),
        helper.make_node("Relu", ["v"], ["w"]),
    ]
    ends = [helper.make_tensor_value_info(name, proto.FLOAT, [1, width, 5, 5]) for name, width in (("x", 8), ("w", 24))]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)), path)
    torch_model = nn.Sequential(
        nn.Conv2d(8, 24, 1, groups=2, bias=False), nn.Conv2d(24, 24, 1, bias=False), nn.Conv2d(24, 24, 1, groups=24, bias=False), nn.ReLU()
    )
    expected = flopscope.analyze(torch_model.eval(), "1x8x5x5").advise()
    found = json.loads(run("advise", str(path), "--format", "json").stdout)
    for mine, other in zip(found["findings"], expected.findings, strict=True):
        assert (mine["amount"], mine["total"], mine["kept"]) == (other.amount, other.total, other.kept)
        assert mine["amount"] or mine["guideline"] == "G3"


def test_intensity_of_a_matrix_product() -> None:
    """n^3 multiply-accumulates over three matrices of n^2 numbers of four bytes."""
    n = 96
    report = flopscope.analyze(torch.nn.Linear(n, n, bias=False), f"{n}x{n}")
    assert report.total.intensity == pytest.approx(2 * n**3 / (4 * 3 * n**2))
    assert report.to_dict()["total"]["intensity"] == report.total.intensity
    assert [row["intensity"] for row in csv.DictReader(io.StringIO(report.to_csv()))] == [str(report.total.intensity)]


def test_intensity_of_nothing_and_of_a_part() -> None:
    assert Cost().intensity is None
    assert Cost(flops=6, bytes_read=1, bytes_written=3, uncounted=1).intensity == 1.5


@pytest.mark.parametrize("by", ["op", "kind", "module"])
def test_the_column_of_intensity_is_there_when_asked_for(by: str) -> None:
    asked = run("analyze", "torchvision:alexnet", "--by", by, "--intensity").stdout
    usual = run("analyze", "torchvision:alexnet", "--by", by).stdout
    assert "FLOPs/B" in asked
    assert "FLOPs/B" not in usual
    assert len(asked.splitlines()) == len(usual.splitlines())
    markdown = run("analyze", "torchvision:alexnet", "--by", by, "--intensity", "--format", "markdown").stdout
    assert markdown.splitlines()[0].endswith("FLOPs/B |")
