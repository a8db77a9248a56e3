"""Costs of the cell space: against built networks, enumeration, simulation and finite differences."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import flopscope
from flopscope.cost import METRICS
from flopscope.errors import OptionError
from nas.errors import BudgetError, GenotypeError
from nas.genotype import Genotype
from nas.spaces.darts.cost import LEVELS, CellCost
from nas.spaces.darts.latency import LatencyTable, measure
from nas.spaces.darts.network import NetworkShape
from nas.spaces.darts.pricing import edge_probabilities, two_of
from nas.spaces.darts.space import DartsSpace

IMAGE = (3, 16, 16)
SPACES = {
    "darts": DartsSpace(search=NetworkShape(4, 3), trained=NetworkShape(6, 5)),
    "imagenet stem": DartsSpace(search=NetworkShape(4, 3), trained=NetworkShape(6, 4, "imagenet")),
    "no none, two nodes": DartsSpace(
        ("skip_connect", "group_conv_3x3", "depthwise_conv_3x3", "conv_7x1_1x7"), 2, NetworkShape(4, 3), NetworkShape(4, 6)
    ),
}


def _random_genotype(space: DartsSpace, draw: random.Random) -> Genotype:
    operations = [name for name in space.operations if name != "none"]
    cells = []
    for _ in LEVELS:
        states = [draw.sample(range(2 + node), 2) for node in range(space.nodes)]
        cells.append(tuple((draw.choice(operations), state) for pair in states for state in pair))
    concat = tuple(range(2, 2 + space.nodes))
    return Genotype(cells[0], concat, cells[1], concat)


def _vertex(space: DartsSpace, genotype: Genotype) -> dict[str, Tensor]:
    """The weights that leave no choice but this network: one operation on its edges, ``none`` on the others."""
    found = {}
    for level, edges in zip(LEVELS, (genotype.normal, genotype.reduce), strict=True):
        table = torch.zeros(len(space.edge_names), len(space.operations))
        if "none" in space.operations:
            table[:, space.operations.index("none")] = 1
        for position, (operation, state) in enumerate(edges):
            row = space.edge_names.index(f"{state}→{2 + position // 2}")
            table[row] = torch.eye(len(space.operations))[space.operations.index(operation)]
        found[level] = table
    return found


def _in_order(genotype: Genotype) -> Genotype:
    """The same cells as derivation writes them: edges that are equally strong in the order of their states."""
    cells = (
        tuple(edge for node in range(0, len(edges), 2) for edge in sorted(edges[node : node + 2], key=lambda edge: edge[1]))
        for edges in (genotype.normal, genotype.reduce)
    )
    return Genotype(next(cells), genotype.normal_concat, next(cells), genotype.reduce_concat)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("metric", METRICS)
def test_at_a_vertex_the_relaxed_cost_is_the_analyzers_count(space: DartsSpace, metric: str) -> None:
    cost, draw = space.network_cost(metric, IMAGE, 7), random.Random(3)
    for _ in range(3):
        genotype = _random_genotype(space, draw)
        counted = getattr(flopscope.analyze(space.network(genotype, IMAGE, 7).eval(), "1x3x16x16").total, metric)
        assert cost.of(genotype) == counted
        relaxed = float(cost(_vertex(space, genotype)))
        assert relaxed == counted
        assert space.derive(_vertex(space, genotype)) == _in_order(genotype)


def test_two_of_is_drawing_without_replacement() -> None:
    strengths = torch.tensor([0.5, 0.2, 0.9, 0.4], dtype=torch.float64)
    expected = torch.zeros(4, dtype=torch.float64)
    for first, second in itertools.permutations(range(4), 2):
        probability = strengths[first] / strengths.sum() * strengths[second] / (strengths.sum() - strengths[first])
        expected[[first, second]] += probability
    assert torch.allclose(two_of(strengths), expected, atol=1e-14)
    assert torch.equal(two_of(torch.tensor([0.3, 1e-9], dtype=torch.float64)), torch.ones(2, dtype=torch.float64))


def test_the_expected_cost_is_the_mean_over_drawn_networks() -> None:
    space = DartsSpace(("none", "skip_connect", "sep_conv_3x3"), 2, NetworkShape(4, 3), NetworkShape(4, 3))
    cost = space.network_cost("macs", IMAGE, 7)
    torch.manual_seed(0)
    weights = {level: torch.randn(5, 3, dtype=torch.float64).softmax(-1) for level in LEVELS}
    total = 0.0
    for level in LEVELS:  # every pair of edges into each node, every operation on them
        for rows in ((0, 1), (2, 3, 4)):
            strength = {row: float(weights[level][row, 1:].max()) for row in rows}
            for first, second in itertools.permutations(rows, 2):
                whole = sum(strength.values())
                drawn = strength[first] / whole * strength[second] / (whole - strength[first])
                for row in (first, second):
                    conditional = weights[level][row, 1:] / weights[level][row, 1:].sum()
                    total += drawn * float((conditional * cost.tables[level][row, 1:]).sum())
    assert float(cost(weights)) == pytest.approx(cost.constant + total, rel=1e-12)


def test_gradients_equal_finite_differences() -> None:
    space = SPACES["darts"]
    for cost in (space.network_cost("macs", IMAGE, 7), space.supernet_cost("params", IMAGE, 7), space.cells_cost("flops", IMAGE, 7, 100.0)):
        torch.manual_seed(2)
        alphas = {level: torch.randn(14, 8, dtype=torch.float64, requires_grad=True) for level in LEVELS}

        def value(given: dict[str, Tensor], cost: CellCost = cost) -> Tensor:
            return cost({level: alpha.softmax(-1) for level, alpha in given.items()})

        gradient = dict(zip(alphas, torch.autograd.grad(value(alphas), list(alphas.values())), strict=True))
        for level, row, column in (("normal", 0, 4), ("normal", 12, 0), ("reduce", 7, 3), ("reduce", 1, 6)):
            sides = []
            for step in (1e-5, -1e-5):
                moved = {name: alpha.detach().clone() for name, alpha in alphas.items()}
                moved[level][row, column] += step
                sides.append(float(value(moved)))
            assert float(gradient[level][row, column]) == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-6, abs=1e-3)


def test_edges_of_weight_zero_give_finite_gradients() -> None:
    weights = torch.zeros(14, 8, dtype=torch.float64)
    weights[:, 0] = 1
    weights.requires_grad_()
    found = edge_probabilities(weights, 4, 0)
    assert torch.allclose(found.sum(1), torch.ones(14, dtype=torch.float64))
    found[:, 1:].sum().backward()
    assert torch.isfinite(weights.grad).all()  # type: ignore[arg-type]


def test_the_cost_of_cells_leaves_out_what_does_not_change() -> None:
    space = SPACES["darts"]
    whole, cells = space.supernet_cost("flops", IMAGE, 7), space.cells_cost("flops", IMAGE, 7, 1000.0)
    weights = {level: torch.rand(14, 8).softmax(-1) for level in LEVELS}
    assert float(cells(weights)) == pytest.approx(float(whole(weights)) - whole.constant + 3 * 14 * 1000.0)


# -- derivation -----------------------------------------------------------------------------------------------


def _all_genotypes(space: DartsSpace) -> list[Genotype]:
    operations = [name for name in space.operations if name != "none"]
    nodes = [
        [((one, i), (other, j)) for i, j in itertools.combinations(range(2 + node), 2) for one in operations for other in operations]
        for node in range(space.nodes)
    ]
    cells = [sum(pairs, ()) for pairs in itertools.product(*nodes)]
    concat = tuple(range(2, 2 + space.nodes))
    return [Genotype(normal, concat, reduce, concat) for normal in cells for reduce in cells]


def _strength(space: DartsSpace, weights: dict[str, Tensor], genotype: Genotype) -> float:
    total = 0.0
    for level, edges in zip(LEVELS, (genotype.normal, genotype.reduce), strict=True):
        for position, (operation, state) in enumerate(edges):
            row = space.edge_names.index(f"{state}→{2 + position // 2}")
            total += float(weights[level][row, space.operations.index(operation)].log())
    return total


@pytest.mark.parametrize("metric", ["macs", "flops", "access"])
def test_within_a_budget_the_strongest_of_all_networks_is_found(metric: str) -> None:
    space = DartsSpace(("skip_connect", "none", "sep_conv_3x3", "max_pool_3x3"), 2, NetworkShape(4, 3), NetworkShape(4, 4))
    cost = space.network_cost(metric, IMAGE, 7)
    torch.manual_seed(5)
    weights = {level: torch.randn(5, 4, dtype=torch.float64).softmax(-1) for level in LEVELS}
    every = _all_genotypes(space)
    assert len(every) == (9 * 27) ** 2
    draw = random.Random(0)
    sample = draw.sample(every, 4000)  # looking at all of them takes a minute
    costs = {genotype: cost.of(genotype) for genotype in sample}
    for share in (0.3, 0.6, 0.95):
        high = sorted(costs.values())[int(share * len(sample))]
        low = int(high * 0.9)
        best = space.derive_within(weights, cost, low, high)
        assert low <= cost.of(best) <= high
        rival = max(_strength(space, weights, genotype) for genotype, price in costs.items() if low <= price <= high)
        assert _strength(space, weights, best) >= rival - 1e-12
    free = space.derive_within(weights, cost, 0, 10**15)
    assert (set(free.normal), set(free.reduce)) == (set(space.derive(weights).normal), set(space.derive(weights).reduce))


def test_a_budget_that_nothing_meets_names_the_nearest_costs() -> None:
    space = DartsSpace(("skip_connect", "sep_conv_3x3"), 1, NetworkShape(4, 3), NetworkShape(4, 3))
    cost = space.network_cost("macs", IMAGE, 7)
    weights = {level: torch.full((2, 2), 0.5) for level in LEVELS}
    prices = sorted({cost.of(genotype) for genotype in _all_genotypes(space)})
    with pytest.raises(BudgetError, match=rf"nearest below costs {prices[0]:,} macs and the nearest above costs {prices[1]:,} macs"):
        space.derive_within(weights, cost, prices[0] + 1, prices[1] - 1)
    with pytest.raises(BudgetError, match=f"they cost {prices[0]:,} macs to {prices[-1]:,} macs"):
        space.derive_within(weights, cost, 1, 2)


def test_derivation_takes_the_two_strongest_edges_of_each_node() -> None:
    space = DartsSpace(("none", "skip_connect", "sep_conv_3x3"), 2, NetworkShape(4, 3), NetworkShape(4, 3))
    table = torch.tensor([[0.9, 0.06, 0.04], [0.2, 0.3, 0.5], [0.1, 0.2, 0.7], [0.8, 0.1, 0.1], [0.2, 0.5, 0.3]])
    found = space.derive({"normal": table, "reduce": table})
    assert found.normal == (("sep_conv_3x3", 1), ("skip_connect", 0), ("sep_conv_3x3", 0), ("skip_connect", 2))
    assert found.normal_concat == (2, 3)


# -- measured times -------------------------------------------------------------------------------------------


def test_a_latency_table_is_a_cost_like_any_other(tmp_path: Path) -> None:
    space = SPACES["darts"]
    path = tmp_path / "table.json"
    measure(space.operations, space.nodes, [(space.search, IMAGE, 7), (space.trained, IMAGE, 7)], repeats=1).save(path)
    table = LatencyTable.load(path)
    cost = space.network_cost("latency", IMAGE, 7, table)
    genotype = _random_genotype(space, random.Random(1))
    by_hand, size, channels = table.milliseconds["rest/cifar-6-5-4/3x16x16/7"], 16, 6
    for layer in range(5):
        reduces = layer in (5 // 3, 2 * 5 // 3)
        channels *= 1 + reduces
        for operation, state in genotype.reduce if reduces else genotype.normal:
            halves = reduces and state < 2
            inner = size if halves or not reduces else size // 2
            by_hand += table.milliseconds[f"{operation}/{channels}x{inner}x{inner}/{1 + halves}"]
        size //= 1 + reduces
    assert cost.of(genotype) == pytest.approx(by_hand * 1e6, abs=50)
    assert float(cost(_vertex(space, genotype))) == pytest.approx(cost.of(genotype))
    with pytest.raises(OptionError, match="has no time for"):
        space.network_cost("latency", (3, 20, 20), 7, table)
    with pytest.raises(OptionError, match="has no time for 'rest/cifar-6-5-4/3x16x16/8'"):
        space.network_cost("latency", IMAGE, 8, table)
    with pytest.raises(OptionError, match="has no time for 'rest/cifar-6-5-2/3x16x16/7'"):  # of two nodes nothing else is missing
        replace(space, nodes=2).network_cost("latency", IMAGE, 7, table)
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(OptionError, match="is no latency table"):
        LatencyTable.load(path)
    with pytest.raises(OptionError, match="needs a table"):
        space.network_cost("latency", IMAGE, 7)


@pytest.mark.parametrize("time", ["NaN", "Infinity", "-0.5", "1e300", "true", '"0.4"', "null"])
def test_times_that_are_none_are_refused(time: str, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(f'{{"milliseconds": {{"sep_conv_3x3/6x16x16/1": {time}}}}}', encoding="utf-8")
    with pytest.raises(OptionError, match="for 'sep_conv_3x3/6x16x16/1'; a time is a number of milliseconds from 0 to"):
        LatencyTable.load(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"operations": ("none", "bogus")}, "no operation 'bogus'"),
        ({"operations": ("none",)}, "besides 'none'"),
        ({"operations": ("skip_connect", "skip_connect")}, "can be a candidate once"),
        ({"nodes": 0}, "needs a node"),
        ({"search": NetworkShape(4, 1)}, "have a normal cell, but the 1 of the supernet have none"),
        ({"search": NetworkShape(4, 2), "trained": NetworkShape(4, 3)}, "have a normal cell, but the 2 of the supernet have none"),
    ],
)
def test_spaces_that_make_no_sense(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(GenotypeError, match=message):
        DartsSpace(**arguments)  # type: ignore[arg-type]


def test_a_supernet_without_normal_cells_serves_a_network_without_them() -> None:
    DartsSpace(search=NetworkShape(4, 2), trained=NetworkShape(4, 1))


def test_the_cost_stays_on_the_device_of_its_tables() -> None:
    space = SPACES["darts"]
    weights = {level: torch.full((14, 8), 1 / 8) for level in LEVELS}
    for cost in (space.network_cost("macs", IMAGE, 7), space.supernet_cost("macs", IMAGE, 7)):
        moved = cost.to(torch.device("meta"))
        assert moved({level: table.to("meta") for level, table in weights.items()}).device.type == "meta"
        assert moved.metric == cost.metric
        assert float(cost.to(torch.device("cpu"))(weights)) == float(cost(weights))
