"""A search step against a plain one, written separately, in doubles."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from nas.objectives.log_product import LogProduct
from nas.search.bilevel import Bilevel
from nas.spaces.darts.network import NetworkShape
from nas.spaces.darts.space import DartsSpace
from tests.nas import plain_step

IMAGE = (3, 8, 8)
K1, K2, K3 = 0.1, 1.3, 2e3


@pytest.mark.parametrize("second_order", [False, True], ids=["first order", "second order"])
def test_two_steps_are_those_of_the_paper(second_order: bool) -> None:
    """Two, because momentum and Adam's averages say nothing in the first."""
    torch.manual_seed(1)
    space = DartsSpace(nodes=3, search=NetworkShape(4, 3), trained=NetworkShape(4, 3))
    net = space.supernet(IMAGE, 10).double()
    for alpha in net.architecture_parameters():
        torch.nn.init.normal_(alpha)
    lr, betas, decay = 0.025, (0.5, 0.999), 1e-3
    weights = torch.optim.SGD(net.network_weights(), lr, 0.9, weight_decay=3e-4)
    alphas = torch.optim.Adam(net.architecture_parameters(), 3e-4, betas, weight_decay=decay)
    cost = space.cells_cost("flops", IMAGE, 10, K3)
    bilevel = Bilevel(net, LogProduct(K1, K2), cost, weights, alphas, second_order, gradient_clip=0.5)

    oracle = copy.deepcopy(net)
    plain_cost = space.supernet_cost("flops", IMAGE, 10)
    cells = {"normal": 1, "reduce": 2}  # layers 0; 1 and 2
    adams = [plain_step.Adam(3e-4, betas, decay) for _ in oracle.architecture_parameters()]
    descents = [plain_step.Momentum(lr, 0.9, 3e-4) for _ in oracle.network_weights()]
    for _ in range(2):
        train, valid = ((torch.randn(6, *IMAGE).double(), torch.randint(10, (6,))) for _ in range(2))
        gradient = plain_step.architecture_gradient(
            oracle,
            lambda model: plain_step.song_li_factor(model, dict(plain_cost.tables), cells, K1, K2, K3),
            train,
            valid,
            lr if second_order else 0.0,
        )
        mine = bilevel.architecture_gradient(train, valid)[2]
        for one, other in zip(mine, gradient, strict=True):
            assert torch.allclose(one, other, rtol=0, atol=1e-10)
            assert other.abs().max() > 1e-3

        bilevel.step(train, valid)
        _move(oracle.architecture_parameters(), adams, gradient)
        _move(oracle.network_weights(), descents, plain_step.weight_gradient(oracle, train, 0.5))
        for one, other in zip(oracle.parameters(), net.parameters(), strict=True):
            assert torch.allclose(one, other, rtol=0, atol=1e-10)


def _move(parameters: list[torch.nn.Parameter], optimizers: list[Any], gradients: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for parameter, optimizer, gradient in zip(parameters, optimizers, gradients, strict=True):
            parameter.copy_(optimizer.moved(parameter, gradient))


def test_weights_are_put_back_when_a_step_fails() -> None:
    space = DartsSpace(nodes=2, search=NetworkShape(2, 2), trained=NetworkShape(2, 2))
    net = space.supernet(IMAGE, 10)
    before = [weight.clone() for weight in net.network_weights()]

    class _Fails(LogProduct):
        def __call__(self, loss: torch.Tensor, cost: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no")

    bilevel = Bilevel(
        net,
        _Fails(),
        space.cells_cost("flops", IMAGE, 10),
        torch.optim.SGD(net.network_weights(), 0.1),
        torch.optim.Adam(net.architecture_parameters()),
        second_order=True,
    )
    batch = torch.randn(4, *IMAGE), torch.randint(10, (4,))
    with pytest.raises(RuntimeError, match="no"):
        bilevel.step(batch, batch)
    assert all(torch.equal(one, other) for one, other in zip(before, net.network_weights(), strict=True))
