"""Run folders by the command line: from a search to a table, and what is said of a folder that something happened to."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from click.testing import CliRunner

import flopscope
from nas.cli.main import main
from nas.data import load
from nas.genotype import Genotype
from nas.recipe import load as load_recipe
from nas.runs import FILES, Run
from nas.searching import Search, network_shape, recorded_weights
from nas.spaces.darts.network import CellNetwork

SETTINGS = (
    "data.limit=64", "space.nodes=2", "space.channels=2", "space.layers=3", "network.layers=3", "network.channels=4", "search.epochs=1",
    "train.epochs=1",
)  # fmt: skip
TINY = [part for setting in SETTINGS for part in ("--set", setting)]
MODEL = "shufflenet_v2:width=0.5"
OTHER = Genotype((("max_pool_3x3", 0), ("skip_connect", 1)), (2,), (("max_pool_3x3", 0), ("skip_connect", 1)), (2,))


def _run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout


def _refused(*arguments: str | Path) -> str:
    """The one line that a command which cannot be done says."""
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 2, result.exception
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a search ``s``, trainings ``t`` and, on larger images, ``t16`` of what it found, and one ``m`` of a model."""
    folder = tmp_path_factory.mktemp("made")
    _run("search", "small", *TINY, "--out", folder / "s")
    _run("train", folder / "s", "--out", folder / "t")
    _run("train", folder / "s", "--set", "data.size=16", "--out", folder / "t16")
    _run("train", MODEL, *TINY, "--out", folder / "m")
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes copies of those runs in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def make(name: str) -> Path:
        return Path(shutil.copytree(made / name, tmp_path / name))

    return make


# -- from a search to a table ---------------------------------------------------------------------------------


def _rows(*arguments: str | Path) -> dict[str, dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(_run("compare", *arguments, "--format", "csv"))))
    assert len(rows) == len([argument for argument in arguments if isinstance(argument, Path)])
    return {f"{row['images']}{bool(row['accuracy'])}": row for row in rows}


def test_each_run_is_counted_on_its_own_images(made: Path) -> None:
    genotype = Genotype.load(made / "s/genotype.json")
    shape = network_shape(load_recipe("small", [("network.layers", 3), ("network.channels", 4)]))
    network = CellNetwork(genotype, shape, 10, 1).eval()
    for order in (("t", "t16", "s"), ("t16", "s", "t")):
        rows = _rows(*(made / name for name in order))
        for side in (8, 16):
            row = rows[f"digits 1x{side}x{side}, 10 classesTrue"]
            assert int(row["macs"]) == flopscope.analyze(network, f"1x1x{side}x{side}").total.macs
            trained = made / ("t" if side == 8 else "t16")
            result = json.loads((trained / "result.json").read_text())
            assert {key: float(row[key]) for key in ("params", "macs", "flops", "access")} == {
                key: value for key, value in result.items() if key != "test_accuracy"
            }
            assert float(row["accuracy"]) == result["test_accuracy"]
        assert rows["digits 1x8x8, 10 classesFalse"]["macs"] == rows["digits 1x8x8, 10 classesTrue"]["macs"]


def test_the_table_names_the_images_where_they_differ(made: Path) -> None:
    assert "digits" not in _run("compare", made / "t", MODEL)
    table = _run("compare", made / "t", made / "t16", MODEL)
    assert [line.split("digits ")[-1] for line in table.splitlines()[2:]] == [
        f"{size}, 10 classes" for size in ("1x8x8", "1x16x16", "1x8x8")
    ]


def test_settings_of_compare_are_of_the_networks_by_name(made: Path) -> None:
    table = _run("compare", made / "t", MODEL, "--set", "data.size=12")
    assert [line.split("digits ")[-1] for line in table.splitlines()[2:]] == ["1x8x8, 10 classes", "1x12x12, 10 classes"]
    for option in (("--set", "data.size=12"), ("--recipe", "small"), ("--data", "digits"), ("--root", "x")):
        assert f"{option[0]} would change nothing" in _refused("compare", made / "t", made / "t16", *option)


def test_a_genotype_file_is_trained_under_the_name_of_its_folder(copy: Callable[[str], Path], tmp_path: Path) -> None:
    copy("s")
    assert _run("train", "s/genotype.json", *TINY).startswith("s: test accuracy")
    assert _run("derive", "s", "-o", "found.json").startswith("normal cell")
    assert _run("train", "found.json", *TINY).startswith("found: test accuracy")
    for name in ("train-s", "train-found"):
        assert Genotype.load(tmp_path / "runs" / name / "genotype.json") == Genotype.load(tmp_path / "s/genotype.json")


def test_a_folder_whose_name_ends_like_a_file(copy: Callable[[str], Path]) -> None:
    copy("s").rename("s.json")
    assert _run("train", "s.json", *TINY, "--out", "t.json").startswith("s: test accuracy")
    assert "s,0." in _run("compare", "t.json", "--format", "csv")


def test_a_network_for_other_images_than_those_of_the_search(copy: Callable[[str], Path]) -> None:
    """The search has 8x8 images, the network that it is for 16x16 of 12 classes; a training has those of its data, and so have names."""
    sized = (*TINY, "--set", "network.size=16", "--set", "network.classes=12", "--set", "search.epochs=2", "--set", "warmup_epochs=1")
    _run("search", "small", *sized, "--out", "wide")
    assert "| 1       | " in (report := Path("wide/report.md").read_text())
    assert "| -  " in report
    cost = int(_run("derive", "wide").splitlines()[-1].split()[0].replace(",", ""))
    _run("train", "wide", "--out", "trained")
    _run("train", "--resume", "trained")
    assert Run(Path("trained")).images().shape == (1, 16, 16)
    by_name = {first: list(csv.DictReader(io.StringIO(_run("compare", first, MODEL, "--format", "csv")))) for first in ("wide", "trained")}
    assert [row["images"] for row in by_name["wide"]] == 2 * ["1x16x16, 12 classes"]
    assert [row["images"] for row in by_name["trained"]] == 2 * ["digits 1x16x16, 10 classes"]
    assert int(by_name["wide"][0]["flops"]) == cost
    named = csv.DictReader(io.StringIO(_run("compare", MODEL, *sized, "--format", "csv")))
    assert [row["images"] for row in named] == ["1x16x16, 12 classes"]


def test_a_training_says_what_the_network_costs(made: Path) -> None:
    result = json.loads((made / "t/result.json").read_text())
    report = (made / "t/report.md").read_text()
    assert all(f"{result[key]:,}" in report for key in ("params", "macs", "flops", "access"))
    assert f"{result['test_accuracy']:.2%}" in report
    assert all((made / "t" / name).stat().st_size > 0 for name in ("history.png", "cells.png"))
    assert not (made / "m/cells.png").exists()
    printed = _run("train", "--resume", made / "t")
    assert f"{result['params']:,} params, {result['macs']:,} MACs, {result['flops']:,} FLOPs, {result['access']:,} access" in printed


def test_a_model_is_trained_again_from_the_folder_of_its_training(copy: Callable[[str], Path]) -> None:
    copy("m")
    _run("train", "m", "--out", "again")
    assert _run("train", "--resume", "again").startswith("m: test accuracy")
    assert Run(Path("again")).network() == MODEL


def test_derive_finds_what_the_search_found(made: Path) -> None:
    assert _run("derive", made / "s").startswith(f"{Genotype.load(made / 's/genotype.json')}\n")
    run = Run(made / "s")
    search, state = Search(run, run.recipe(), load("digits")), run.load_checkpoint(torch.device("cpu"))
    assert state is not None
    search.restore(state)
    recorded = recorded_weights(run, search.space)
    assert all(torch.equal(recorded[level], table) for level, table in search.weights().items())


def test_derive_keeps_the_budget_of_the_run(copy: Callable[[str], Path]) -> None:
    folder = copy("s")
    free = _run("derive", folder)
    settings = [("form", "budget"), ("metric", "macs"), ("of", "network"), ("target", 40000.0)]
    (folder / "recipe.toml").write_text(
        load_recipe(str(folder / "recipe.toml"), [(f"objective.{key}", value) for key, value in settings]).to_toml()
    )
    kept = _run("derive", folder)
    assert 39200 <= int(kept.splitlines()[-1].split()[0].replace(",", "")) <= 40000
    assert kept != free
    assert kept == _run("derive", folder, "--budget", "macs=40k")
    assert kept != _run("derive", folder, "--budget", "macs=50k")


@pytest.mark.parametrize("option", ["classes=5", "channels_in=3"])
def test_what_the_images_decide_is_no_option(option: str, copy: Callable[[str], Path], tmp_path: Path) -> None:
    assert f"says {option.split('=')[0]}, which the images decide" in _refused("train", f"mobilenet_v2:{option},width=0.25", *TINY)
    assert not list(tmp_path.iterdir())


# -- where a run begins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in FILES if name != "recipe.toml"])
def test_no_run_begins_beside_the_files_of_another(name: str, copy: Callable[[str], Path], made: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    shutil.copy(made / "t" / name, tmp_path / "new")
    for command in (("search", "small"), ("train", MODEL)):
        assert f"new holds no whole run, but {name}" in _refused(*command, *TINY, "--out", "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_a_training_goes_on_with_the_network_that_it_began_with(copy: Callable[[str], Path]) -> None:
    OTHER.save(copy("m") / "genotype.json")
    assert _run("train", "--resume", "m").startswith(f"{MODEL}: test accuracy")


class Killed(BaseException):
    """Stands for a kill."""


@pytest.mark.parametrize("fatal", ["environment.json", "run.json", "genotype.json", "recipe.toml"])
def test_a_kill_while_a_run_begins(fatal: str, copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, made: Path) -> None:
    write = Run.write

    def dies(self: Run, name: str, *given: Any) -> None:
        if name == fatal:
            raise Killed
        write(self, name, *given)

    command = ("train", made / "s", *TINY, "--out", "new")
    with monkeypatch.context() as patch:
        patch.setattr(Run, "write", dies)
        with pytest.raises(Killed):
            CliRunner().invoke(main, list(map(str, command)))
    assert "holds no run" in _refused("train", "--resume", "new")
    left = [path.name for path in Path("new").iterdir()]
    if left:
        assert "Remove what is not needed, or give another folder" in _refused(*command)
        for name in left:
            (Path("new") / name).unlink()
    _run(*command)
    assert Run(Path("new")).network() == Genotype.load(made / "s/genotype.json")


# -- the images of a run --------------------------------------------------------------------------------------


def _images(path: Path, seed: int) -> None:
    draw = numpy.random.default_rng(seed)
    images = {f"x_{part}": draw.integers(0, 256, (20, 8, 8), dtype=numpy.uint8) for part in ("train", "test")}
    numpy.savez(path, **images, y_train=numpy.arange(20) % 2, y_test=numpy.arange(20) % 2)


def test_a_run_goes_on_with_its_own_images_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _images(tmp_path / "d.npz", 1)
    _run("train", MODEL, *TINY, "--data", "d.npz", "--out", "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resume = ("train", "--resume", "../run")
    _run(*resume)
    (tmp_path / "d.npz").rename(tmp_path / "moved.npz")
    assert "there is no data set" in _refused(*resume)
    _run(*resume, "--root", "../moved.npz")
    _images(tmp_path / "d.npz", 2)
    said = _refused(*resume)
    assert "began with d 1x8x8, 2 classes (sha256 " in said
    assert f"{tmp_path}/d.npz now holds d 1x8x8, 2 classes (sha256 " in said


def test_a_search_goes_on_with_its_own_images_only(copy: Callable[[str], Path]) -> None:
    path = copy("s") / "environment.json"
    path.write_text(path.read_text().replace('"sha256": "', '"sha256": "0'))
    assert "s began with digits 1x8x8, 10 classes (sha256 0" in _refused("search", "--resume", "s")


def test_derive_needs_no_images(copy: Callable[[str], Path]) -> None:
    path = copy("s") / "recipe.toml"
    before = _run("derive", "s")
    path.write_text(path.read_text().replace('name = "digits"', 'name = "gone.npz"'))
    assert _run("derive", "s") == before


# -- what happened to a folder --------------------------------------------------------------------------------


def _edit(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


SEARCH, TRAIN, DERIVE, COMPARE = ("search", "--resume"), ("train", "--resume"), ("derive",), ("compare",)
DAMAGE: list[tuple[tuple[str, ...], str, str, Any, str]] = [
    (SEARCH, "s", "run.json", "{}", "'kind' is missing, and must be a text"),
    (SEARCH, "s", "run.json", "[]", "run.json must be a table, but is []"),
    (SEARCH, "s", "run.json", "[" * 100_000, "cannot read"),
    (SEARCH, "s", "run.json", None, "cannot read"),
    (TRAIN, "m", "run.json", '{"kind": "train"}', "'network' is missing, and must be a text"),
    (COMPARE, "m", "run.json", '{"kind": "train", "network": 3}', "'network' is 3, and must be a text"),
    (COMPARE, "t", "result.json", "{}", "'test_accuracy' is missing, and must be a number"),
    (COMPARE, "t", "result.json", None, "is not finished; resume it with: python -m nas train --resume"),
    (COMPARE, "t", "genotype.json", "{}", "holds no genotype"),
    (COMPARE, "t", "environment.json", "{}", "must be a table, but is None"),
    (COMPARE, "s", "genotype.json", None, "has no genotype yet; resume it with: python -m nas search --resume"),
    (("train",), "s", "genotype.json", None, "has no genotype yet; resume it with: python -m nas search --resume"),
    (TRAIN, "t", "environment.json", _edit('"classes": 10', '"classes": 0'), "and 0 classes are none"),
    (SEARCH, "s", "environment.json", _edit("1,", '"1",'), "are none"),
    (SEARCH, "s", "environment.json", None, "cannot read"),
    (SEARCH, "s", "events.jsonl", None, "is of 1 whole epochs, but"),
    (SEARCH, "s", "events.jsonl", "[1]\n", "line 1 of"),
    (SEARCH, "s", "events.jsonl", "[1]", "must be a table, but is [1]"),
    (SEARCH, "s", "events.jsonl", "{}\n", "'epoch' is missing, and must be a whole number"),
    (SEARCH, "s", "events.jsonl", "nonsense\n", "is no JSON"),
    (SEARCH, "s", "events.jsonl", '{"epoch": 0}\n', "is missing"),
    (SEARCH, "s", "events.jsonl", b"\xff\n", "cannot read"),
    (SEARCH, "s", "events.jsonl", b"\xff", "cannot read"),
    (SEARCH, "s", "events.jsonl", _edit('"valid_accuracy": ', '"other": '), "'valid_accuracy' is missing, and must be a number"),
    (SEARCH, "s", "events.jsonl", _edit('"reduce": ', '"other": '), "cannot be read ('reduce')"),
    (TRAIN, "t", "events.jsonl", '{"epoch": 0}\n', "is missing"),
    (DERIVE, "s", "events.jsonl", "", "has not finished an epoch yet"),
    (DERIVE, "s", "events.jsonl", b"\xff", "cannot read"),
    (DERIVE, "s", "events.jsonl", '{"epoch": 0, "weights": {}}\n', "cannot be read ('normal')"),
    (DERIVE, "s", "events.jsonl", '{"epoch": 0, "weights": {"normal": [[1], []], "reduce": []}}\n', "cannot be read"),
    (DERIVE, "s", "recipe.toml", _edit("nodes = 2", "nodes = 3"), "are not of 9 edges with"),
    (SEARCH, "s", "recipe.toml", _edit("channels = 2", "channels = 4"), "does not fit the recipe"),
    (TRAIN, "t", "recipe.toml", _edit("channels = 4", "channels = 6"), "does not fit the recipe"),
    (TRAIN, "t", "checkpoint.pt", b"nonsense", "Remove it to begin again"),
    (TRAIN, "t", "checkpoint.pt", [1], "must be a table, but is [1]"),
    (TRAIN, "t", "checkpoint.pt", {"weights": 1}, "'epoch' is missing, and must be a whole number"),
    (TRAIN, "t", "checkpoint.pt", {"epoch": 1, "step": 0, "sums": torch.zeros(3)}, "does not fit the recipe"),
    (TRAIN, "t", "checkpoint.pt", {"epoch": 1, "step": 0, "sums": torch.zeros(4), "network": {}}, "does not fit the recipe"),
    (TRAIN, "t", "checkpoint.pt", {"epoch": 1, "step": 0, "sums": torch.zeros(3), "network": []}, "does not fit the recipe"),
]


@pytest.mark.parametrize(
    ("command", "name", "file", "change", "says"),
    DAMAGE,
    ids=[f"{command[0]} {name}/{file}: {says}" for command, name, file, _, says in DAMAGE],
)
def test_what_happened_to_a_folder_is_said(
    command: tuple[str, ...], name: str, file: str, change: Any, says: str, copy: Callable[[str], Path]
) -> None:
    path = copy(name) / file
    if change is None:
        path.unlink()
    elif callable(change):
        path.write_text(change(path.read_text()))
    elif file == "checkpoint.pt" and not isinstance(change, bytes):
        torch.save(change, path)
    else:
        path.write_bytes(change if isinstance(change, bytes) else change.encode())
    said = _refused(*command, name)
    assert says in said
    assert str(path) in said or path.parent.name in said


def test_what_a_kill_left_of_a_line_is_no_damage(copy: Callable[[str], Path]) -> None:
    with (copy("s") / "events.jsonl").open("a") as file:
        file.write('{"epoch": 1, "tr')
    _run("search", "--resume", "s")
    assert len(Run(Path("s")).events()) == 1


# -- what diverges --------------------------------------------------------------------------------------------

HUGE = {
    "search": ("--set", "search.weight_lr=1e30", "--set", "search.gradient_clip=1e30", "--set", "search.epochs=2"),
    "train": ("--set", "train.lr=1e30", "--set", "train.epochs=2"),
}


def test_a_search_that_diverges_is_no_success(copy: Callable[[str], Path]) -> None:
    said = _refused("search", "small", *TINY, *HUGE["search"], "--out", "new")
    assert "after epoch 2 train_loss is nan" in said
    assert "Lower search.weight_lr" in said
    assert len(Run(Path("new")).events()) == 1
    assert not (Path("new") / "genotype.json").exists()


@pytest.mark.parametrize(("epochs", "says"), [(2, "after epoch 2 train_loss is nan"), (1, "what the network says of the test images")])
def test_a_training_that_diverges_is_no_success(epochs: int, says: str, made: Path, copy: Callable[[str], Path]) -> None:
    said = _refused("train", made / "s", *HUGE["train"], "--set", f"train.epochs={epochs}", "--out", "new")
    assert says in said
    assert "Lower train.lr" in said
    assert not (Path("new") / "result.json").exists()


# -- what the report says of a target -------------------------------------------------------------------------


def test_the_report_of_a_search_with_a_target(tmp_path: Path) -> None:
    settings = ("objective.form=absolute", "objective.target=90000", "objective.weight=1", "objective.of=supernet")
    _run("search", "small", *TINY, *(part for setting in settings for part in ("--set", setting)), "--out", tmp_path / "run")
    expected = Run(tmp_path / "run").events()[-1]["moved_by_cost"]
    report = (tmp_path / "run/report.md").read_text()
    assert (
        f"target is 90,000 flops of the supernet, whose expected cost was {expected:,.0f} flops at the end, {expected / 90000:.1%} of it."
        in report
    )
    assert "budget" not in report
