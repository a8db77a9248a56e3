"""The command line of nas: what it lists and compares, and that what it cannot do is one message."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nas.cli.main import main
from nas.recipe import load, names

MODELS = ("mobilenet_v2:width=0.25", "shufflenet_v2:width=0.5")
COMMANDS = ("search", "derive", "train", "compare", "latency", "recipes")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


# -- what it says of itself -----------------------------------------------------------------------------------


def test_recipes_lists_every_recipe_and_its_source() -> None:
    result = _run("recipes")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == names()
    assert all(line.endswith(load(name).source) for line, name in zip(lines, names(), strict=True))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command: str) -> None:
    result = _run(command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {command}")


def test_help_lists_every_command() -> None:
    result = _run("-h")
    assert result.exit_code == 0
    assert all(f"\n  {command} " in result.stdout for command in COMMANDS)


def test_version() -> None:
    assert _run("--version").stdout.startswith("nas, version ")


# -- what it cannot do ----------------------------------------------------------------------------------------

SMALL = ("search", "small", "--set", "data.limit=32", "--set", "search.epochs=1")
BAD = [
    (("search",), "say which recipe"),
    (("search", "nowhere"), "there is no recipe 'nowhere'"),
    (("search", "missing.toml"), "cannot read the recipe missing.toml"),
    ((*SMALL, "--set", "epochs"), "--set 'epochs' is not KEY=VALUE"),
    ((*SMALL, "--set", "=3"), "which setting is ''"),
    ((*SMALL, "--set", "epochs=3"), "search.epochs, train.epochs"),
    ((*SMALL, "--set", "search.epoch=3"), "did you mean 'epochs'"),
    ((*SMALL, "--set", "search.epochs=many"), "search.epochs must be a whole number"),
    ((*SMALL, "--set", "name.first=3"), "name must be text"),
    ((*SMALL, "--set", "search.momentum=-1"), "search.momentum must be a share"),
    ((*SMALL, "--set", "train.momentum=-1"), "train.momentum must be a share"),
    ((*SMALL, "--set", "alpha_betas=[2, 3]"), "search.alpha_betas must be two numbers from 0 to below 1"),
    ((*SMALL, "--set", "space.nodes=0"), "a cell needs a node"),
    ((*SMALL, "--set", "space.operations=conv_9x9"), "there is no operation 'conv_9x9'"),
    ((*SMALL, "--set", "space.channels=3"), "an even number of channels"),
    ((*SMALL, "--set", "objective.form=foo"), "objective.form is 'foo'"),
    ((*SMALL, "--set", "objective.of=foo"), "objective.of must be 'cells' or 'supernet' or 'network', but is 'foo'"),
    ((*SMALL, "--set", "objective.metric=foo"), "there is no metric 'foo'"),
    ((*SMALL, "--set", "objective.table=missing.json"), "cannot read a latency table from missing.json"),
    ((*SMALL, "--set", "data.limit=1"), "leaves one part empty"),
    ((*SMALL, "--set", "data.limit=2"), "there is only 1 image to train with"),
    (
        (*SMALL, "--set", "search.cutout=8"),
        "can leave nothing of images of 8x8: make it smaller, or leave it out with --set search.cutout=0",
    ),
    ((*SMALL, "--set", "space.layers=2"), "have a normal cell, but the 2 of the supernet have none to search"),
    ((*SMALL, "--set", "machine.device=meta"), "machine.device is 'meta', which cannot be used here"),
    ((*SMALL, "--set", "machine.device=hpu"), "machine.device is 'hpu', which cannot be used here"),
    ((*SMALL, "--set", "objective.reference=1"), "objective.reference, which must be above 1, or 0 for e, but it is 1.0"),
    ((*SMALL, "--set", "objective.metric=latency"), "the metric latency needs a table of measured times"),
    ((*SMALL, "--data", "nothing"), "there is no data set 'nothing'"),
    ((*SMALL, "--budget", "nonsense"), "--budget 'nonsense' is not METRIC=NUMBER"),
    ((*SMALL, "--budget", "macs=x"), "a budget must be a number above zero"),
    ((*SMALL, "--budget", "foo=300M"), "there is no metric 'foo'"),
    ((*SMALL, "--budget", "macs=1"), "no architecture of the space costs"),
    ((*SMALL, "--budget", "latency=5"), "a time above zero with its unit, such as 5ms (ns, us, ms or s), but is '5'"),
    ((*SMALL, "--budget", "latency=5ms"), "the metric latency needs a table of measured times"),
    (("search", "--resume", "nowhere"), "nowhere holds no run"),
    (("search", "--resume", "nowhere", "--out", "other"), "so out cannot be given as well"),
    (("search", "small", "--resume", "nowhere", "--budget", "macs=1M"), "so recipe, budget cannot be given as well"),
    (("derive", "nowhere"), "nowhere holds no run"),
    (("train",), "say what to train"),
    (("train", "nowhere"), "'nowhere' names no network: expected one of mobilenet_v1"),
    (("train", "missing.json"), "cannot read a genotype from missing.json"),
    (("train", "mobilenet_v2:size=1"), "no option 'size=1'; there are width"),
    (("train", "mobilenet_v2:width"), "no option 'width'"),
    (("train", "mobilenet_v2:width=wide"), "'wide' is no value for width"),
    (("train", "mobilenet_v2:width='1'"), "cannot be built"),
    (("train", "mobilenet_v2:width=-1"), "give a number greater than zero"),
    (("train", "mobilenet_v2", "--recipe", "nowhere"), "there is no recipe 'nowhere'"),
    (("train", "mobilenet_v2", "--data", "nothing"), "there is no data set 'nothing'"),
    (("train", "mobilenet_v2", "--set", "lr"), "is not KEY=VALUE"),
    (("train", "--resume", "nowhere"), "nowhere holds no run"),
    (("train", "--resume", "nowhere", "--out", "other"), "so out cannot be given as well"),
    (("compare", "nowhere"), "'nowhere' names no network"),
    (("compare", "published:"), "'published:' names no network"),
    (("compare", "mobilenet_v2:channels_in=3", "--data", "digits"), "says channels_in, which the images decide"),
    (("compare", "mobilenet_v2", "--set", "lr"), "is not KEY=VALUE"),
    (("latency", "nowhere", "-o", "table.json"), "there is no recipe 'nowhere'"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_what_cannot_be_done_is_one_message_and_leaves_nothing(arguments: tuple[str, ...], says: str, folder: Path) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2, result.exception
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert not list(folder.iterdir())


def test_a_cutout_that_the_images_are_too_small_for(data: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("FLOPSCOPE_DATA", str(data))
    result = _run("train", "published:DARTS_V2", "--recipe", "darts-first-order", "--data", "digits")
    assert result.exit_code == 2, result.exception
    assert "leave it out with --set train.cutout=0" in result.stderr
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [("compare",), ("latency", "small"), ("latency", "small", "-o", "x", "--repeats", "0"), ("compare", "squeezenet", "--format", "x")],
)
def test_wrong_use_is_told_the_usage(arguments: tuple[str, ...]) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Usage: main {arguments[0]}")


def test_debug_shows_the_error_itself() -> None:
    assert type(_run("--debug", "train").exception).__name__ == "RecipeError"


# -- comparing ------------------------------------------------------------------------------------------------


def _compared(style: str, *more: str) -> str:
    result = _run("compare", *MODELS, "--data", "digits", "--format", style, *more)
    assert result.exit_code == 0, result.exception
    return result.stdout


@pytest.mark.parametrize(
    ("style", "mark"), [("table", "-----"), ("markdown", "| network"), ("latex", "\\toprule"), ("csv", "name,accuracy,")]
)
def test_compare_in_every_format(style: str, mark: str) -> None:
    text = _compared(style)
    assert mark in text
    for name in MODELS:
        assert name.replace("_", "\\_" if style == "latex" else "_") in text


def test_csv_has_numbers_in_full() -> None:
    rows = list(csv.DictReader(io.StringIO(_compared("csv"))))
    assert [row["name"] for row in rows] == list(MODELS)
    for row in rows:
        assert row["accuracy"] == ""
        assert all(int(row[column]) > 0 for column in ("params", "macs", "flops", "access"))
        assert float(row["milliseconds"]) > 0


def test_compare_writes_to_a_file(folder: Path) -> None:
    assert _compared("csv", "--output", "table.csv") == ""
    assert (folder / "table.csv").read_text().startswith("name,accuracy,params")


def test_compare_published_cells(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOPSCOPE_DATA", str(data))
    result = _run("compare", "published:DARTS_V2", "--data", "digits", "--format", "csv")
    assert result.exit_code == 0, result.exception
    assert "published:DARTS_V2,," in result.stdout
