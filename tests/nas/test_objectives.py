"""Objectives: their formulas as arithmetic, and what they do in a search."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from nas.errors import RecipeError
from nas.objectives.additive import Absolute, Additive, Relative
from nas.objectives.budget import Budget
from nas.objectives.build import FORMS, build_objective
from nas.objectives.log_product import LogProduct
from nas.objectives.objective import Objective
from nas.objectives.power import Power
from nas.objectives.unconstrained import Unconstrained
from nas.recipe import ObjectiveSettings
from nas.search.bilevel import Bilevel
from nas.spaces.darts.network import NetworkShape
from nas.spaces.darts.operations import DARTS_OPERATIONS
from nas.spaces.darts.space import DartsSpace

_CASES: list[tuple[Objective, float]] = [
    (Unconstrained(), 2.0),
    (LogProduct(), 2 * math.log(300)),
    (LogProduct(0.2, 0.6), 2 * 0.2 * math.log(300) ** 0.6),
    (LogProduct(1, 0.6, 80), 2 * (math.log(300) / math.log(80)) ** 0.6),
    (Additive(0.1), 2 + 0.1 * 300),
    (Relative(0.5, 200), 2 + 0.5 * (300 - 200) / 200),
    (Absolute(0.5, 400), 2 + 0.5 * 100 / 400),
    (Absolute(0.5, 200), 2 + 0.5 * 100 / 200),
    (Power(150, -0.07), 2 * 2**0.07),
    (Power(600, -0.07), 2 * 0.5**0.07),
    (Power(600, -0.07, only_above=True), 2.0),
    (Budget(200, multiplier=3), 2 + 3 * (300 / 200 - 1)),
]


@pytest.mark.parametrize(("objective", "expected"), _CASES, ids=[str(case[0]) for case in _CASES])
def test_the_formula(objective: Objective, expected: float) -> None:
    loss, cost = torch.tensor(2.0, dtype=torch.float64, requires_grad=True), torch.tensor(300.0, dtype=torch.float64, requires_grad=True)
    total = objective(loss, cost)
    assert total.item() == pytest.approx(expected, rel=1e-12)
    gradients = torch.autograd.grad(total, [loss, cost], allow_unused=True, materialize_grads=True)
    for gradient, moved in zip(gradients, ((1e-6, 0), (0, 1e-4)), strict=True):
        up, down = (objective(loss.detach() + sign * moved[0], cost.detach() + sign * moved[1]).item() for sign in (1, -1))
        assert gradient.item() == pytest.approx((up - down) / (2 * sum(moved)), rel=1e-5, abs=1e-9)


def test_the_gradient_of_the_product_is_that_of_the_paper() -> None:
    """Song & Li 2020, eq. 10."""
    alpha = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    loss, cost = alpha.sin() + 2, (5 * alpha).exp() * 1000
    (found,) = torch.autograd.grad(LogProduct()(loss, cost), alpha)
    factor, by_alpha = math.log(1000) + 5 * 0.3, 5.0
    assert found.item() == pytest.approx(math.cos(0.3) * factor + by_alpha * (math.sin(0.3) + 2), rel=1e-12)


def test_the_reward_of_mnasnet() -> None:
    assert Power(80, -0.07).reward(0.75, 160) == pytest.approx(0.75 * 2**-0.07)
    assert Power(80, -0.07, only_above=True).reward(0.75, 40) == 0.75


def test_the_multiplier_of_a_budget_rises_while_it_is_exceeded_and_falls_to_nothing() -> None:
    budget = Budget(100, rate=0.5)
    budget.observe(150)
    assert budget.state() == pytest.approx(0.25)
    budget.observe(80)
    assert budget.state() == pytest.approx(0.15)
    budget.observe(10)
    assert budget.state() == 0.0
    budget.restore(0.7)
    assert budget.multiplier == 0.7


def test_dual_ascent_ends_at_the_budget() -> None:
    """Minimise (a - 3)^2 subject to a <= 2: the solution is a = 2 with the multiplier 2 (a - 3) + m / 2 = 0, m = 4."""
    a, budget = torch.tensor(0.0, dtype=torch.float64, requires_grad=True), Budget(2.0, rate=0.05)
    for _ in range(4000):
        (gradient,) = torch.autograd.grad(budget((a - 3) ** 2, a), a)
        with torch.no_grad():
            a -= 0.02 * gradient
        budget.observe(a.item())
    assert a.item() == pytest.approx(2, abs=1e-3)
    assert budget.multiplier == pytest.approx(4, abs=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (ObjectiveSettings("nonsense"), "there are none, log_product"),
        (ObjectiveSettings("budget"), "needs objective.target above zero"),
        (ObjectiveSettings("relative", weight=1.0), "needs objective.reference above zero"),
        (ObjectiveSettings("additive"), "needs objective.weight above zero"),
        (ObjectiveSettings("relative", reference=1.0), "needs objective.weight above zero"),
        (ObjectiveSettings("absolute", target=1.0), "needs objective.weight above zero"),
        (ObjectiveSettings("log_product", reference=1.0), "must be above 1, or 0 for e, but it is 1.0"),
        (ObjectiveSettings("log_product", reference=0.5), "must be above 1, or 0 for e, but it is 0.5"),
        (ObjectiveSettings("power"), "needs objective.target above zero"),
    ],
)
def test_settings_that_are_not_enough(settings: ObjectiveSettings, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_objective(settings)


_SPACES = {
    "darts": DartsSpace(DARTS_OPERATIONS, 2, NetworkShape(2, 3), NetworkShape(4, 4)),
    "grouped": DartsSpace(("none", "skip_connect", "group_conv_3x3", "depthwise_conv_3x3"), 3, NetworkShape(4, 3), NetworkShape(4, 3)),
}


@pytest.mark.parametrize(("space", "form", "order"), list(itertools.product(_SPACES, FORMS, (1, 2))))
def test_any_space_runs_with_any_search_and_any_objective(space: str, form: str, order: int) -> None:
    torch.manual_seed(0)
    made, image = _SPACES[space], (1, 8, 8)
    settings = ObjectiveSettings(form, weight=1e-6, reference=1e5, target=1e5)
    net = made.supernet(image, 4)
    for alpha in net.architecture_parameters():
        torch.nn.init.normal_(alpha)
    before = [alpha.detach().clone() for alpha in net.architecture_parameters()]
    bilevel = Bilevel(
        net,
        build_objective(settings),
        made.network_cost("macs", image, 4),
        torch.optim.SGD(net.network_weights(), 0.1, 0.9),
        torch.optim.Adam(net.architecture_parameters(), 0.01),
        second_order=order == 2,
    )
    batch = torch.randn(4, *image), torch.randint(4, (4,))
    step = bilevel.step(batch, batch)
    assert all(torch.isfinite(value).all() for value in step)
    assert all(torch.isfinite(alpha).all() for alpha in net.architecture_parameters())
    assert not all(torch.equal(one, other) for one, other in zip(before, net.architecture_parameters(), strict=True))
