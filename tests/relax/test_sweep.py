"""``flopscope sweep``: what it prints and draws, and how it fails."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from flopscope.cli.main import main
from flopscope.cli.sweep import parse_sizes
from flopscope.errors import OptionError

MODELS = """
import torch
from torch import nn

def net():
    return nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), torch.empty(1, 3, 32, 32)

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(50, 4), nn.Linear(4, 4, bias=False)

    def forward(self, ids):
        if ids.shape[1] > 64:
            raise ValueError("too long")
        x = self.out(self.table(ids))
        return x @ x.transpose(1, 2)

def tokens():
    return Tokens(), torch.zeros(1, 16, dtype=torch.int64)

class Both(nn.Module):
    def forward(self, image, ids):
        return image * 2, ids * 2

def both():
    return Both(), torch.empty(1, 3, 8, 8), torch.zeros(1, 16, dtype=torch.int64)

def partial():
    return lambda x: torch.ops.sweep_test.f(x) + 1, torch.empty(1, 8)

def picky():
    def model(x):
        if x.shape[0] == 1000003:
            raise ValueError("not this one")
        return x * 2
    return model, torch.empty(1, 8)
"""


LIBRARY = torch.library.Library("sweep_test", "FRAGMENT")
LIBRARY.define("f(Tensor x) -> Tensor")
LIBRARY.impl("f", lambda x: x * 2, "CompositeExplicitAutograd")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "models.py"
    path.write_text(MODELS)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["sweep", *map(str, arguments)])


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("7", [7]),
        ("1,8,64", [1, 8, 64]),
        (" 8 , 1,8", [1, 8]),
        ("128..1024", [128, 256, 512, 1024]),
        ("3..20", [3, 6, 12, 20]),
        ("5..5", [5]),
        ("128..224+32", [128, 160, 192, 224]),
        ("1..6+2", [1, 3, 5]),
        ("1,4..16,5..6+1", [1, 4, 5, 6, 8, 16]),
    ],
)
def test_lists_of_sizes(text: str, sizes: list[int]) -> None:
    assert parse_sizes(text, "--batch") == sizes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it names no size"),
        (" ", "it names no size"),
        ("0", "'0' has a zero"),
        ("-1", "'-1' is no positive number and no range"),
        ("a", "'a' is no positive number"),
        ("1.5", "'1.5' is no positive number"),
        ("1,,2", "'' is no positive number"),
        ("1..2..3", "'1..2..3' is no positive number"),
        ("8..1", "'8..1' runs backwards"),
        ("1..9+0", "'1..9+0' has a zero"),
        ("1..10001+1", "more than 10,000 sizes"),
        ("1..99999999999999999999+1", "more than 10,000 sizes"),
    ],
)
def test_lists_that_are_none(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)) as caught:
        parse_sizes(text, "--batch")
    assert str(caught.value).startswith(f"--batch {text!r}: ")


def test_one_symbol_makes_rows(file: Path) -> None:
    result = run(f"{file}:net", "--resolution", "30..34+2", "--exact")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"{file}:net"
    assert lines[1] == "MACs(R) = 216*ceil(R/2)**2"
    assert [line.split() for line in lines[5:8]] == [[str(r), f"{216 * (r // 2) ** 2:,}"] for r in (30, 32, 34)]
    assert lines[-1].startswith("note: checked against the analyzer at")


def test_two_symbols_make_a_matrix_with_the_longer_one_downwards(file: Path) -> None:
    result = run(f"{file}:tokens", "--batch", "1,8", "--seq", "16..64", "--exact")
    assert result.exit_code == 0, result.output
    lines = [line.split("  ") for line in result.stdout.splitlines()]
    assert lines[1] == ["MACs(B, S) = 4*B*S*(S + 4)"]
    table = [[cell.strip() for cell in line if cell] for line in lines[3:]]
    assert table[0] == ["MACs", "B = 1", "B = 8"]
    assert table[2:5] == [[f"S = {s}", f"{4 * s * (s + 4):,}", f"{32 * s * (s + 4):,}"] for s in (16, 32, 64)]
    assert "note: the formula holds where S <= 64" in result.stdout


def test_three_symbols_make_long_rows(file: Path) -> None:
    result = run(f"{file}:both", "--batch", "1,2", "--seq", "4,5", "--resolution", "8,9", "--metric", "flops", "--format", "csv")
    assert result.exit_code == 0, result.output
    rows = [line.split(",") for line in result.stdout.splitlines()]
    assert rows[0] == ["B", "S", "R", "flops"]
    assert rows[1:] == [[str(b), str(s), str(r), str(b * (3 * r * r + s))] for b in (1, 2) for s in (4, 5) for r in (8, 9)]


def test_json_has_everything(file: Path) -> None:
    found = json.loads(run(f"{file}:tokens", "--seq", "8,16", "--format", "json").stdout)
    assert found["formula"] == "4*S**2 + 16*S"
    assert found["conditions"] == ["S <= 64"]
    assert found["complete"] is True
    assert found["rows"] == [{"S": 8, "macs": 384}, {"S": 16, "macs": 1280}]


def test_markdown_and_latex(file: Path) -> None:
    markdown = run(f"{file}:net", "--batch", "2", "--resolution", "32,64", "--format", "markdown").stdout
    assert "`MACs(B, R) = 216*B*ceil(R/2)**2`" in markdown
    assert "| R" in markdown
    assert markdown.startswith(f"{file}:net at B = 2\n")
    latex = run(f"{file}:net", "--resolution", "32,64", "--format", "latex").stdout
    assert "\\toprule" in latex
    assert all(line.startswith(("%", "\\", " ")) or not line for line in latex.splitlines())


def test_bytes_have_a_unit_and_a_lower_bound_a_sign(file: Path) -> None:
    assert "kB" in run(f"{file}:net", "--resolution", "64", "--metric", "access_bytes").stdout
    result = run(f"{file}:partial", "--batch", "1,2", "--metric", "flops")
    assert "FLOPs(B) = at least 8*B" in result.stdout
    assert "≥ 16" in result.stdout
    assert "NOT COUNTED, because no rule prices them: sweep_test::f" in result.stdout


def test_output_to_a_file(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep.csv"
    result = run(f"{file}:net", "--batch", "1..4", "--format", "csv", "-o", out)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert out.read_text().splitlines() == ["B,macs", "1,55296", "2,110592", "4,221184"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net"], "give sizes to sweep over with --batch, --seq, --resolution or --width"),
        (["net", "--batch", "0"], "--batch '0': '0' has a zero"),
        (["net", "--batch", "1..200+1", "--resolution", "32..300+1"], "53,800 points were asked for, and 10,000 are the most"),
        (["net", "--seq", "8"], "has no sequence input: none of its inputs is a tensor of integers"),
        (["tokens", "--resolution", "8"], "has no image input: none of its inputs is a floating-point tensor with four dimensions"),
        (["tokens", "--seq", "16..128"], "S = 128 is outside the sizes for which this form holds: S <= 64"),
        (["picky", "--batch", "1,1000003"], "the model refuses B = 1000003: function raised ValueError"),
        (["net", "--batch", "99999999999999999999"], "the model refuses B = 99999999999999999999: an input of"),
        (["net", "--batch", "1", "--plot", "x.jpg"], "--plot x.jpg: the name must end in .png, .svg or .pdf"),
        (["net", "--batch", "1", "--plot", "/nonexistent/x.png"], "cannot write /nonexistent/x.png"),
        (["net", "--batch", "1", "-o", "/nonexistent/x.csv"], "cannot write /nonexistent/x.csv"),
        (["nothing", "--batch", "1"], "has no 'nothing'"),
    ],
)
def test_errors_are_one_clear_message(arguments: list[str], message: str, file: Path) -> None:
    result = run(f"{file}:{arguments[0]}", *arguments[1:])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert message in result.stderr.replace("model raised", "function raised").replace("\n", " ")
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
@pytest.mark.parametrize("sizes", [["--batch", "1,8,64", "--seq", "4..64"], ["--seq", "8..64+1"], ["--batch", "1..16", "--seq", "4..60+1"]])
def test_plots(suffix: str, sizes: list[str], file: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"plot.{suffix}"
    result = run(f"{file}:tokens", *sizes, "--plot", path)
    assert result.exit_code == 0, result.output
    assert f"wrote {path}" in result.stderr
    assert path.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])


def test_a_plot_without_matplotlib_says_what_to_install(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run(f"{file}:net", "--batch", "1", "--plot", "x.png")
    assert result.exit_code == 2
    assert "a plot needs matplotlib, which is not installed: pip install matplotlib" in result.stderr


def test_a_published_model(tmp_path: Path) -> None:
    result = run("torchvision:mobilenet_v2", "--resolution", "224", "--exact")
    assert result.exit_code == 0
    assert "300,774,272" in result.stdout


def test_widths_of_a_layer(file: Path, tmp_path: Path) -> None:
    chain = tmp_path / "chain.py"
    chain.write_text(
        "import torch\nfrom torch import nn\n\ndef net():\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.ReLU(), nn.Conv2d(8, 4, 1, bias=False)), torch.empty(1, 3, 5, 5)\n"
    )
    result = run(f"{chain}:net", "--width", "0=4,6,100", "--batch", "1,2", "--format", "csv", "--plot", tmp_path / "out.png")
    assert result.exit_code == 0, result.output
    rows = [tuple(map(int, line.split(","))) for line in result.stdout.splitlines()[1:]]
    assert rows == [(b, w, b * 25 * (3 * w + w * 4)) for b in (1, 2) for w in (4, 6, 100)]
    for text, message in (("0", "is not LAYER=SIZES"), ("9=4", "no layer '9' has weights"), ("0=0", "'0' has a zero")):
        failed = run(f"{chain}:net", "--width", text)
        assert failed.exit_code == 2
        assert message in failed.stderr
    twice = run(f"{chain}:net", "--width", "0=4", "--width", "0=8")
    assert "--width gives '0' twice" in twice.stderr
