"""The page of a report as a file: what is in it, what can be in it, and how it is written."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from click.testing import CliRunner
from onnx import TensorProto, helper
from torch import nn

import flopscope
from flopscope.analyses.memory.storages import storages
from flopscope.cli.main import main
from flopscope.latency.device import device, device_names
from flopscope.report import Report
from flopscope.report.html import notebook_html
from flopscope.report.html.facts import FIRST_DEVICE, exact, facts
from flopscope.report.html.families import family_of
from flopscope.report.html.writing import embedded
from flopscope.rules import registered

ROOT = Path(__file__).parents[2]
LARGEST = 3_000_000  # bytes of a page


class Elements(HTMLParser):
    """Every element with its attributes, and the text of the last one of each name and id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id") or tag
        self.texts[self._inside] = ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside] += data


def facts_of(page: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Elements(page).texts["facts"])
    return found


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(8, 8)
        self.two = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.two(torch.relu(self.one(x)))


@pytest.fixture(scope="module")
def report() -> Report:
    return flopscope.analyze(nn.Sequential(nn.Linear(4, 8), Block(), Block(), Block(), nn.Linear(8, 2)), "3x4")


def test_the_page_holds_what_the_report_says(report: Report) -> None:
    facts, told = facts_of(report.to_html()), report.to_dict()
    assert facts["total"] == {name: told["total"][name] for name in facts["total"]}
    for name in ("macs", "flops", "params", "access_bytes", "uncounted"):
        assert facts["modules"][name] == [row[name] for row in told["modules"]]
    signatures, ops = facts["signatures"], facts["ops"]
    for name in ("macs", "flops", "access_bytes"):
        spread = [signatures[name][kind] * times for kind, times in zip(ops["signature"], ops["times"], strict=True)]
        assert spread == [row[name] for row in told["ops"]]
    assert ops["params"] == [row["params"] for row in told["ops"]]
    texts = facts["texts"]
    assert [texts[signatures["target"][kind]] for kind in ops["signature"]] == [row["op"] for row in told["ops"]]
    assert facts["memory"]["peak_bytes"] == told["memory"]["peak_bytes"]


def test_the_pieces_of_memory_are_alive_as_the_timeline_says(report: Report) -> None:
    pieces = facts_of(report.to_html())["pieces"]
    live = [
        sum(size for size, born, died in zip(pieces["bytes"], pieces["born"], pieces["died"], strict=True) if born <= op < died)
        for op in range(len(report.ops))
    ]
    assert live == list(report.memory.timeline.live_bytes)
    assert sum(pieces["bytes"]) == sum(piece.bytes for piece in storages(report.graph))


def test_an_op_reads_what_was_made_so_many_ops_ago(report: Report) -> None:
    # Linear; three times Linear, relu, Linear, add; Linear. An add reads the block's input, three ops before, and the op before it.
    reads = facts_of(report.to_html())["ops"]["reads"]
    assert reads == [[-1], *[[1], [1], [1], [4, 1]] * 3, [1]]


def test_an_op_that_runs_many_times_is_priced_by_one_call(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Identity", ["go"], ["on"])], "body",
        [helper.make_tensor_value_info("turn", TensorProto.INT64, []), helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
    )  # fmt: skip
    turns, go = helper.make_tensor("n", TensorProto.INT64, [], [5]), helper.make_tensor("g", TensorProto.BOOL, [], [True])
    graph = helper.make_graph(
        [helper.make_node("Loop", ["n", "g", "a"], ["b"], body=body)], "looping",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [2, 3])], [helper.make_tensor_value_info("b", TensorProto.FLOAT, [2, 3])],
        [turns, go, helper.make_tensor("w", TensorProto.FLOAT, [3, 3], [0.0] * 9)],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "loop.onnx")
    facts = facts_of(flopscope.analyze(str(tmp_path / "loop.onnx")).to_html())
    kinds = [facts["texts"][number] for number in facts["signatures"]["target"]]
    place = next(place for place, kind in enumerate(facts["ops"]["signature"]) if kinds[kind].endswith("MatMul"))
    assert facts["ops"]["times"][place] == 5
    assert facts["signatures"]["macs"][facts["ops"]["signature"][place]] == 2 * 3 * 3
    assert facts["total"]["macs"] == 5 * 2 * 3 * 3


def test_counts_that_a_browser_cannot_hold_travel_as_texts() -> None:
    assert exact(2**53) == 2**53
    assert exact(2**53 + 1) == "9007199254740993"
    page = flopscope.analyze(lambda x: x @ x, "300000x300000").to_html()
    assert facts_of(page)["total"]["macs"] == str(300_000**3)


def test_the_policy_allows_this_script_and_this_style_and_nothing_else(report: Report) -> None:
    page = report.to_html()
    elements = Elements(page)
    policy = next(attributes["content"] for tag, attributes in elements.found if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for directive, text in (("script-src", elements.texts["script"]), ("style-src", elements.texts["style"])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[directive] == f"'sha256-{digest}'"
    assert "unsafe" not in policy
    assert "http" not in policy


def test_the_page_names_nothing_to_load(report: Report) -> None:
    elements = Elements(report.to_html())
    for tag, attributes in elements.found:
        assert "src" not in attributes
        assert attributes.get("href", "data:,") == "data:,", tag
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
    assert "</" not in elements.texts["style"]
    assert "</script" not in elements.texts["script"].lower()
    assert "url(" not in elements.texts["style"]
    assert "@import" not in elements.texts["style"]


def test_the_source_of_the_page_makes_no_element_from_a_string_and_asks_for_nothing() -> None:
    sources = list((ROOT / "web" / "src").glob("*.ts"))
    assert sources
    for source in sources:
        text = source.read_text(encoding="utf-8")
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "fetch(", "XMLHttpRequest", "eval(", "new Function"):
            assert way not in text, source.name


def test_no_text_ends_the_element_that_it_is_in() -> None:
    hostile = "</script><script>alert(1)</script><!-- & \u2028 ]]>"
    text = embedded({"name": hostile})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"name": hostile}


def test_a_hostile_name_of_the_model_stays_text() -> None:
    class_name = "</title><script>alert(1)</script>"
    model = type(class_name, (nn.Linear,), {})(4, 2)
    elements = Elements(flopscope.analyze(model, "1x4").to_html())
    assert [tag for tag, _ in elements.found].count("script") == 2  # the data and the page's own
    assert elements.texts["title"] == f"{class_name} · flopscope"


def test_every_rule_belongs_to_a_family_of_the_page(report: Report) -> None:
    from flopscope.report.html.families import _GROUP_OF

    own = {rule.family for rule in registered().values() if rule.formula.__module__.startswith("flopscope.rules")}
    assert own - set(_GROUP_OF) == set()
    assert [family_of(op.signature) for op in report.graph.ops][:4] == ["matmul", "matmul", "elementwise", "matmul"]


def test_a_page_offers_the_devices_that_flopscope_knows() -> None:
    report = flopscope.analyze(torch.nn.Linear(4, 4), "2x4")
    devices = {each["key"]: each for each in facts(report)["devices"]}
    assert sorted(devices) == sorted(device_names())
    assert next(iter(devices)) == FIRST_DEVICE
    assert devices["rtx4090"]["bytes_per_second"] == device("rtx4090").bandwidth_bytes_per_second
    # 64 cores at 2.45 GHz, two units of 8 float32 lanes, a multiplication and an addition each; 8 channels of 3200 MT/s and 8 bytes
    assert devices["epyc-7763"]["flops_per_second"]["float32"] == 64 * 2.45e9 * 2 * 8 * 2
    assert devices["epyc-7763"]["bytes_per_second"] == 8 * 3200e6 * 8
    assert all(each["source"] and each["flops_per_second"]["float32"] > 0 for each in devices.values())


def test_a_llama_of_seventy_billion_fits() -> None:
    pytest.importorskip("transformers")
    sizes = {"num_hidden_layers": 80, "hidden_size": 8192, "intermediate_size": 28672, "num_attention_heads": 64, "num_key_value_heads": 8}
    loaded = flopscope.load("hf:llama", sizes)
    report = flopscope.analyze(loaded.model, **loaded.kwargs)
    assert report.total.params > 68e9
    assert len(report.to_html().encode()) < LARGEST


def test_five_thousand_nodes_that_all_differ_fit(tmp_path: Path) -> None:
    nodes = [helper.make_node("Pad", [f"t{i}", f"by{i % 7}"], [f"t{i + 1}"], name=f"/stage{i // 100}/layer{i}/pad") for i in range(5000)]
    pads = [helper.make_tensor(f"by{i}", TensorProto.INT64, [2], [0, 1 + i]) for i in range(7)]
    graph = helper.make_graph(
        nodes, "long", [helper.make_tensor_value_info("t0", TensorProto.FLOAT, [8])],
        [helper.make_tensor_value_info("t5000", TensorProto.FLOAT, None)], pads,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "long.onnx")
    page = flopscope.analyze(str(tmp_path / "long.onnx")).to_html()
    assert len(facts_of(page)["signatures"]["target"]) == 5000
    assert len(page.encode()) < LARGEST


# -- how it is written --------------------------------------------------------------------------------------


def test_the_command_writes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["report", "torchvision:squeezenet1_1"])
    assert result.exit_code == 0, result.output
    assert "wrote report.html" in result.output
    assert facts_of((tmp_path / "report.html").read_text())["model"] == "torchvision:squeezenet1_1"


def test_the_command_writes_into_a_pipe(tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text("import torch\ndef factory():\n    return torch.nn.Linear(4, 2), torch.empty(1, 4)\n")
    result = CliRunner().invoke(main, ["report", f"{file}:factory", "--output", "-"])
    assert result.exit_code == 0
    assert result.stdout.startswith("<!doctype html>")
    assert result.stdout.endswith("</html>\n")


def test_the_command_says_what_it_cannot_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["report", "torchvision:squeezenet1_1", "-o", str(tmp_path / "none" / "report.html")])
    assert result.exit_code == 2
    assert "cannot write" in result.output
    result = CliRunner().invoke(main, ["report", "model.onnx", "--dim", "batch=1..4"])
    assert result.exit_code == 2
    assert "one size of each dimension" in result.output


def test_a_report_saves_itself(report: Report, tmp_path: Path) -> None:
    path = report.save_html(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == report.to_html()
    with pytest.raises(flopscope.FlopscopeError, match="cannot write"):
        report.save_html(tmp_path)


def test_a_notebook_shows_a_table_and_the_page(report: Report) -> None:
    shown = report._repr_html_()
    elements = Elements(shown)
    frame = next(attributes for tag, attributes in elements.found if tag == "iframe")
    assert frame["srcdoc"] == report.to_html()
    assert frame["sandbox"] == "allow-scripts"
    cells = [tag for tag, _ in elements.found].count("td")
    assert cells == 6 * (1 + 5)  # six columns; the model and its five children
    assert f"MACs    {report.total.macs:,}" in html.unescape(shown)


def test_a_notebook_gets_no_page_that_is_too_large(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flopscope.report.html.writing._LARGEST_INLINE", 1000)
    assert "<iframe" not in notebook_html(report)
    assert "report.save_html" in notebook_html(report)


def test_the_page_needs_no_torch(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "small", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "small.onnx")
    code = f"import sys, flopscope; flopscope.analyze({str(tmp_path / 'small.onnx')!r}).to_html(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_built_page_is_what_its_source_gives(tmp_path: Path) -> None:
    if shutil.which("node") is None or not (ROOT / "web" / "node_modules" / "esbuild").is_dir():
        pytest.skip("the page is not built here: make page needs Node.js")
    subprocess.run(["node", "build.mjs", str(tmp_path)], cwd=ROOT / "web", check=True, env=dict(os.environ))
    for name in ("page.js", "page.css"):
        built = ROOT / "flopscope" / "report" / "html" / "built" / name
        assert (tmp_path / name).read_bytes() == built.read_bytes(), f"{name} is not what web/src gives: run make page"
