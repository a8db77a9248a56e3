"""A search as its recipe says: what it prices, what it tells of its warm-up, and when it computes a cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import flopscope
from nas.data import load
from nas.genotype import published
from nas.recipe import ObjectiveSettings
from nas.recipe import load as load_recipe
from nas.report.markdown import _budget_words, _target_words, write_search_report
from nas.runs import Run
from nas.searching import Costs, Search, network_input, space_of
from nas.spaces.darts.cost import CellCost

TINY: list[tuple[str, Any]] = [
    ("data.limit", 64), ("space.nodes", 2), ("space.channels", 2), ("space.layers", 3), ("network.layers", 3), ("network.channels", 4),
    ("space.operations", "none,skip_connect,max_pool_3x3"), ("search.epochs", 2),
]  # fmt: skip


def test_the_network_is_priced_on_its_own_images_and_classes() -> None:
    recipe = load_recipe("small", [*TINY, ("network.size", 20), ("network.classes", 30)])
    space, digits = space_of(recipe), load("digits")
    costs = Costs.of(recipe, space, digits)
    assert network_input(recipe, digits.shape, 10) == ((1, 20, 20), 30)
    genotype = space.derive(space.supernet(digits.shape, 10).weights())
    counted = flopscope.analyze(space.network(genotype, (1, 20, 20), 30).eval(), "1x1x20x20").total.flops
    assert costs.network.of(genotype) == counted
    assert costs.moved_by.constant == 0  # the cells of the supernet see the images of the search
    assert network_input(load_recipe("small"), digits.shape, 10) == ((1, 8, 8), 10)


def test_the_network_of_the_imagenet_recipe_costs_what_is_published(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOPSCOPE_DATA", str(data))
    genotype = published("DARTS_V2")["DARTS_V2"]
    names = sorted({name for name, _ in (*genotype.normal, *genotype.reduce)})  # fewer candidates are traced faster
    recipe = load_recipe("imagenet", [("space.operations", names)])
    cost = space_of(recipe).network_cost("macs", *network_input(recipe, (3, 32, 32), 10))
    assert cost.of(genotype) == 529_911_552


def test_epochs_of_warm_up_have_no_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, digits = load_recipe("small", [*TINY, ("search.warmup_epochs", 1)]), load("digits")
    run = Run.create(tmp_path / "run", "search", recipe, digits, {})
    search = Search(run, recipe, digits)
    search.finish()
    warm, searched = run.events()
    assert not {"valid_loss", "valid_accuracy"} & set(warm)
    assert {"valid_loss", "valid_accuracy", "train_loss", "train_accuracy"} <= set(searched)
    assert warm["train_loss"] > 0
    drawn: list[int] = []
    monkeypatch.setattr("nas.report.markdown.draw_history", lambda epochs, _: drawn.extend(epoch["epoch"] for epoch in epochs))
    write_search_report(run, search.space)
    rows = [line.split("|")[1:] for line in (run.folder / "report.md").read_text().splitlines() if line.startswith(("| 1 ", "| 2 "))]
    assert rows[0][2].strip() == "-"
    assert rows[1][2].strip() == f"{searched['valid_accuracy']:.4f}"
    assert drawn == [1, 2]


@pytest.mark.parametrize(("form", "often"), [("none", 0), ("log_product", 1)])
def test_a_cost_that_no_objective_asks_for_is_not_computed(form: str, often: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search, asked = Search(Run(tmp_path), load_recipe("small", [*TINY, ("objective.form", form)]), load("digits")), []
    real = CellCost.__call__

    def counting(self: CellCost, weights: dict[str, Tensor]) -> Tensor:
        asked.append(self)
        return real(self, weights)

    monkeypatch.setattr(CellCost, "__call__", counting)
    search.one_step()
    assert len(asked) == often


def test_only_a_budget_is_called_one() -> None:
    result = {"cost": 90, "cost_of_strongest": 120}
    objectives = {form: ObjectiveSettings(form=form, target=100.0, metric="macs", of="cells") for form in ("budget", "absolute", "none")}
    words = {form: (_budget_words(settings, result), _target_words(settings, 110.0)) for form, settings in objectives.items()}
    assert words["budget"] == (", 90.0% of its budget of 100 macs (the strongest network without it would cost 120 macs)", "")
    target = (
        " The objective's target is 100 macs of the candidates in the cells, whose expected cost was 110 macs at the end, 110.0% of it."
    )
    assert words["absolute"] == ("", target)
    assert words["none"] == ("", "")
