"""Spaces of chains: counts are those of published data and of arithmetic, to the unit; derivation is compared with trying everything."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import flopscope
from flopscope.errors import OptionError
from flopscope.latency.estimate import Estimate
from nas.errors import BudgetError, GenotypeError
from nas.models.configured import load_config, network_of
from nas.objectives.additive import Additive
from nas.search.binary import BinaryPaths, Variant, one_hot
from nas.spaces.chain.architecture import ChainArchitecture
from nas.spaces.chain.cost import ADDITIVE, ChainCost, counted, tabulated, timed, timed_by_blocks
from nas.spaces.chain.derivation import derive, derive_within
from nas.spaces.chain.shape import CHAINS, FBNET, IDENTITY, MACRO, PROXYLESS, ZERO, Bottleneck, ChainShape, Stage
from nas.spaces.chain.supernet import ChainNet, ChainNetwork, kinds_of

DATA = Path(os.environ["FLOPSCOPE_DATA"]) if "FLOPSCOPE_DATA" in os.environ else None
needs_data = pytest.mark.skipif(DATA is None, reason="needs FLOPSCOPE_DATA")
SMALL = ChainShape(
    name="small", source="none", stages=(Stage(8, 2, 1), Stage(12, 2, 2)), bottlenecks=(Bottleneck(3, 3), Bottleneck(5, 6)), stem=8, first=8,
    head=16,
)  # fmt: skip
IMAGE = (3, 16, 16)


def some(shape: ChainShape, count: int, seed: int = 0) -> list[ChainArchitecture]:
    draw = random.Random(seed)
    return [ChainArchitecture(shape, tuple(draw.choice(shape.candidates(slot)) for slot in shape.slots())) for _ in range(count)]


def every(shape: ChainShape) -> list[ChainArchitecture]:
    return [ChainArchitecture(shape, blocks) for blocks in itertools.product(*(shape.candidates(slot) for slot in shape.slots()))]


def weights_at(architecture: ChainArchitecture) -> dict[str, Tensor]:
    shape = architecture.shape
    chosen = {slot: shape.candidates(slot).index(name) for slot, name in zip(shape.slots(), architecture.blocks, strict=True)}
    rows = kinds_of(shape)
    paths = {kind: torch.tensor([chosen[slot] for slot in slots]) for kind, slots in rows.items()}
    return one_hot({kind: torch.zeros(len(slots), len(shape.candidates(slots[0]))) for kind, slots in rows.items()}, paths)


def random_weights(shape: ChainShape, seed: int) -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(seed)
    return {
        kind: torch.randn(len(slots), len(shape.candidates(slots[0])), generator=made).mul(2).softmax(1)
        for kind, slots in kinds_of(shape).items()
    }


def test_the_spaces_have_the_slots_and_candidates_of_their_papers() -> None:
    facts = {
        name: (len(list(shape.slots())), math.prod(len(shape.candidates(slot)) for slot in shape.slots())) for name, shape in CHAINS.items()
    }
    assert facts["proxyless"] == (21, 6**6 * 7**15)  # six stages begin without a residual
    assert facts["macro"] == (8, 6561)
    assert facts["fbnet"][0] == 22
    assert {name.name for name in FBNET.bottlenecks} == {"k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6"}


@needs_data
def test_all_networks_of_nas_bench_macro_cost_what_is_published() -> None:
    assert DATA is not None
    table = json.loads((DATA / "nas/nasbench_macro.json").read_text())
    image, names = (3, 32, 32), (IDENTITY, "k3_e3", "k5_e6")
    macs, params = (counted(MACRO, metric, image, 10) for metric in ("macs", "params"))
    assert len(table) == 6561
    prices = [[cost.by_slot() for cost in (macs, params)]]
    for key, facts in table.items():
        for cost, by_slot, wanted in zip((macs, params), prices[0], (facts["flops"], facts["params"]), strict=True):
            assert cost.constant + sum(row[names[int(digit)]] for row, digit in zip(by_slot, key, strict=True)) == wanted, key


@pytest.mark.parametrize("shape", [*(shape.scaled(0.5) for shape in CHAINS.values()), SMALL], ids=lambda shape: shape.name)
def test_a_cost_at_a_vertex_is_the_count_of_its_network(shape: ChainShape) -> None:
    image = (3, 32, 32)
    costs = {metric: counted(shape, metric, image, 10) for metric in ADDITIVE}
    for architecture in some(shape, 2):
        with flopscope.building():
            network = ChainNetwork(shape, architecture.blocks, 10).eval()
        total = flopscope.analyze(network, "1x3x32x32").total
        for metric, cost in costs.items():
            assert cost.of(architecture) == getattr(total, metric), metric
            assert float(cost(weights_at(architecture))) == cost.of(architecture)


def test_the_gradient_of_an_expected_cost_is_its_difference() -> None:
    cost = counted(SMALL, "macs", IMAGE, 10)
    weights = {kind: table.double().requires_grad_() for kind, table in random_weights(SMALL, 1).items()}
    cost(weights).backward()
    for kind, table in weights.items():
        assert table.grad is not None
        for place in itertools.product(*map(range, table.shape)):
            moved = {name: other.detach().clone() for name, other in weights.items()}
            moved[kind][place] += 0.5  # it is linear, so the step may be large
            assert table.grad[place].item() == pytest.approx(2 * float((cost(moved) - cost(weights)).detach()), rel=1e-9)


@needs_data
def test_published_networks_are_in_the_space_and_are_told_alike() -> None:
    """ProxylessNAS's mobile network in its own space: the widths are those of the paper's backbone, but for two stages of the code."""
    assert DATA is not None
    path = DATA / "nas/proxylessnas/proxyless_mobile.config"
    config = load_config(path)
    first, *rest = config["blocks"]
    inner = [block["mobile_inverted_conv"] for block in rest]
    widths = [32, 40, 80, 96, 192, 320]
    stages = tuple(Stage(width, 4 if width < 320 else 1, stride) for width, stride in zip(widths, (2, 2, 2, 1, 2, 1), strict=True))
    shape = ChainShape(name="mobile", source="", stages=stages, bottlenecks=PROXYLESS.bottlenecks)
    blocks = tuple(ZERO if layer["name"] == "ZeroLayer" else f"k{layer['kernel_size']}_e{layer['expand_ratio']}" for layer in inner)
    architecture = ChainArchitecture(shape, blocks)
    assert (architecture.count(ZERO), first["mobile_inverted_conv"]["out_channels"]) == (2, 16)
    assert counted(shape, "macs", (3, 224, 224), 1000).of(architecture) == 320_427_584
    assert counted(shape, "params", (3, 224, 224), 1000).of(architecture) == 4_080_512
    again = network_of(architecture.to_net_config(1000)).eval()
    assert flopscope.analyze(again, "1x3x224x224").total == flopscope.analyze(network_of(config).eval(), "1x3x224x224").total


def test_a_chain_as_a_configuration_and_as_an_onnx_file_counts_the_same(tmp_path: Path) -> None:
    architecture = ChainArchitecture(SMALL, ("k3_e3", ZERO, "k5_e6", "k3_e3"))
    network = ChainNetwork(SMALL, architecture.blocks, 10).eval()
    total = flopscope.analyze(network, "1x3x16x16").total
    assert flopscope.analyze(network_of(architecture.to_net_config(10)).eval(), "1x3x16x16").total == total
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 3, 16, 16),), str(tmp_path / "chain.onnx"), dynamo=False)
    assert flopscope.analyze(str(tmp_path / "chain.onnx")).total.macs == total.macs
    with pytest.raises(GenotypeError, match="no form for the blocks of macro"):
        some(MACRO, 1)[0].to_net_config(10)


# -- times ------------------------------------------------------------------------------------------------------------


@needs_data
def test_the_expected_latency_at_a_vertex_is_the_sum_of_the_published_table(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    from flopscope.latency.blocks import BlockTable
    from flopscope.latency.configs import blocks_of_config

    assert DATA is not None
    table = BlockTable.load(DATA / "nas/proxylessnas/mobile_trim.yaml")
    cost = timed_by_blocks(PROXYLESS, table.of, (3, 224, 224), 1000)
    path = tmp_path / "net.config"
    for architecture in some(PROXYLESS, 5):
        path.write_text(json.dumps(architecture.to_net_config(1000)))
        wanted = sum(round(table.of(block).seconds * 10**9) for block in blocks_of_config(path))
        assert cost.of(architecture) == wanted
        assert float(cost(weights_at(architecture))) == wanted
    with pytest.raises(OptionError, match="no names for the blocks of fbnet"):
        timed_by_blocks(FBNET, table.of, (3, 224, 224), 1000)


class Counts:
    """A source of times: an op takes as many nanoseconds as it has outputs."""

    name = "outputs"
    unknown = 0

    def estimate(self, op: Any) -> Estimate:
        seconds = sum(value.type.elements for value in op.outputs) * 1e-9
        return Estimate(seconds, seconds, seconds)

    def total(self, graph: Any) -> Estimate:
        seconds = sum(self.estimate(op).seconds for op in graph.ops if op.signature.effect != "view")
        return Estimate(seconds, seconds, seconds, "", self.unknown)


def test_times_of_any_source_add_up_to_that_of_the_network() -> None:
    cost = timed(SMALL, Counts(), IMAGE, 10)
    for architecture in some(SMALL, 3):
        network = ChainNetwork(SMALL, architecture.blocks, 10).eval()
        whole = Counts().total(flopscope.analyze(network, "1x3x16x16").graph).seconds
        assert cost.of(architecture) == round(whole * 1e9)
    partial = Counts()
    partial.unknown = 1
    with pytest.raises(OptionError, match="does not know all ops"):
        timed(SMALL, partial, IMAGE, 10)


# -- derivation -------------------------------------------------------------------------------------------------------


def strength(architecture: ChainArchitecture, weights: dict[str, Tensor]) -> float:
    at = weights_at(architecture)
    return sum(float((at[kind] * table.log()).sum()) for kind, table in weights.items())


@pytest.mark.parametrize("seed", range(4))
def test_the_strongest_within_a_budget_is_that_of_trying_all(seed: int) -> None:
    cost, weights = counted(SMALL, "macs", IMAGE, 10), random_weights(SMALL, seed)
    known = every(SMALL)
    assert derive(weights, SMALL) == max(known, key=lambda each: strength(each, weights))
    prices = sorted(cost.of(each) for each in known)
    for budget in (prices[0], prices[len(prices) // 3], prices[len(prices) // 2], prices[-1]):
        found = derive_within(weights, SMALL, cost, budget)
        assert cost.of(found) <= budget
        best = max(strength(each, weights) for each in known if cost.of(each) <= budget)
        assert strength(found, weights) == pytest.approx(best, abs=1e-5)
    with pytest.raises(BudgetError, match="the cheapest costs"):
        derive_within(weights, SMALL, cost, prices[0] - 1)


def test_a_long_chain_is_derived_exactly_too() -> None:
    """Against a knapsack over whole prices, written the other way round: strength by price."""
    draw = random.Random(3)
    prices = [[draw.randrange(50) for _ in PROXYLESS.candidates(slot)] for slot in PROXYLESS.slots()]
    cost, weights, budget = tabulated(PROXYLESS, "macs", 7, prices), random_weights(PROXYLESS, 5), 300
    best: dict[int, float] = {7: 0.0}
    places = {slot: (kind, row) for kind, slots in kinds_of(PROXYLESS).items() for row, slot in enumerate(slots)}
    for slot, row in zip(PROXYLESS.slots(), prices, strict=True):
        kind, number = places[slot]
        logs = weights[kind][number].double().log().tolist()
        after: dict[int, float] = {}
        for price, score in best.items():
            for added, log in zip(row, logs, strict=True):
                after[price + added] = max(after.get(price + added, -math.inf), score + log)
        best = after
    found = derive_within(weights, PROXYLESS, cost, budget)
    assert cost.of(found) <= budget
    assert strength(found, weights) == pytest.approx(max(score for price, score in best.items() if price <= budget), abs=1e-4)


# -- searching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["gradient", "recompute", "reinforce", "both"])
def test_a_chain_is_searched_by_binary_paths(variant: Variant) -> None:
    torch.manual_seed(0)
    net, cost = ChainNet(SMALL, 10), counted(SMALL, "macs", IMAGE, 10)
    before = {kind: alpha.detach().clone() for kind, alpha in net.architecture().items()}
    search = BinaryPaths(
        net, Additive(1e-6), cost, torch.optim.SGD(net.network_weights(), 0.05), torch.optim.Adam(net.architecture_parameters(), 0.006, (0.0, 0.999)),
        variant,
    )  # fmt: skip
    batch = torch.randn(4, *IMAGE), torch.randint(10, (4,))
    steps = [search.step(batch, batch) for _ in range(2)]
    assert all(bool(loss.isfinite()) for step in steps for loss in (step.train_loss, step.valid_loss))
    assert all(bool((alpha != before[kind]).any()) for kind, alpha in net.architecture().items())
    assert not any(bool(alpha.isnan().any()) for alpha in net.architecture().values())


def test_a_mixture_at_a_vertex_is_the_network_of_the_architecture() -> None:
    torch.manual_seed(0)
    net = ChainNet(SMALL, 10).eval()
    architecture = ChainArchitecture(SMALL, ("k3_e3", ZERO, "k5_e6", "k3_e3"))
    for kind, table in weights_at(architecture).items():
        net.alphas[kind].data = table * 200  # the softmax of which is one-hot
    network = ChainNetwork(SMALL, architecture.blocks, 10).eval()
    network[0].load_state_dict(net.stem.state_dict())
    network[2].load_state_dict(net.head.state_dict())
    choices: list[Any] = list(net.slots)
    slots = zip(choices, architecture.blocks, SMALL.slots(), strict=True)
    chosen = [choice.candidates[SMALL.candidates(slot).index(name)] for choice, name, slot in slots if name != ZERO]
    blocks: Any = network[1]
    for mine, theirs in zip(blocks, chosen, strict=True):
        mine.load_state_dict(theirs.state_dict())
    x = torch.randn(2, *IMAGE)
    with torch.inference_mode():
        assert torch.allclose(net(x), network(x), atol=1e-5)


def test_what_cannot_be_a_chain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenotypeError, match="has 4 blocks, but 1 were given"):
        ChainArchitecture(SMALL, (ZERO,))
    with pytest.raises(GenotypeError, match=r"cannot stand in the slot 1\.0"):
        ChainArchitecture(SMALL, (ZERO, ZERO, ZERO, ZERO))
    with pytest.raises(GenotypeError, match="can be a candidate once"):
        ChainShape(name="x", source="", stages=SMALL.stages, bottlenecks=(Bottleneck(3, 3), Bottleneck(3, 3)))
    with pytest.raises(OptionError, match="'peak_bytes' was asked for"):
        counted(SMALL, "peak_bytes", IMAGE, 10)
    path = tmp_path / "chain.json"
    architecture = some(SMALL, 1)[0]
    architecture.save(path)
    assert ChainArchitecture.load(path, SMALL) == architecture
    with pytest.raises(GenotypeError, match="a chain of macro is a table"):
        ChainArchitecture.load(path, MACRO)
    path.write_text("{")
    with pytest.raises(GenotypeError, match="cannot read a chain"):
        ChainArchitecture.load(path, SMALL)


def test_costs_move_to_a_device() -> None:
    cost: ChainCost = counted(SMALL, "macs", IMAGE, 10).to(torch.device("cpu"))
    assert all(table.device.type == "cpu" for table in cost.tables.values())
