"""Expected latency: at a vertex the source's own total of that network, gradients against finite differences, batches against loops."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn

from flopscope.errors import OptionError, SupernetError
from flopscope.frontends.torch.trace import trace
from flopscope.graph import Graph, Op
from flopscope.latency.block import Block
from flopscope.latency.blocks import BlockTable
from flopscope.latency.estimate import Estimate
from flopscope.latency.roofline import Roofline
from flopscope.latency.source import LatencySource, summed
from flopscope.relax import Choice, CostModel, block_latency, cost_model, latency_model
from flopscope.relax.choices.timing import alone
from tests.relax.modules import Custom, X, conv, weighted_sum


class Times:
    """A nanosecond per output element, and a microsecond per convolution. Views are not known."""

    name = "a stop watch"

    def estimate(self, op: Op) -> Estimate | None:
        if op.signature.effect == "view":
            return None
        seconds = (
            1e-6 * (op.kind == "conv")
            + 1e-9 * op.signature.output.elements * (op.signature["weight"].shape[-1] if op.kind == "conv" else 1)
        ) * op.times
        return Estimate(seconds, seconds, seconds)

    def total(self, graph: Graph) -> Estimate:
        return summed(self, graph)


class Pairs(Times):
    """A source that knows the whole graph: an activation costs nothing after a convolution."""

    def total(self, graph: Graph) -> Estimate:
        kinds = ["", *(op.kind for op in graph.ops)]
        kept = [op for op, before in zip(graph.ops, kinds, strict=False) if not (op.kind == "relu" and before == "conv")]
        return summed(self, Graph("kept", kept))


CANDIDATES = [[conv(3), conv(5), nn.Identity()], [nn.Sequential(conv(1), nn.ReLU()), nn.Sequential(conv(7), nn.ReLU())]]


def supernet() -> nn.Sequential:
    return nn.Sequential(conv(5), nn.ReLU(), Choice(CANDIDATES[0]), Custom(weighted_sum), Choice(CANDIDATES[1]))


def test_sources() -> None:
    assert isinstance(Times(), LatencySource)


@pytest.mark.parametrize(("source", "within"), [(Times(), 1e-9), (Pairs(), 1e-9), (Roofline("rtx4090"), 1e-3)])
def test_a_vertex_is_the_total_of_its_network(source: LatencySource, within: float) -> None:
    """But for what a source sees across the border of a candidate, such as values that are still in a cache."""
    net = supernet()
    model = latency_model(net, source, X)
    assert model.metrics[-1] == "seconds"
    architectures = torch.tensor(list(product(range(3), range(2), range(2))))
    batch = model("seconds", architectures)
    for architecture, together in zip(architectures.tolist(), batch, strict=True):
        chosen = nn.Sequential(
            net[0], net[1], *(choice.candidates[index] for choice, index in zip(list(net)[2:], architecture, strict=True))
        )
        wanted = source.total(trace(chosen, (torch.empty(1, 4, 8, 8),), {})).seconds
        assert model("seconds", architecture).item() == together.item() == pytest.approx(wanted, rel=within)
        assert model("macs", architecture).item() == cost_model(net, X)("macs", architecture).item()
    assert model.minimum("seconds").value == pytest.approx(batch.min().item())
    assert model.maximum("seconds").value == pytest.approx(batch.max().item())


def test_the_expectation_is_the_mean_over_networks() -> None:
    net = supernet()
    model = latency_model(net, Times(), X)
    with torch.no_grad():
        for _, module in sorted(net.named_modules()):
            if hasattr(module, "alpha"):
                module.alpha.copy_(torch.randn(len(module.alpha), generator=torch.Generator().manual_seed(0)))
    rows = [choice.probabilities().detach().double() for choice in list(net)[2:]]
    wanted, squares = 0.0, 0.0
    for architecture in product(range(3), range(2), range(2)):
        probability = torch.stack([row[index] for row, index in zip(rows, architecture, strict=True)]).prod().item()
        seconds = model("seconds", list(architecture)).item()
        wanted += probability * seconds
        squares += probability * seconds**2
    assert model("seconds").item() == pytest.approx(wanted, rel=1e-6)
    assert model.variance("seconds").item() == pytest.approx(squares - wanted**2, rel=1e-5)
    assert sum(row.expected for row in model.contributions("seconds")) == pytest.approx(wanted, rel=1e-6)


def test_the_gradient_is_that_of_finite_differences() -> None:
    net = supernet().double()
    model = latency_model(net, Times(), X)
    model("seconds").backward()
    for choice in list(net)[2:]:
        for index in range(len(choice.alpha)):
            ends = []
            for step in (1e-4, -1e-4):
                with torch.no_grad():
                    choice.alpha[index] += step
                    ends.append(model("seconds").item())
                    choice.alpha[index] -= step
            assert choice.alpha.grad[index].item() == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-5, abs=1e-13)
    assert net[2].alpha.grad.abs().max() > 1e-8


def test_candidates_are_graphs_of_their_own() -> None:
    net = nn.Sequential(conv(5), nn.ReLU(), conv(3))
    graph = trace(net, (torch.empty(1, 4, 8, 8),), {})
    found = alone(graph, graph.ops[1:])
    found.verify()
    assert [op.kind for op in found.ops] == ["relu", "conv"]
    assert found.inputs[0].id == graph.ops[0].outputs[0].id
    assert found.ops[1].inputs[0].producer == 0
    assert graph.ops[2].index == 2


def test_what_is_unknown_is_said() -> None:
    net = nn.Sequential(Choice([nn.Sequential(conv(3), nn.Flatten(0, 1)), nn.Sequential(conv(1), nn.Flatten(0, 1))]))
    model = latency_model(net, Times(), X)
    assert any("the time of 2 ops is not known, so that all seconds are lower bounds: 2 flatten" in note for note in model.notes)
    assert not any("not known" in note for note in latency_model(supernet(), Times(), X).notes)


def test_it_is_kept_and_shown(tmp_path: Path) -> None:
    model = latency_model(supernet(), Times(), X)
    assert "seconds" in str(model)
    model.save(tmp_path / "model.json")
    again = CostModel.load(tmp_path / "model.json")
    assert again("seconds", [0, 1, 1]).item() == model("seconds", [0, 1, 1]).item()
    plain = cost_model(supernet(), X)
    with pytest.raises(OptionError, match=r"no metric 'seconds'.*latency_model makes one"):
        plain("seconds")
    plain.save(tmp_path / "plain.json")
    assert CostModel.load(tmp_path / "plain.json").metrics == plain.metrics


def _table() -> tuple[BlockTable, list[Block]]:
    blocks = [Block("expanded_conv", (8, 8, 4), (8, 8, 4), ratio, kernel, 1, 1) for ratio in (3, 6) for kernel in (3, 5, 7)]
    times = [Estimate(seconds, seconds, seconds) for seconds in (1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3)]
    return BlockTable("six", {block.key: time for block, time in zip(blocks, times, strict=True)}), blocks


def test_blocks_of_a_table() -> None:
    table, blocks = _table()
    choices = {"0": [*blocks, None], "1": blocks[:3], "2": [*blocks, None]}
    model = block_latency(table.of, choices, [blocks[0], blocks[1]], "chain")
    assert model.metrics == ("seconds",)
    architectures = torch.tensor([[0, 0, 6], [5, 2, 0], [6, 1, 6]])
    batch = model("seconds", architectures)
    for architecture, together in zip(architectures.tolist(), batch, strict=True):
        taken = [candidates[index] for candidates, index in zip(choices.values(), architecture, strict=True)]
        wanted = table.total_of([blocks[0], blocks[1], *(block for block in taken if block is not None)]).seconds
        assert model("seconds", architecture).item() == together.item() == pytest.approx(wanted, rel=1e-12)
    net = nn.Sequential(
        Choice([nn.Identity() for _ in range(7)]), Choice([nn.Identity() for _ in range(3)]), Choice([nn.Identity() for _ in range(7)])
    )
    expected = model.attach(net)("seconds")
    # Uniform: 21 ms over seven candidates twice, 6 ms over three, and 3 ms that are always there.
    assert expected.item() == pytest.approx((21 / 7 * 2 + 6 / 3 + 3) * 1e-3)
    expected.backward()
    alpha = net[1].alpha  # type: ignore[union-attr]
    mean = 2e-3
    assert alpha.grad is not None
    assert alpha.grad.tolist() == pytest.approx([(seconds - mean) / 3 for seconds in (1e-3, 2e-3, 3e-3)], abs=1e-9)  # of a softmax, by hand
    with pytest.raises(OptionError, match="has no time for the block"):
        block_latency(table.of, {"0": [Block("Conv", (8, 8, 3), (4, 4, 2))]})
    with pytest.raises(SupernetError, match="at least one choice"):
        block_latency(table.of, {})


def test_a_table_finds_the_blocks_of_candidates() -> None:
    table, blocks = _table()

    class Bottleneck(nn.Module):
        def __init__(self, block: Block) -> None:
            super().__init__()
            wide, kernel = block.middle, block.kernel or 0
            depthwise = nn.Conv2d(wide, wide, kernel, padding=kernel // 2, groups=wide)
            self.layers = nn.Sequential(nn.Conv2d(4, wide, 1), nn.ReLU6(), depthwise, nn.ReLU6(), nn.Conv2d(wide, 4, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.layers(x)

    net = nn.Sequential(*(Choice([Bottleneck(block) for block in blocks]) for _ in range(2)))
    model = latency_model(net, table, X)
    assert model("seconds", [1, 5]).item() == pytest.approx(2e-3 + 6e-3)
    assert model("seconds").item() == pytest.approx(2 * 3.5e-3)
    assert not any("not known" in note for note in model.notes)


def test_the_pixel_1_table_of_proxylessnas(data: Path) -> None:
    """A block of its space with its seven candidates: the expectation is the mean of what the file says."""
    pytest.importorskip("yaml")
    table = BlockTable.load(data / "nas" / "proxylessnas" / "mobile_trim.yaml")
    blocks: list[Block | None] = [
        Block("expanded_conv", (14, 14, 80), (14, 14, 80), ratio, kernel, 1, 1) for ratio in (3, 6) for kernel in (3, 5, 7)
    ]
    model = block_latency(table.of, {"block": [*blocks, None]})
    uniform = torch.full((1, 7), 1 / 7, dtype=torch.float64)
    assert model("seconds", uniform).item() == pytest.approx(sum(table.of(block).seconds for block in blocks if block) / 7, rel=1e-9)
