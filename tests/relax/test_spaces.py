"""The relaxed cost on whole search spaces, against published tables and against networks that are built without any choice."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import flopscope
from flopscope.relax import cost_model
from tests.relax.spaces import darts, mbconv, nasbench201, nasbench_macro, oddities
from tests.relax.spaces.oracles import (
    Table,
    architecture_parameters,
    every_cost,
    held_at,
    probabilities_of,
    random_probabilities,
    slope,
    table,
    weights_of_all,
)
from tests.relax.spaces.space import METRICS, Space, slots_of

SHORT = ((24, 2, 2), (32, 1, 2))
SPACES = {
    "nasbench201": nasbench201.space,
    "nasbench201_in16": functools.partial(nasbench201.space, "in16"),
    "nasbench_macro": nasbench_macro.space,
    "darts": darts.space,
    "mbconv_sum": mbconv.space,
    **{f"mbconv_{mode}": functools.partial(mbconv.space, SHORT, mode, 32) for mode in ("sampled", "gates", "uniform")},
    "oddities": oddities.space,
    "echo": oddities.echo,
}
ADDITIVE = {"darts": functools.partial(darts.space, 4, 4), "mbconv": mbconv.space, "nasbench_macro": nasbench_macro.space}
SMALL = {"oddities": oddities.space, "echo": oddities.echo, "mbconv": functools.partial(mbconv.space, SHORT, "gates", 32)}


def every(spaces: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("build", list(spaces.values()), ids=list(spaces))


class Relaxed:
    """The cost model of a space, that takes architectures in the order of the slots."""

    def __init__(self, build: Any) -> None:
        self.space: Space = build()
        torch.manual_seed(0)
        self.supernet = self.space.supernet()
        self.model = cost_model(self.supernet, self.space.inputs())
        self.order = slots_of(self.supernet, self.model.decisions)

    def __call__(self, metric: str, architectures: Tensor) -> Tensor:
        return self.model(metric, architectures[:, self.order])


@functools.cache
def relaxed(build: Any) -> Relaxed:
    return Relaxed(build)


@functools.cache
def relaxed_in_double(build: Any) -> Relaxed:
    """With architecture parameters in double precision, so that differences can be taken. The network is traced in single precision before."""
    found = Relaxed(build)
    for parameter in architecture_parameters(found.supernet):
        parameter.data = parameter.data.double()
    return found


@functools.cache
def table_of(build: Any) -> Table:
    return table(build())


@functools.cache
def published_201(data: Path) -> tuple[Tensor, dict[str, Tensor]]:
    return nasbench201.published(data)


@functools.cache
def published_macro(data: Path) -> tuple[Tensor, dict[str, Tensor]]:
    return nasbench_macro.published(data)


# -- the spaces themselves -----------------------------------------------------------------------------------


@every(SPACES)
def test_a_supernet_at_a_vertex_runs_the_ops_of_the_plain_network(build: Any) -> None:
    space = build()
    supernet = space.supernet()
    for architecture in space.random(3).tolist():
        expected = space.cost(architecture)
        with held_at(supernet, architecture):
            found = flopscope.analyze(supernet, space.inputs(), strict=True).total
        for metric in set(METRICS) - {"params"}:  # those of the other candidates are still there
            assert getattr(found, metric) == expected[metric], metric


@pytest.mark.parametrize("data_set", nasbench201.DATA_SETS)
def test_networks_of_nasbench201_cost_what_was_published(data: Path, data_set: str) -> None:
    architectures, columns = published_201(data)
    space = nasbench201.space(data_set)
    for row in range(0, len(architectures), 401):
        found = space.cost(architectures[row].tolist())
        assert (found["params"], found["macs"]) == (columns[f"params_{data_set}"][row].item(), columns[f"macs_{data_set}"][row].item()), row
    added_up = table(space)
    for metric in ("params", "macs"):
        assert torch.equal(added_up.of(metric, architectures), columns[f"{metric}_{data_set}"])


def test_networks_of_nasbench_macro_cost_what_was_published(data: Path) -> None:
    architectures, columns = published_macro(data)
    space = nasbench_macro.space()
    for row in range(0, len(architectures), 81):
        found = space.cost(architectures[row].tolist())
        assert (found["params"], found["macs"]) == (columns["params"][row].item(), columns["macs"][row].item()), row
    for metric in ("params", "macs"):
        assert torch.equal(table_of(nasbench_macro.space).of(metric, architectures), columns[metric])


@pytest.mark.parametrize("mode", ["sum", "sampled", "gates", "uniform"])
def test_a_chain_trains_in_each_mode(mode: str) -> None:
    torch.manual_seed(0)
    supernet = mbconv.SuperNet(SHORT, mode)
    supernet(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert supernet.stem[0].weight.grad.abs().sum() > 0
    for block in supernet.blocks:
        moved = 0 if block.alpha.grad is None else int((block.alpha.grad != 0).sum())
        assert moved == {"sum": len(block.candidates), "sampled": 0, "gates": 2, "uniform": 0}[mode]


# -- decisions -----------------------------------------------------------------------------------------------


@every(SPACES)
def test_there_is_one_decision_for_each_slot(build: Any) -> None:
    found = relaxed(build)
    assert sorted(found.order) == list(range(len(found.space.sizes)))
    assert [len(decision.candidates) for decision in found.model.decisions] == [found.space.sizes[slot] for slot in found.order]


def test_choices_that_follow_one_parameter_are_tied() -> None:
    assert [len(decision.choices) for decision in relaxed(nasbench201.space).model.decisions] == [15] * 6
    found = relaxed(darts.space)
    tied = {slot: decision.choices for slot, decision in zip(found.order, found.model.decisions, strict=True)}
    assert [len(tied[slot]) for slot in range(28)] == [6] * 14 + [2] * 14
    assert all(path.endswith(f".{slot % 14}") for slot, paths in tied.items() for path in paths)
    assert all(len(decision.choices) == 1 for decision in relaxed(mbconv.space).model.decisions)
    found = relaxed(oddities.space)
    assert set(found.model.decisions[found.order.index(oddities.TIED)].choices) == oddities.TIED_CHOICES


# -- vertices ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_set", nasbench201.DATA_SETS)
def test_all_rows_of_nasbench201_in_one_call(data: Path, data_set: str) -> None:
    architectures, columns = published_201(data)
    found = relaxed(functools.partial(nasbench201.space, data_set))
    for metric in ("params", "macs"):
        costs, published = found(metric, architectures), columns[f"{metric}_{data_set}"]
        assert costs.dtype == torch.int64
        assert torch.equal(costs, published)
        assert found.model.minimum(metric).value == published.min()
        assert found.model.maximum(metric).value == published.max()


def test_all_rows_of_nasbench_macro_in_one_call(data: Path) -> None:
    architectures, columns = published_macro(data)
    found = relaxed(nasbench_macro.space)
    for metric in ("params", "macs"):
        costs = found(metric, architectures)
        assert costs.dtype == torch.int64
        assert torch.equal(costs, columns[metric])


@every(SPACES)
def test_a_vertex_costs_what_its_network_costs(build: Any) -> None:
    found = relaxed(build)
    architectures = found.space.random(4, seed=1)
    expected = [found.space.cost(architecture) for architecture in architectures.tolist()]
    for metric in METRICS:
        assert found(metric, architectures).tolist() == [cost[metric] for cost in expected], metric


def test_the_mode_of_the_supernet_is_that_of_the_networks() -> None:
    space = oddities.space()
    supernet = space.supernet().eval()
    model = cost_model(supernet, space.inputs())
    architectures = space.random(3, seed=5)
    expected = [space.cost(architecture, training=False)["flops"] for architecture in architectures.tolist()]
    assert model("flops", architectures[:, slots_of(supernet, model.decisions)]).tolist() == expected
    assert expected != [space.cost(architecture)["flops"] for architecture in architectures.tolist()]


@every(ADDITIVE)
def test_thousands_of_vertices_cost_what_their_candidates_add_up_to(build: Any) -> None:
    found = relaxed(build)
    architectures = found.space.random(5000, seed=2)
    for metric in METRICS:
        assert torch.equal(found(metric, architectures), table_of(build).of(metric, architectures)), metric


@every(SMALL)
def test_every_vertex_of_a_small_space(build: Any) -> None:
    found = relaxed(build)
    architectures = found.space.all()
    for metric in METRICS:
        assert torch.equal(found(metric, architectures), every_cost(build)[metric]), metric


@every({**ADDITIVE, **SMALL})
def test_a_batch_equals_a_loop(build: Any) -> None:
    found = relaxed(build)
    architectures = found.space.random(20, seed=3)
    probabilities = random_probabilities(found.space, 20)
    for metric in METRICS:
        assert found(metric, architectures).tolist() == [found(metric, row[None]).item() for row in architectures]
        costs = found(metric, probabilities)
        assert costs.dtype == torch.float64
        assert costs.tolist() == pytest.approx([found(metric, row[None]).item() for row in probabilities], rel=1e-13)


@every({**ADDITIVE, **SMALL})
def test_a_vertex_can_be_written_in_probabilities(build: Any) -> None:
    found = relaxed(build)
    architectures = found.space.random(20, seed=4)
    one_hot = nn.functional.one_hot(architectures, max(found.space.sizes)).double()
    for metric in METRICS:
        assert torch.equal(found(metric, one_hot), found(metric, architectures).double())


# -- expectations --------------------------------------------------------------------------------------------


@every(SMALL)
@pytest.mark.parametrize("metric", METRICS)
def test_expectation_and_variance_are_those_over_all_vertices(build: Any, metric: str) -> None:
    found = relaxed_in_double(build)
    costs = every_cost(build)[metric].double()
    weights = weights_of_all(found.space, probabilities_of(found.supernet, found.space))
    mean = (weights * costs).sum()
    expected = found.model(metric)
    assert (expected.dtype, expected.shape) == (torch.float64, ())
    assert expected.item() == pytest.approx(mean.item(), rel=1e-12)
    variance = (weights * (costs - mean).square()).sum()
    assert found.model.variance(metric).item() == pytest.approx(variance.item(), rel=1e-9)
    points = random_probabilities(found.space, 10)
    means = [(weights_of_all(found.space, point) * costs).sum().item() for point in points]
    assert found(metric, points).tolist() == pytest.approx(means, rel=1e-12)


@every(ADDITIVE)
@pytest.mark.parametrize("metric", METRICS)
def test_expectation_and_variance_of_candidates_that_add_up(build: Any, metric: str) -> None:
    found = relaxed_in_double(build)
    mean, variance = table_of(build).mean_and_variance(metric, probabilities_of(found.supernet, found.space))
    assert found.model(metric).item() == pytest.approx(mean.item(), rel=1e-12)
    assert found.model.variance(metric).item() == pytest.approx(variance.item(), rel=1e-9)


@every(ADDITIVE)
def test_parameters_in_single_precision_give_a_cost_in_double_precision(build: Any) -> None:
    found = relaxed(build)
    mean, _ = table_of(build).mean_and_variance("macs", probabilities_of(found.supernet, found.space))
    assert {parameter.dtype for parameter in architecture_parameters(found.supernet)} == {torch.float32}
    assert found.model("macs").dtype == torch.float64
    assert found.model("macs").item() == pytest.approx(mean.item(), rel=1e-6)


@every(SMALL)
@pytest.mark.parametrize("metric", METRICS)
def test_extremes_are_those_of_all_vertices(build: Any, metric: str) -> None:
    found = relaxed(build)
    costs = every_cost(build)[metric]
    for extreme, value in ((found.model.minimum(metric), costs.min()), (found.model.maximum(metric), costs.max())):
        assert extreme.value == value
        assert found.model(metric, torch.tensor([extreme.architecture])).item() == value


@every(ADDITIVE)
def test_extremes_of_candidates_that_add_up(build: Any) -> None:
    found = relaxed(build)
    for metric in METRICS:
        for extreme, sign in ((found.model.minimum(metric), 1), (found.model.maximum(metric), -1)):
            assert extreme.value == table_of(build).extreme(metric, sign)
            assert found.model(metric, torch.tensor([extreme.architecture])).item() == extreme.value


# -- gradients -----------------------------------------------------------------------------------------------


@every({**ADDITIVE, **SMALL, "nasbench201": nasbench201.space})
@pytest.mark.parametrize("metric", ["macs", "params", "access_bytes"])
def test_gradients_are_slopes(build: Any, metric: str) -> None:
    found = relaxed_in_double(build)
    parameters = architecture_parameters(found.supernet)
    cost = found.model(metric)
    rounding = 1e-12 * cost.item()  # of a difference of two costs; some parameters change nothing
    gradients = torch.autograd.grad(cost, parameters, allow_unused=True, materialize_grads=True)
    generator = torch.Generator().manual_seed(0)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        for _ in range(3):
            direction = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
            expected = slope(lambda: found.model(metric), parameter, direction)
            tolerance = 1e-8 * (gradient.norm() * direction.norm()).item() + rounding
            assert (gradient * direction).sum().item() == pytest.approx(expected, rel=0, abs=tolerance)


def test_a_cost_model_leaves_no_trace_on_the_supernet() -> None:
    supernet = oddities.SuperNet()
    before = {path: set(vars(module)) for path, module in supernet.named_modules()}
    values = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    cost_model(supernet, torch.zeros(1, 3, 16, 16))("macs").backward()
    assert {path: set(vars(module)) for path, module in supernet.named_modules()} == before
    assert all(torch.equal(tensor, values[name]) for name, tensor in supernet.state_dict().items())
    assert supernet.training
    touched = {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}
    assert touched
    assert all(name.endswith(".alpha") for name in touched)
