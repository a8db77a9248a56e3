"""The README says what is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import sympy
import torch
import torchvision

import flopscope

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_figures_in_the_example() -> None:
    report = flopscope.analyze(torchvision.models.resnet50(weights=None).eval(), "1x3x224x224")
    lines = re.findall(r"^report\.total\.(\w+)\s+# (\d+)$", README, re.MULTILINE)
    assert len(lines) == 4
    assert {name: int(figure) for name, figure in lines} == {name: getattr(report.total, name) for name, _ in lines}


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```python\n(import flopscope, torchvision\n.*?)```", README, re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(block[1], names)
    assert names["table"].to_dicts()[1]["macs"] == 300_774_272


def test_the_example_of_onnx_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnx import TensorProto, helper

    block = re.search(r"```python\n(report = flopscope.analyze\(\"model.onnx\".*?)```", README, re.DOTALL)
    assert block is not None
    monkeypatch.chdir(tmp_path)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 16]) for name in ("x", "y")]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [16, 16], [0.0] * 256)
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight])
    Path("model.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    names: dict[str, Any] = {"flopscope": flopscope}
    exec(block[1], names)
    assert names["report"].total.macs == 8 * 16 * 16
    assert flopscope.closed_form("model.onnx", symbols={"B": "batch"}).evaluate("macs", B=3) == 3 * 16 * 16


def test_every_option_in_the_usage_exists() -> None:
    from flopscope.cli.main import main

    usage = re.search(r"^flopscope analyze SPEC (.*)$", README, re.MULTILINE)
    assert usage is not None
    options = {name for parameter in main.commands["analyze"].params for name in parameter.opts}  # type: ignore[attr-defined]
    assert set(re.findall(r"\[(--?[a-z]+)", usage[1])) <= options


def test_the_examples_of_relaxed_costs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    section = README[README.index("## Cost as a differentiable function") : README.index("## Search")]
    search, own_choice, questions, widths, closed = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict[str, Any] = {"torchvision": torchvision}
    setup, loop, step = search.partition("for _ in range(5):")
    exec(setup, names)
    before = names["model"]("macs").item()
    exec(loop + step, names)
    assert names["model"]("macs").item() < before
    exec(own_choice, names)
    sampled = names["SampledPath"]([torch.nn.Conv2d(4, 4, 1), torch.nn.Identity()])
    assert int(flopscope.relax.cost_model(sampled, "1x4x8x8")("macs", [0])) == 8 * 8 * 4 * 4
    exec(questions, names)
    exec(widths, names)
    assert names["sizes"].grad.gt(0).all()
    general, _, gpt2 = closed.partition("gpt2 =")
    exec(general, names)
    pytest.importorskip("transformers")
    exec("gpt2 =" + gpt2, names)


@pytest.mark.parametrize(("model", "row"), [("hf:gpt2", "GPT-2"), ("hf:llama", "Llama 7B")])
def test_the_formulas_of_transformers(model: str, row: str) -> None:
    pytest.importorskip("transformers")
    formula = re.search(rf"^\| {row}[^|]*\| `([^`]+)` \|", README, re.MULTILINE)
    assert formula is not None
    loaded = flopscope.load(model)
    form = flopscope.closed_form(loaded.model.eval(), *loaded.args, symbols={"B": 0, "S": 1}, **loaded.kwargs)
    assert sympy.expand(sympy.sympify(formula[1], locals=dict(form.symbols)) - form("macs")) == 0


def test_the_example_of_a_search_runs() -> None:
    section = README[README.index("## Search") : README.index("## How it compares")]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    network = names["space"].network(names["genotype"], (3, 16, 16), 10).eval()
    assert names["cost"].of(names["genotype"]) == flopscope.analyze(network, "1x3x16x16").total.macs


def test_every_command_and_form_of_a_search_exists() -> None:
    from nas.cli.main import main
    from nas.objectives.build import FORMS

    section = README[README.index("## Search") : README.index("## How it compares")]
    assert set(re.findall(r"^python -m nas (\w+)", section, re.MULTILINE)) == set(main.commands)  # type: ignore[attr-defined]
    assert {"none", *re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)} == set(FORMS)
