"""The command on ONNX files: no flags, no torch, dimensions by name, formulas, and models written back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner, Result

import flopscope
from flopscope.cli.main import main
from flopscope.errors import OptionError
from tests.frontends.onnx.models import graph, ints, model, node, value, weight


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two layers and a product of activations, with open sizes and scopes."""
    nodes = [
        node("MatMul", ["x", "w"], ["a"], name="/enc/fc/MatMul"),
        node("Relu", ["a"], ["b"], name="/enc/act/Relu"),
        node("Transpose", ["b"], ["bt"], perm=[0, 2, 1], name="turn"),
        node("MatMul", ["b", "bt"], ["y"], name="scores"),
    ]
    found = model(nodes, [value("x", ["batch", "seq", 16])], [value("y", None)], [weight("w", [16, 32])])
    onnx.save(found, tmp_path / "tiny.onnx")
    return tmp_path / "tiny.onnx"


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def test_no_flags_and_neither_torch_nor_onnxruntime(path: Path) -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom flopscope.cli.main import main\n"
        f"for extra in ([], ['--by', 'op'], ['--format', 'json'], ['--convention', 'fvcore'], ['--strict']):\n"
        f"    done = CliRunner().invoke(main, ['analyze', {str(path)!r}, *extra])\n"
        "    assert done.exit_code == 0, done.output\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'onnxruntime', 'torchvision'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_json_has_the_numbers(path: Path) -> None:
    found = json.loads(_run("analyze", path, "--dim", "batch=2", "--dim", "seq=8", "--format", "json").stdout)
    assert found["total"]["macs"] == 2 * 8 * 16 * 32 + 2 * 8 * 32 * 8
    assert found["total"]["params"] == 16 * 32
    assert [row["name"] for row in found["ops"]] == ["/enc/fc/MatMul", "/enc/act/Relu", "turn", "scores"]
    assert {row["module"]: row["macs"] for row in found["modules"]}["enc.fc"] == 2 * 8 * 16 * 32


def test_inputs_on_the_command_line(path: Path) -> None:
    found = json.loads(_run("analyze", path, "--input", "x:2x8x16", "--format", "json").stdout)
    assert found["inputs"] == ["float32[2, 8, 16]"]


def test_ranges_give_a_formula(path: Path) -> None:
    text = _run("analyze", path, "--dim", "batch=1..4", "--dim", "seq=16,32").stdout
    assert "MACs(batch, seq) = 32*batch*seq*(seq + 16)" in text
    again = _run("sweep", path, "--dim", "seq=16..64", "--dim", "batch=2", "--format", "csv").stdout
    assert again.splitlines()[1:] == [f"{seq},{32 * 2 * seq * (seq + 16)}" for seq in (16, 32, 64)]


def test_letters_give_the_formulas_of_all_metrics(path: Path) -> None:
    text = _run("analyze", path, "--dim", "batch=B", "--dim", "seq=16").stdout
    assert "16384*B" in text.replace(" ", "")
    found = json.loads(_run("analyze", path, "--dim", "batch=B", "--dim", "seq=S", "--format", "json").stdout)
    assert found["formulas"]["macs"] == "512*B*S + 32*B*S**2" or found["formulas"]["macs"] == "32*B*S**2 + 512*B*S"
    refused = _run("analyze", path, "--dim", "batch=B", "--dim", "seq=1..8")
    assert refused.exit_code == 2
    assert "NAME=SIZE" in refused.stderr
    assert "same letter" in _run("analyze", path, "--dim", "batch=B", "--dim", "seq=B").stderr


def test_a_closed_form_equals_the_analyzer(path: Path) -> None:
    form = flopscope.closed_form(str(path), symbols={"B": "batch", "S": "seq"})
    for batch, seq in ((1, 1), (3, 50), (7, 1000)):
        report = flopscope.analyze(str(path), dims={"batch": batch, "seq": seq})
        assert form.evaluate("macs", B=batch, S=seq) == report.total.macs
        assert form.evaluate("access_bytes", B=batch, S=seq) == report.total.access_bytes


@pytest.mark.parametrize("symbols", [{"B": 0}, {}, {"B": "nothing"}, {"1": "batch"}])
def test_symbols_that_name_no_dimension(path: Path, symbols: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        flopscope.closed_form(str(path), symbols=symbols)


def test_why_knows_nodes_and_scopes(path: Path) -> None:
    assert "macs = r*n*p*m = 1*128*32*16 = 65,536" in _run("why", path, "/enc/fc/MatMul").stdout
    assert "65,536" in _run("why", path, "enc.fc").stdout


def test_compare_explain_and_doctor(path: Path) -> None:
    assert "589.8 k" in _run("compare", path).stdout
    assert "all multiply-accumulates" in _run("explain", path, "--vs", "fvcore").stdout
    assert "every op is counted" in _run("doctor", path).stdout


def test_shapes_are_written_back(path: Path, tmp_path: Path) -> None:
    output = tmp_path / "with_shapes.onnx"
    assert _run("analyze", path, "--dim", "batch=2", "--dim", "seq=8", "--save-shapes", output).exit_code == 0
    written = onnx.load(output)
    onnx.checker.check_model(written, full_check=True)
    shapes = {
        one.name: [dim.dim_value for dim in one.type.tensor_type.shape.dim] for one in (*written.graph.value_info, *written.graph.output)
    }
    assert shapes == {"a": [2, 8, 32], "b": [2, 8, 32], "bt": [2, 32, 8], "y": [2, 8, 8]}
    assert written.graph.initializer[0].raw_data == onnx.load(path).graph.initializer[0].raw_data


def test_a_copy_that_would_lose_its_weights_is_refused(tmp_path: Path) -> None:
    found = model([node("MatMul", ["x", "w"], ["y"])], [value("x", [4, 16])], [value("y", None)], [weight("w", [16, 8])])
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / "m.onnx"
    onnx.save(found, source, save_as_external_data=True, location="w.bin", size_threshold=0)
    done = _run("analyze", source, "--save-shapes", tmp_path / "out.onnx")
    assert done.exit_code == 2
    assert "same folder" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--dim", "batch"], "NAME=SIZE"), (["--dim", "batch=1", "--dim", "batch=2"], "twice"), (["--dim", "size=1"], "no dimension"),
        (["--set", "a=1"], "--set is for PyTorch"), (["--phase", "decode"], "--phase is for PyTorch"), (["--attention", "effective"], "dense"),
        (["--dim", "batch=3..1"], "backwards"), (["--input", "hello"], "no shape"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(path: Path, arguments: list[str], what: str) -> None:
    done = _run("analyze", path, *arguments)
    assert done.exit_code == 2
    assert what in done.stderr
    assert done.stdout == ""


def test_dimensions_are_refused_for_models_of_torch() -> None:
    done = _run("analyze", "torchvision:alexnet", "--dim", "batch=1")
    assert done.exit_code == 2
    assert "ONNX" in done.stderr


def test_strict_fails_for_an_unknown_op(tmp_path: Path) -> None:
    found = model([node("Magic", ["x"], ["y"], domain="my.ops")], [value("x", [4])], [value("y", [4])], domains=["my.ops"])
    path = tmp_path / "m.onnx"
    onnx.save(found, path)
    assert _run("analyze", path).exit_code == 0
    done = _run("analyze", path, "--strict")
    assert done.exit_code == 3
    assert "my.ops::Magic" in done.stderr


def test_a_rule_for_an_op_of_ones_own(tmp_path: Path) -> None:
    found = model([node("Magic", ["x"], ["y"], domain="my.ops", depth=3)], [value("x", [4, 8])], [value("y", [4, 8])], domains=["my.ops"])

    @flopscope.rule("my.ops::Magic", flops="2 per MAC", source="this test")
    def magic(op: flopscope.rules.registry.Signature) -> flopscope.Cost:
        return flopscope.count(op, macs=op["depth"] * op["input0"].elements)

    try:
        assert flopscope.analyze(found).total.macs == 3 * 4 * 8
    finally:
        flopscope.forget_rule("my.ops::Magic")


def test_control_flow_by_name(tmp_path: Path) -> None:
    then = graph([node("MatMul", ["x", "w"], ["t"])], (), [value("t", None)], name="then")
    other = graph([node("Identity", ["x"], ["e"])], (), [value("e", None)], name="else")
    nodes = [
        node("ReduceMax", ["x"], ["m"], keepdims=0),
        node("Cast", ["m"], ["c"], to=9),
        node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    path = tmp_path / "m.onnx"
    onnx.save(model(nodes, [value("x", [4, 8])], [value("y", None)], [weight("w", [8, 8]), ints("unused", [1])]), path)
    assert "256" in _run("analyze", path, "--exact").stdout
    assert "MACs    0" in _run("analyze", path, "--branch", "else").stdout


@pytest.mark.parametrize("option", ["--bits", "--strict", "--check", "--assume=w8a8", "--convention=paper"])
def test_what_is_for_one_size_is_not_ignored_over_several(path: Path, option: str) -> None:
    result = _run("analyze", path, "--dim", "batch=1..8", "--dim", "seq=4", option)
    assert result.exit_code == 2
    assert option.partition("=")[0] in result.output


def test_shapes_that_are_only_bounds_are_not_written_back(tmp_path: Path) -> None:
    nodes = [
        node("NonZero", ["x"], ["places"]),
        node("Transpose", ["places"], ["rows"]),
        node("Relu", ["x"], ["h"]),
    ]
    onnx.save(model(nodes, [value("x", [3, 4])], [value("rows", None, 7), value("h", None)]), tmp_path / "m.onnx")
    result = _run("analyze", tmp_path / "m.onnx", "--save-shapes", tmp_path / "out.onnx")
    assert result.exit_code == 0, result.output
    written = onnx.load(tmp_path / "out.onnx").graph
    shapes = {found.name: [dim.dim_value for dim in found.type.tensor_type.shape.dim] for found in (*written.value_info, *written.output)}
    assert shapes == {"rows": [], "h": [3, 4]}
