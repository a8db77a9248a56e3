"""The command line: what it prints, and how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flopscope.cli.main import main

FACTORY = """
import torch
from torch import nn

def tiny(width=4):
    return nn.Linear(width, 2)

def with_inputs():
    return nn.Linear(4, 2), torch.empty(3, 4)

def broken():
    raise ValueError("no such thing")

def number():
    return 3

def a_class():
    return nn.Linear

def exits():
    raise SystemExit(0)

class Exits(nn.Module):
    def forward(self, x):
        raise SystemExit(0)

class Prints(nn.Module):
    def __init__(self):
        super().__init__()
        print("built")

    def forward(self, x):
        print("running")
        return x @ x.T

class Raises(nn.Module):
    def forward(self, x):
        raise RuntimeError("as it likes\\nsecond line")

class Two(nn.Module):
    def forward(self, image, mask=None):
        return image * 2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "models.py"
    path.write_text(FACTORY)
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(0)\n")
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_analyze_prints_the_tree() -> None:
    result = run("analyze", "torchvision:mobilenet_v2", "--depth", "1")
    assert result.exit_code == 0
    assert "MACs    300,774,272" in result.stdout
    assert "├─ features" in result.stdout


@pytest.mark.parametrize("style", ["markdown", "latex", "csv", "json", "table"])
@pytest.mark.parametrize("by", ["module", "op", "kind"])
def test_formats(style: str, by: str, file: Path) -> None:
    result = run("analyze", f"{file}:tiny", "--input", "3x4", "--format", style, "--by", by)
    assert result.exit_code == 0, result.output
    assert "24" in result.stdout
    if style == "json":
        assert json.loads(result.stdout)["total"]["macs"] == 24


def test_output_to_a_file(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    result = run("analyze", f"{file}:with_inputs", "--format", "json", "-o", str(out))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert json.loads(out.read_text())["total"]["macs"] == 24


def test_settings_reach_the_factory(file: Path) -> None:
    result = run("analyze", f"{file}:tiny", "--set", "width=8", "-i", "1x8", "--exact", "--format", "csv", "--by", "kind")
    assert result.exit_code == 0
    assert "linear,1,16," in result.stdout  # 1 call, 16 MACs


def test_compare() -> None:
    result = run("compare", "torchvision:mobilenet_v2", "torchvision:squeezenet1_0", "--exact")
    assert result.exit_code == 0
    assert "300,774,272" in result.stdout
    rows = json.loads(run("compare", "torchvision:mobilenet_v2", "--format", "json").stdout)
    assert rows[0]["params"] == 3504872


def test_list() -> None:
    assert run("list", "torchvision", "mnasnet1_*").stdout.split() == ["torchvision:mnasnet1_0", "torchvision:mnasnet1_3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyze", "resnet50"], "'resnet50' is no SPEC: expected for example 'torchvision:resnet50'"),
        (["analyze", "torchvision:resnet5O"], "torchvision has no model 'resnet5O'. Did you mean resnet50"),
        (["analyze", "torchvision:resnet18", "--set", "nonsense=3"], "cannot build torchvision:resnet18: TypeError"),
        (["analyze", "torchvision:resnet18", "--set", "nonsense"], "--set 'nonsense' is not KEY=VALUE"),
        (["analyze", "torchvision:resnet18", "-i", "1x3x"], "'1x3x' is no shape: expected sizes with an x between them"),
        (["analyze", "torchvision:resnet18", "-i", "1x3:float31"], "names the dtype 'float31', which torch does not have"),
        (["analyze", "torchvision:resnet18", "-i", "99999999x99999999x99999999"], "elements, which no tensor can have"),
        (
            ["analyze", "torchvision:resnet18", "-i", "1x4x224x224"],
            "ResNet raised RuntimeError in conv1, on inputs (float32[1, 4, 224, 224])",
        ),
        (["analyze", "torchvision:resnet18", "-i", "image=1x3x2x2"], "torchvision:resnet18 has no input 'image'. Its inputs are: x."),
        (["analyze", "no.such.module:factory"], "names the module 'no.such.module', which cannot be found"),
        (["analyze", "nowhere/models.py:factory"], "there is no file nowhere/models.py"),
        (
            ["analyze", "FILE:missing"],
            "has no 'missing'. It has: tiny, with_inputs, broken, number, a_class, exits, Exits, Prints, Raises, Two",
        ),
        (["analyze", "FILE:broken"], "cannot build FILE:broken: ValueError: no such thing"),
        (["analyze", "FILE:number"], "returned an object of type int, where a torch.nn.Module is needed"),
        (["analyze", "FILE:a_class"], "returned the class Linear itself, where a torch.nn.Module is needed"),
        (["analyze", "FILE:exits"], "cannot build FILE:exits: SystemExit: 0"),
        (["analyze", "FILE:Exits", "-i", "1"], "Exits raised SystemExit in its own forward, on inputs (float32[1]): 0."),
        (["analyze", "EXITS:model"], "EXITS raised SystemExit: 0"),
        (["analyze", "FILE:Two", "-i", "image=1", "-i", "image=2"], "the input 'image' was given twice; give it once"),
        (["analyze", "FILE:Two", "-i", "1", "-i", "image=2"], "the input 'image' was given twice: by its name, and by its place"),
        (["analyze", "FILE:tiny"], "needs inputs (input); give their shapes, as in --input 1x3x224x224"),
        (["analyze", "FILE:Raises", "-i", "1"], "Raises raised RuntimeError in its own forward, on inputs (float32[1]): as it likes."),
        (["analyze", "FILE:Two", "-i", "imag=1"], "has no input 'imag'; did you mean 'image'? Its inputs are: image, mask."),
        (["analyze", "FILE:Two", "-i", "1", "-i", "2", "-i", "3"], "cannot be called with these inputs"),
        (["analyze", "FILE:tiny", "-i", "1x4", "-o", "/nonexistent/x.csv"], "cannot write /nonexistent/x.csv"),
        (["list", "torchvision", "zzz"], "no model of torchvision matches 'zzz'"),
        (["compare", "torchvision:alexnet", "timm:"], "'timm:' is no SPEC"),
    ],
)
def test_errors_are_one_clear_message(arguments: list[str], message: str, file: Path) -> None:
    places = {"FILE": str(file), "EXITS": str(file.with_name("exits.py"))}
    for name, place in places.items():
        arguments, message = [argument.replace(name, place) for argument in arguments], message.replace(name, place)
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert message in result.stderr.replace("\n", " ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", [("analyze", "FILE"), ("compare", "FILE"), ("doctor", "FILE"), ("sweep", "FILE", "--batch", "2,3")])
def test_what_a_model_prints_does_not_mix_with_the_result(command: tuple[str, ...], file: Path) -> None:
    result = run(*(part.replace("FILE", f"{file}:Prints") for part in command), "-i", "2x3", "--format", "json")
    assert result.exit_code == 0, result.output
    json.loads(result.stdout)
    assert {"built", "running"} <= set(result.stderr.splitlines())


def test_debug_shows_the_traceback() -> None:
    result = run("--debug", "analyze", "resnet50")
    assert result.exit_code == 1
    assert type(result.exception).__name__ == "SpecError"


def test_strict_exits_with_three(tmp_path: Path) -> None:
    path = tmp_path / "custom.py"
    path.write_text(
        "import torch\nlib = torch.library.Library('cli_test', 'DEF')\nlib.define('f(Tensor x) -> Tensor')\n"
        "lib.impl('f', lambda x: x * 2, 'CompositeExplicitAutograd')\ndef make():\n    return lambda x: torch.ops.cli_test.f(x)\n"
    )
    result = run("analyze", f"{path}:make", "-i", "2", "--strict")
    assert result.exit_code == 3
    assert "runs ops that no rule prices: cli_test::f in the model itself" in result.stderr


def test_help_and_import_load_no_torch() -> None:
    code = (
        "import sys, flopscope, flopscope.cli.main\n"
        "from click.testing import CliRunner\n"
        "assert CliRunner().invoke(flopscope.cli.main.main, ['analyze', '--help']).exit_code == 0\n"
        "assert not {'torch', 'numpy', 'rich', 'networkx', 'tabulate'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_python_dash_m() -> None:
    done = subprocess.run([sys.executable, "-m", "flopscope", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("flopscope, version ")
