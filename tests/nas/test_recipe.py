"""Recipes: what the bundled ones say, how they build on each other, and what a bad one is told."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from nas.amounts import in_words, parse_budget, parse_number
from nas.errors import RecipeError
from nas.recipe import Recipe, load, names

K3 = {"0": 0.0, "1e5": 1e5, "5e5": 5e5, "1e6": 1e6, "5e6": 5e6}
CONSTRAINED = ["constrained", *(f"constrained-k3-{text}" for text in K3)]


def _file(folder: Path, text: str, name: str = "own.toml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", names())
def test_bundled_recipes_load_under_their_name(name: str) -> None:
    recipe = load(name)
    assert recipe.name == name
    assert recipe.source


@pytest.mark.parametrize("name", CONSTRAINED)
def test_constrained_recipes_have_the_settings_of_the_paper(name: str) -> None:
    search, objective = load(name).search, load(name).objective
    assert (search.order, search.epochs) == (2, 50)
    assert (search.weight_lr, search.momentum, search.weight_decay) == (0.025, 0.9, 3e-4)
    assert (search.alpha_lr, search.alpha_betas, search.alpha_weight_decay) == (3e-4, (0.5, 0.999), 1e-3)
    assert (objective.form, objective.of, objective.k1, objective.k2) == ("log_product", "cells", 1.0, 1.0)


@pytest.mark.parametrize(("text", "k3"), K3.items())
def test_the_five_k3_of_the_paper(text: str, k3: float) -> None:
    assert load(f"constrained-k3-{text}").objective.k3 == k3


def test_constrained_recipes_differ_in_k3_only() -> None:
    plain = load("constrained")
    for text, k3 in K3.items():
        assert load(f"constrained-k3-{text}") == load("constrained", [("name", f"constrained-k3-{text}"), ("k3", k3)])
    assert plain == load("constrained-k3-1e6", [("name", "constrained")])


def test_imagenet_trains_as_the_paper_does() -> None:
    recipe = load("imagenet")
    train, network = recipe.train, recipe.network
    assert (network.channels, network.layers, network.stem, network.size, network.classes) == (48, 14, "imagenet", 224, 1000)
    assert (train.epochs, train.batch_size, train.schedule, train.lr, train.decay) == (250, 128, "exponential", 0.1, 0.97)
    assert (train.weight_decay, train.label_smoothing, train.auxiliary, train.cutout) == (3e-5, 0.1, 0.4, 0)
    assert (train.crop_area, train.jitter) == (0.08, 0.4)


def test_first_order_differs_in_order_only() -> None:
    changes = [("order", 1), ("name", "constrained-first-order"), ("source", load("constrained-first-order").source)]
    assert load("constrained-first-order") == load("constrained", changes)


def test_no_settings_are_those_of_the_class(tmp_path: Path) -> None:
    assert load(_file(tmp_path, "")) == Recipe()


def test_extends_changes_only_what_is_said(tmp_path: Path) -> None:
    path = _file(tmp_path, 'extends = "constrained"\n[search]\nepochs = 3\n')
    assert load(path) == load("constrained", [("search.epochs", 3)])


def test_extends_a_file_that_extends(tmp_path: Path) -> None:
    base = _file(tmp_path, 'extends = "small"\nseed = 7\n', "base.toml")
    recipe = load(_file(tmp_path, f"extends = '{base}'\n[train]\nepochs = 2\n"))
    assert (recipe.seed, recipe.train.epochs, recipe.search.epochs) == (7, 2, load("small").search.epochs)


@pytest.mark.parametrize("name", names())
def test_to_toml_says_everything(name: str, tmp_path: Path) -> None:
    assert load(_file(tmp_path, load(name).to_toml())) == load(name)


def test_settings_come_after_the_file() -> None:
    recipe = load("small", [("search.epochs", 2), ("alpha_lr", 1), ("seed", 3), ("operations", "none, skip_connect")])
    assert (recipe.search.epochs, recipe.search.alpha_lr, recipe.seed) == (2, 1.0, 3)
    assert recipe.space.operations == ("none", "skip_connect")


@pytest.mark.parametrize(("value", "read"), [(2.0, 2), (2, 2)])
def test_a_whole_float_is_a_whole_number(value: float, read: int) -> None:
    assert load("small", [("search.epochs", value)]).search.epochs == read


BAD_SETTINGS: list[tuple[str, Any, str]] = [
    ("search.epoch", 3, "search.epoch'; did you mean 'epochs'"),
    ("serach.epochs", 3, "serach'; did you mean 'search'"),
    ("epoch", 3, "Close ones are: .*search.epochs"),
    ("epochs", 3, "which setting is 'epochs'.*search.epochs, train.epochs"),
    ("channels", 3, "space.channels, network.channels"),
    ("name.first", 3, "name must be text"),
    ("search.epochs", "many", "search.epochs must be a whole number, but is 'many'"),
    ("search.epochs", 1.5, "search.epochs must be a whole number"),
    ("search.epochs", True, "search.epochs must be a whole number"),
    ("search.weight_lr", "fast", "search.weight_lr must be a number"),
    ("search.augment", 1, "search.augment must be true or false"),
    ("data.name", 3, "data.name must be text"),
    ("space.operations", 3, "space.operations must be a list"),
    ("space.operations", [3], "space.operations must be text, but is 3"),
    ("search.alpha_betas", [0.5], "two numbers"),
    ("search.order", 3, "search.order must be 1 or 2, but is 3"),
    ("search.epochs", -1, "search.epochs must be above zero, but is -1"),
    ("search.epochs", 0, "search.epochs must be above zero"),
    ("search.batch_size", 1, "search.batch_size must be at least 2"),
    ("train.batch_size", 1, "train.batch_size must be at least 2, for batch normalisation, but is 1"),
    ("train.lr", float("nan"), "train.lr must be above zero"),
    ("search.weight_decay", -1.0, "search.weight_decay cannot be negative, but is -1.0"),
    ("objective.k3", -1.0, "objective.k3 cannot be negative"),
    ("seed", -1, "seed cannot be negative"),
    ("search.train_share", 1.0, "search.train_share must be a share between 0 and 1"),
    ("train.drop_path", -0.1, "train.drop_path must be a share"),
    ("train.label_smoothing", 1.5, "train.label_smoothing must be a share"),
    ("search.momentum", 1.0, "search.momentum must be a share"),
    ("search.gradient_clip", -1.0, "search.gradient_clip must be above zero, but is -1.0"),
    ("train.gradient_clip", 0.0, "train.gradient_clip must be above zero"),
    ("search.weight_lr_min", -5.0, "search.weight_lr_min cannot be negative"),
    ("search.weight_lr_min", 1.0, "search.weight_lr_min is 1.0 and search.weight_lr 0.05: the first cannot be above the second"),
    ("train.lr_min", 1.0, "train.lr_min is 1.0 and train.lr 0.05"),
    ("search.warmup_epochs", 8, "search.warmup_epochs is 8 and search.epochs 8, so that nothing would be searched"),
    ("train.schedule", "linear", "train.schedule must be 'cosine' or 'exponential', but is 'linear'"),
    ("train.decay", 0.0, "train.decay must be above 0 and at most 1"),
    ("train.crop_area", 1.5, "train.crop_area must be above 0 and at most 1"),
    ("train.jitter", 1.0, "train.jitter must be a share"),
    ("objective.k1", -1.0, "objective.k1 must be above zero"),
    ("objective.k2", 0.0, "objective.k2 must be above zero"),
    ("objective.reference", -5.0, "objective.reference cannot be negative"),
    ("objective.weight", -1.0, "objective.weight cannot be negative"),
    ("objective.exponent", 0.07, "objective.exponent must be below zero"),
    ("objective.rate", 0.0, "objective.rate must be above zero"),
    ("objective.form", "budget", "objective.of is 'cells': set objective.of=network"),
    ("objective.target", 10**400, "objective.target must be finite"),
    ("seed", 2**63, "seed must be below 2\\^63"),
    ("machine.threads", 10**12, "machine.threads can be 1,024 at most, but is 1,000,000,000,000"),
    ("space.channels", 10**12, "space.channels can be 65,536 at most"),
    ("data.size", 10**9, "data.size can be 8,192 at most"),
    ("network.classes", -1, "network.classes cannot be negative"),
]


@pytest.mark.parametrize(("key", "value", "says"), BAD_SETTINGS)
def test_bad_settings(key: str, value: Any, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        load("small", [(key, value)])


FLOATS = [
    f"{section}.{key}" for section, inner in Recipe().to_dict().items() if isinstance(inner, dict)
    for key, value in inner.items() if isinstance(value, float)
]  # fmt: skip


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("key", FLOATS)
def test_every_number_must_be_one(key: str, value: float) -> None:
    with pytest.raises(RecipeError, match=rf"^{key} "):
        load("small", [(key, value)])


BAD_FILES = [
    ("[search]\nepoch = 3\n", "search.epoch'; did you mean 'epochs'"),
    ("frobnicate = 3\n", "no setting 'frobnicate'; there are name, "),
    ("search = 3\n", "search must be a table of settings, but is 3"),
    ("[seed]\nof = 3\n", "seed must be a whole number"),
    ('extends = "small"\n[name]\nof = 3\n', "name must be text"),
    ('extends = "small"\nsearch = 3\n', "search must be a table"),
    ("extends = 3\n", "extends 3, which is no name of a recipe"),
    ('extends = "nowhere"\n', "there is no recipe 'nowhere'.*small"),
    ("[search\n", "is no TOML: .*line 1"),
]


@pytest.mark.parametrize(("text", "says"), BAD_FILES)
def test_bad_files(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=says):
        load(_file(tmp_path, text))


def test_a_setting_in_a_section_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="search must be a table"):
        load(_file(tmp_path, "search = 3\n"), [("search.epochs", 3)])


def test_a_recipe_that_extends_itself(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    with pytest.raises(RecipeError, match=r"extends itself: .*own.toml -> .*own.toml"):
        load(_file(tmp_path, f"extends = '{path}'\n"))


def test_two_recipes_that_extend_each_other(tmp_path: Path) -> None:
    first = _file(tmp_path, f"extends = '{tmp_path / 'second.toml'}'\n", "first.toml")
    _file(tmp_path, f"extends = '{first}'\n", "second.toml")
    with pytest.raises(RecipeError, match=r"first\.toml -> .*second\.toml -> .*first\.toml"):
        load(first)


@pytest.mark.parametrize("name", ["missing.toml", "folder.toml"])
def test_a_file_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(RecipeError, match=f"cannot read the recipe .*{name}"):
        load(str(tmp_path / name))


def test_a_file_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        load(str(tmp_path / "own.toml"))


@pytest.mark.parametrize("name", ["nowhere", "../recipes/small", ""])
def test_an_unknown_name_is_told_the_known_ones(name: str) -> None:
    with pytest.raises(RecipeError, match=r"Give the path of a \.toml file, or one of: constrained, .*small"):
        load(name)


@pytest.mark.parametrize(
    ("text", "number"), [("300M", 300e6), ("1.5G", 1.5e9), ("2k", 2e3), ("2K", 2e3), ("1T", 1e12), ("1e6", 1e6), ("25", 25.0), ("0.5", 0.5)]
)
def test_parse_number(text: str, number: float) -> None:
    assert parse_number(text, "a budget") == number


@pytest.mark.parametrize("text", ["", "M", "nonsense", "0", "0M", "-3M", "inf", "nan", "1e999", "3 apples", "3MM", "300m"])
def test_parse_number_of_none(text: str) -> None:
    with pytest.raises(RecipeError, match="a budget must be a number above zero, such as 300M"):
        parse_number(text, "a budget")


@pytest.mark.parametrize(
    ("text", "nanoseconds"), [("5ms", 5e6), ("1.5 ms", 1.5e6), ("250us", 250e3), ("80ns", 80.0), ("2s", 2e9), ("1e-3s", 1e6)]
)
def test_a_budget_of_latency_is_a_time(text: str, nanoseconds: float) -> None:
    assert parse_budget(text, "latency") == pytest.approx(nanoseconds, rel=1e-12)


@pytest.mark.parametrize("text", ["", "5", "ms", "0ms", "-1ms", "nanms", "infs", "5M", "5 hours", "1e999s"])
def test_a_budget_of_latency_that_is_no_time(text: str) -> None:
    with pytest.raises(RecipeError, match="must be a time above zero with its unit, such as 5ms"):
        parse_budget(text, "latency")


def test_other_budgets_are_numbers_and_costs_are_told_with_their_unit() -> None:
    assert parse_budget("300M", "macs") == 300e6
    assert in_words(5_408_256, "macs") == "5,408,256 macs"
    assert in_words(4_812_345, "latency") == "4.812 ms"
