"""``flopscope compare --with TABLE --plot FILE``: columns of a table, and pictures whose labels can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import flopscope
from flopscope.cli.main import main
from flopscope.errors import InputError, OptionError
from flopscope.report import Comparison, scatter
from flopscope.report.measured import read_measured
from flopscope.report.scatter import Dot, draw_models

MODELS = "from torch import nn\nimport torch\n\ndef wide(width=8):\n    return nn.Linear(4, width), torch.empty(2, 4)\n\ndef deep():\n    return nn.Linear(4, 16), torch.empty(2, 4)\n"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


@pytest.fixture
def specs(tmp_path: Path) -> list[str]:
    (tmp_path / "m.py").write_text(MODELS)
    return [f"{tmp_path}/m.py:wide", f"{tmp_path}/m.py:deep"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text("model,accuracy,paper,latency_ms,macs\nwide,71.5,He 2016,1.25,9\ndeep,80,,,8\n")
    return path


def test_columns_stand_behind_the_counts(specs: list[str], table: Path) -> None:
    rows = json.loads(run(*specs, "--with", table, "--format", "json").stdout)
    assert [row["accuracy"] for row in rows] == [71.5, 80]
    assert [row["latency_ms"] for row in rows] == [1.25, None]
    assert [row["macs"] for row in rows] == [2 * 4 * 8, 2 * 4 * 16]  # a column of the same name does not replace what was counted
    assert [row["measured_macs"] for row in rows] == [9, 8]
    assert "paper" not in rows[0]
    assert "71.5" in run(*specs, "--with", table).stdout
    assert run(*specs, "--with", table, "--format", "csv").stdout.splitlines()[0].endswith("accuracy,latency_ms,measured_macs")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture_is_drawn(suffix: str, specs: list[str], table: Path, tmp_path: Path) -> None:
    plot = tmp_path / f"out.{suffix}"
    result = run(*specs, "--with", table, "--plot", plot, "--x", "macs", "--y", "latency_ms")
    assert result.exit_code == 0, result.output
    assert f"wrote {plot}, without {specs[1]}: {table} has no number for them" in result.stderr
    assert plot.stat().st_size > 3000


def test_a_picture_without_a_table(specs: list[str], tmp_path: Path) -> None:
    assert run(*specs, "--plot", tmp_path / "a.png").exit_code == 0
    assert run(*specs, "--plot", tmp_path / "b.png", "--x", "params", "--y", "peak_bytes").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot", "out.gif"], "the name must end in .png, .svg or .pdf"),
        (["--plot", "out.png", "--y", "accuracy"], "--y 'accuracy' is no column: choose one of macs, flops, params"),
        (["--plot", "out.png", "--x", "speed", "--with", "TABLE"], "--x 'speed' is no column"),
        (["--with", "none.csv"], "cannot read none.csv: No such file or directory"),
        (["--plot", "/nonexistent/out.png"], "cannot write /nonexistent/out.png"),
    ],
)
def test_wrong_use(arguments: list[str], message: str, specs: list[str], table: Path) -> None:
    result = run(*specs, *(argument.replace("TABLE", str(table)) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert message in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "needs one column 'model'"),
        (b"name,accuracy\na,1\n", "its columns are: name, accuracy"),
        (b"model,model\na,1\n", "needs one column 'model'"),
        (b"model,a,a\nx,1,2\n", "names a column twice"),
        (b"model,a\nx,1\nx,2\n", "has two rows for 'x'"),
        (b"model,a\nx,1,2\n", "row 2 of .* has 3 cells, and the first row 2"),
        (b"model,a\nx,fast\n", "has no column of numbers beside 'model'"),
        (b"model,a\nx,nan\n", "has no column of numbers"),
        (b"\xff\xfe\x00,\x01", "is no CSV file"),
        (b'model,a\n"x,1\n', "is no CSV file"),
    ],
)
def test_tables_that_are_none(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_measured(path)


def test_nothing_to_draw_is_said(specs: list[str], tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("model,accuracy\nother,1\n")
    comparison = Comparison(dict(flopscope.compare({name: name for name in specs}).reports), read_measured(path))
    with pytest.raises(OptionError, match="no model has both macs and accuracy"):
        comparison.plot(tmp_path / "a.png", "macs", "accuracy")


@pytest.mark.parametrize("crowd", [1, 12, 60])
def test_no_label_covers_another_or_a_point(crowd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    save = scatter.save_picture
    monkeypatch.setattr(scatter, "save_picture", lambda figure, path: (drawn.append(figure), save(figure, path)))
    dots = [Dot(f"lib{i % 3}:model_{i}", f"lib{i % 3}", 10.0 ** (1 + i * 7 % 5) + i, float(i * i % 23), i == 0) for i in range(crowd)]
    draw_models(dots, "macs", "accuracy", tmp_path / "out.png")
    (figure,) = drawn
    (axes,) = figure.axes
    renderer = figure.canvas.get_renderer()
    notes = [text for text in axes.texts if "left out" not in text.get_text()]
    boxes = [scatter._box(note, renderer) for note in notes]
    assert not [1 for i, box in enumerate(boxes) for other in boxes[:i] if box.overlaps(other)]
    points = [axes.transData.transform((dot.x, dot.y)) for dot in dots]
    assert not [1 for box in boxes for point in points if box.contains(*point)]
    assert notes[0].get_text() == "≥ model_0"
    left_out = [text.get_text() for text in axes.texts if "left out" in text.get_text()]
    assert len(notes) == crowd or left_out == [f"{crowd - len(notes)} of {crowd} names left out for want of room"]
    if crowd > 1:  # a family has a marker of its own, too
        markers = {tuple(map(tuple, group.get_paths()[0].vertices)) for group in axes.collections}
        assert len(markers) == 3
