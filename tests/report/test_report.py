"""Reports: the tables add up, and every format says the same."""

from __future__ import annotations

import csv
import io
import json

import pytest
import torch
from torch import nn

import flopscope
from flopscope.cost import ZERO
from flopscope.errors import InputError, OptionError
from flopscope.report.text import shape_text, si


@pytest.fixture(scope="module")
def report() -> flopscope.Report:
    block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), block, block, nn.Flatten(), nn.Linear(4 * 64, 10))
    return flopscope.analyze(model.eval(), "1x3x8x8")


CONV1, CONV2, LINEAR = 4 * 64 * 27, 4 * 64 * 36, 256 * 10


def test_tables_add_up(report: flopscope.Report) -> None:
    assert report.total.macs == CONV1 + 2 * CONV2 + LINEAR
    assert sum((row.cost for row in report.ops), ZERO) == report.total
    assert sum((row.cost for row in report.by_kind()), ZERO) == report.total
    assert report.by_module(0)[0].cost == report.total
    assert sum((row.cost for row in report.by_module(1)[1:]), ZERO) == report.total


def test_modules(report: flopscope.Report) -> None:
    rows = {row.path: row for row in report.by_module()}
    assert list(rows) == ["", "0", "1", "1.0", "1.1", "3", "4"]
    assert rows["1"].calls == 2
    assert rows["1"].cost.macs == 2 * CONV2
    assert rows["1.0"].depth == 2
    assert rows["4"].output == (1, 10)
    assert [row.path for row in report.by_module(1)] == ["", "0", "1", "3", "4"]


def test_kinds(report: flopscope.Report) -> None:
    assert [(row.kind, row.calls) for row in report.by_kind()] == [("conv", 3), ("linear", 1), ("relu", 2), ("flatten", 1)]


def test_ops(report: flopscope.Report) -> None:
    row = report.ops[0]
    assert (row.op, row.scope, row.inputs, row.outputs) == ("aten::conv2d", "0", ((1, 3, 8, 8), (4, 3, 3, 3), (4,)), ((1, 4, 8, 8),))
    assert row.attributes["padding"] == (1, 1)
    assert row.cost.params == 4 * 27 + 4


def test_text_is_the_module_tree_with_exact_totals(report: flopscope.Report) -> None:
    text = str(report)
    assert "├─ 1        Sequential" in text
    assert "│  ├─ 0     Conv2d" in text
    assert f"MACs    {report.total.macs:,}" in text
    assert f"params  {report.total.params:,}" in text
    assert "inputs  float32[1, 3, 8, 8]" in text


def test_json_and_dict(report: flopscope.Report) -> None:
    loaded = json.loads(report.to_json())
    assert loaded == report.to_dict()
    assert loaded["total"]["macs"] == report.total.macs
    assert loaded["complete"] is True
    assert len(loaded["ops"]) == len(report.ops)


@pytest.mark.parametrize("by", ["op", "kind", "module"])
def test_csv_and_dataframe(report: flopscope.Report, by: str) -> None:
    rows = list(csv.DictReader(io.StringIO(report.to_csv(by))))  # type: ignore[arg-type]
    frame = report.to_dataframe(by)  # type: ignore[arg-type]
    assert len(rows) == len(frame)
    expected = [row.cost.macs for row in {"op": report.ops, "kind": report.by_kind(), "module": report.by_module()}[by]]
    assert [int(row["macs"]) for row in rows] == expected == list(frame["macs"])


def test_markdown_and_latex(report: flopscope.Report) -> None:
    markdown = report.to_markdown("kind")
    assert markdown.splitlines()[0].startswith("| kind")
    assert markdown.splitlines()[1].startswith("|-")
    assert r"\toprule" in report.to_latex("kind")
    assert f"{CONV1 + 2 * CONV2:,}" in report.to_markdown("kind", exact=True)


def test_networkx(report: flopscope.Report) -> None:
    view = report.graph.to_networkx()
    import networkx

    assert isinstance(view, networkx.DiGraph)
    assert networkx.is_directed_acyclic_graph(view)
    conv = view.nodes[0]
    assert conv["cost"].macs == CONV1
    assert conv["shapes"] == [(1, 4, 8, 8)]
    assert sum(facts["cost"].macs for _, facts in view.nodes(data=True) if "cost" in facts) == report.total.macs
    assert networkx.has_path(view, str(report.graph.inputs[0]), "return")
    assert view.edges[0, 1]["shapes"] == [(1, 4, 8, 8)]
    assert "@0.weight" in view


def test_graph_prints_as_a_program(report: flopscope.Report) -> None:
    lines = str(report.graph).splitlines()
    assert lines[0].startswith("graph Sequential(%0: float32[1, 3, 8, 8]):")
    assert "= aten::conv2d(%0, @0.weight, @0.bias, stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1)  # 0" in lines[1]
    assert lines[-1].startswith("  return %")


def test_compare() -> None:
    table = flopscope.compare({"a": (nn.Linear(3, 4), "1x3"), "b": flopscope.analyze(nn.Linear(30, 4), "1x30"), "c": "torchvision:alexnet"})
    assert [row["macs"] for row in table.to_dicts()] == [12, 120, 714_188_480]
    assert str(table).splitlines()[2].startswith("a")
    assert table.to_markdown().count("\n") == 5
    assert list(table.to_dataframe()["model"]) == ["a", "b", "c"]
    assert next(csv.DictReader(io.StringIO(table.to_csv())))["macs"] == "12"
    assert r"\bottomrule" in table.to_latex()
    with pytest.raises(InputError, match=r"'d' cannot be compared: expected a Report.*int was given"):
        flopscope.compare({"d": 3})


def test_bad_options(report: flopscope.Report) -> None:
    with pytest.raises(OptionError, match="by module, op, kind, but not by 'layer'"):
        report.to_table("layer")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="no table format 'html'"):
        report.to_table("op", "html")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="depth must be 0 or more, but is -1"):
        report.by_module(-1)
    with pytest.raises(OptionError, match="no convention 'thopp'; choose one of contraction, paper"):
        report.under("thopp")


def test_conventions(report: flopscope.Report) -> None:
    assert report.under("contraction") == report.total.macs
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(4)).eval()
    found = flopscope.analyze(model, "1x3x8x8").under("fvcore")
    assert found == 4 * 64 * 3 + 2 * 4 * 64 + 4 * 64 + 5 * 4


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (9999, "9999"),
        (10_000, "10.00 k"),
        (4_089_184_256, "4.089 G"),
        (999_999_999, "1.000 G"),
        (999_949_999, "999.9 M"),
        (123_456_789, "123.5 M"),
        (10**13, "10.00 T"),
    ],
)
def test_si(count: int, text: str) -> None:
    assert si(count) == text


def test_shape_text() -> None:
    assert [shape_text(shape) for shape in [(1, 3, 2), (), None]] == ["1x3x2", "()", ""]


def test_functions_have_reports_too() -> None:
    report = flopscope.analyze(torch.matmul, "2x3", "3x4")
    assert report.total.macs == 24
    assert report.by_module()[0].cost.macs == 24
    assert "matmul" in str(report)
