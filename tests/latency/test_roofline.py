"""Rooflines worked out by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import flopscope
from flopscope.errors import OptionError
from flopscope.graph import Graph, Op, Signature, Tensor, TensorType
from flopscope.latency.ceilings import assumed, parse_ceilings, read_ceilings
from flopscope.latency.device import device
from flopscope.latency.kernels import kernels
from flopscope.latency.roofline import Roofline
from flopscope.latency.source import LatencySource, summed
from flopscope.report.latency import Latency
from tests.latency.devices import FULL, PLAIN, with_cache


def graph_of(model, *inputs):
    return flopscope.analyze(model, *inputs).graph


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)

    def forward(self, x):
        y = torch.relu(x)
        return torch.relu(self.conv(y) + y)


def test_a_linear_layer_that_memory_binds():
    graph = graph_of(nn.Linear(64, 32, bias=False), "16x64")
    (timed,) = Roofline(PLAIN, FULL).timed(graph)
    assert timed.compute_seconds == pytest.approx(2 * 16 * 64 * 32 / 1e12)
    assert timed.memory_seconds == pytest.approx(4 * (16 * 64 + 64 * 32 + 16 * 32) / 1e11)
    assert timed.seconds == pytest.approx(timed.memory_seconds + 1e-5)
    assert timed.binds == "launch"


def test_a_large_product_that_arithmetic_binds():
    graph = graph_of(nn.Linear(4096, 4096, bias=False), "4096x4096")
    (timed,) = Roofline(PLAIN, FULL).timed(graph)
    assert timed.binds == "compute"
    assert timed.seconds == pytest.approx(2 * 4096**3 / 1e12 + 1e-5)
    total = Roofline(PLAIN, FULL).total(graph)
    assert (total.low, total.high) == (pytest.approx(total.seconds / 4), pytest.approx(total.seconds * 4))  # one kernel: the square


def test_launches_have_a_bar_of_their_own():
    graph = graph_of(nn.Sequential(*[nn.ReLU()] * 50), "25000")
    found = Roofline(PLAIN, replace(FULL, launch_factor=5.0)).total(graph)
    moving, launching = 50 * 2 * 4 * 25_000 / 1e11, 50 * 1e-5
    assert found.seconds == pytest.approx(moving + launching)
    assert found.high == pytest.approx(2 * moving + 5 * launching)
    assert found.low == pytest.approx(moving / 2 + launching / 5)


def test_many_kernels_have_the_bar_of_a_model():
    total = Roofline(PLAIN, FULL).total(graph_of(nn.Sequential(*[nn.ReLU()] * 50), "1000"))
    assert (total.low, total.high) == (pytest.approx(total.seconds / 2), pytest.approx(total.seconds * 2))
    few = Roofline(PLAIN, FULL).total(graph_of(nn.Sequential(*[nn.ReLU()] * 4), "1000"))
    assert few.high == pytest.approx(few.seconds * (1 + 3 / 4**0.5))  # four independent errors of three times the time


def test_what_does_not_overlap_is_added():
    graph = graph_of(nn.Linear(4096, 4096, bias=False), "4096x4096")
    compute, memory = 2 * 4096**3 / 1e12, 3 * 4 * 4096**2 / 1e11
    for overlap in (0.0, 0.25, 1.0):
        found = Roofline(PLAIN, replace(FULL, overlap=overlap, launch_seconds=0.0)).total(graph)
        assert found.seconds == pytest.approx(compute + (1 - overlap) * memory)


def test_parts_of_the_peaks_lengthen_what_they_bind():
    graph = graph_of(nn.Linear(4096, 4096, bias=False), "4096x4096")
    slower = replace(FULL, compute={**FULL.compute, "matmul": 0.5, "conv": 0.1}, launch_seconds=0.0)
    assert Roofline(PLAIN, slower).total(graph).seconds == pytest.approx(2 * 2 * 4096**3 / 1e12)


def test_families_of_convolutions():
    layers = [
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 8, 3, groups=2),
        nn.ConvTranspose2d(8, 8, 2),
    ]
    found = [kernels(graph_of(layer, "1x8x9x9"))[0].family for layer in layers]
    assert found == ["conv1x1", "conv", "depthwise", "grouped", "conv"]
    model = nn.Sequential(nn.LayerNorm(8), nn.GELU(), nn.Softmax(-1), nn.AvgPool1d(2), nn.Linear(4, 4))
    assert [kernel.family for kernel in kernels(graph_of(model, "2x3x8"))] == ["norm", "elementwise", "reduction", "pooling", "matmul"]


def test_views_take_no_time():
    assert kernels(graph_of(nn.Flatten(), "2x3x4")) == []
    assert Roofline(PLAIN, FULL).total(graph_of(nn.Flatten(), "2x3x4")).seconds == 0


# -- fusion ---------------------------------------------------------------------------------------------------------


def test_a_chain_of_elementwise_ops_is_one_kernel():
    graph = graph_of(lambda x: torch.relu(x).mul(2).add(1), "100x100")
    eager, fused = kernels(graph), kernels(graph, runtime="compile")
    assert [kernel.memory_bytes for kernel in eager] == [2 * 40_000] * 3
    assert [(kernel.ops, kernel.memory_bytes) for kernel in fused] == [((0, 1, 2), 2 * 40_000)]
    assert fused[0].vector_flops == sum(kernel.vector_flops for kernel in eager)


def test_nothing_is_fused_around_a_convolution():
    graph = graph_of(Residual(), "1x4x8x8")
    fused = kernels(graph, runtime="compile")
    # relu; the convolution; the sum, with the second relu: it reads the result of both and writes one.
    assert [kernel.ops for kernel in fused] == [(0,), (1,), (2, 3)]
    size = 4 * 4 * 8 * 8
    assert [kernel.memory_bytes for kernel in fused] == [2 * size, 2 * size + 4 * 4 * 4 * 9, 3 * size]


def test_what_is_returned_is_written():
    graph = graph_of(lambda x: (torch.relu(x), torch.relu(x).exp()), "100")
    both = graph_of(lambda x: (y := torch.relu(x), y.exp()), "100")
    assert sum(kernel.memory_bytes for kernel in kernels(both, runtime="compile")) == 3 * 400
    assert sum(kernel.memory_bytes for kernel in kernels(graph, runtime="compile")) == 2 * 400 + 2 * 400


# -- the cache ------------------------------------------------------------------------------------------------------


def test_what_was_just_written_is_read_from_the_cache():
    graph = graph_of(lambda x: torch.relu(x).exp(), "1024")
    assert [(k.memory_bytes, k.cache_bytes) for k in kernels(graph, cache_bytes=20_000)] == [(4096, 4096), (4096, 4096)]
    assert [(k.memory_bytes, k.cache_bytes) for k in kernels(graph, cache_bytes=4096)] == [(8192, 0), (8192, 0)]


def test_weights_stay_in_a_cache_that_holds_a_whole_run():
    graph = graph_of(nn.Linear(64, 32, bias=False), "16x64")
    weight, rest = 4 * 64 * 32, 4 * (16 * 64 + 16 * 32)
    (kernel,) = kernels(graph, cache_bytes=weight + rest)
    assert (kernel.memory_bytes, kernel.cache_bytes) == (rest, weight)
    (kernel,) = kernels(graph, cache_bytes=weight + rest - 1)
    assert (kernel.memory_bytes, kernel.cache_bytes) == (weight + rest, 0)
    (timed,) = Roofline(with_cache(weight + rest), FULL).timed(graph)
    assert timed.cache_seconds == pytest.approx(weight / 1e12)


# -- mixed precision ------------------------------------------------------------------------------------------------


def test_autocast_casts_what_contractions_read():
    graph = graph_of(nn.Sequential(nn.Linear(64, 32, bias=False), nn.ReLU(), nn.LayerNorm(32, bias=False)), "16x64")
    found = kernels(graph, amp="float16")
    x, weight, y = 16 * 64, 64 * 32, 16 * 32
    assert [kernel.memory_bytes for kernel in found] == [
        6 * x,  # a cast from 4 bytes to 2
        6 * weight,
        2 * (x + weight + y),
        2 * 2 * y,  # relu stays in 2
        (2 + 4) * y + 4 * 32,  # a layer norm writes 4
    ]
    assert [kernel.dtype for kernel in found] == ["float32", "float32", "float16", "float32", "float32"]


def test_a_weight_is_cast_once():
    shared = nn.Linear(8, 8, bias=False)
    found = kernels(graph_of(nn.Sequential(shared, shared), "4x8"), amp="bfloat16")
    assert [kernel.memory_bytes for kernel in found] == [6 * 32, 6 * 64, 2 * (32 + 64 + 32), 2 * (32 + 64 + 32)]


def test_the_types_are_those_of_a_real_autocast():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(36, 36)

        def forward(self, x):
            y = self.bn(self.conv(x)).flatten(1)
            z = self.fc(y)
            return y, z, z + y, torch.softmax(z, -1, dtype=torch.float32)

    model = Block().eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        real = [value.element_size() for value in model(torch.rand(2, 3, 5, 5))]
    from flopscope.latency.precision import autocast_widths

    graph = graph_of(model, "2x3x5x5")
    widths = autocast_widths(graph)
    assert [widths.of(value) for value in graph.outputs] == real


# -- the whole ------------------------------------------------------------------------------------------------------


def test_it_is_a_source_of_times():
    source = Roofline(PLAIN, FULL)
    assert isinstance(source, LatencySource)
    graph = graph_of(nn.Sequential(nn.Linear(64, 32), nn.ReLU()), "16x64")
    assert summed(source, graph).seconds == pytest.approx(source.total(graph).seconds)


def test_better_devices_are_not_slower_and_more_work_is_not_faster():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=16), nn.Flatten(), nn.Linear(2304, 10)
    )
    graphs = [graph_of(model.eval(), f"{batch}x3x16x16") for batch in (1, 2, 16, 128)]
    times = [Roofline("rtx4090").total(graph).seconds for graph in graphs]
    assert times == sorted(times)
    for better in (
        {"bandwidth_bytes_per_second": 4e11}, {"peak_flops": {"float32": 8e12}}, {"cache_bytes": 1e6}, {"cache_bytes": 1e9},
    ):  # fmt: skip
        for graph in graphs:
            assert Roofline(replace(PLAIN, **better), FULL).total(graph).seconds <= Roofline(PLAIN, FULL).total(graph).seconds
    for graph in graphs:
        assert Roofline(PLAIN, FULL, runtime="compile").total(graph).seconds < Roofline(PLAIN, FULL).total(graph).seconds


def test_without_calibration_it_says_so_and_the_bar_is_wide():
    total = Roofline("h100").total(graph_of(nn.Linear(8, 8), "1x8"))
    assert total.why.startswith("not calibrated")
    assert total.high == pytest.approx(3 * total.seconds)
    assert assumed(device("i9-10940x")).factor > assumed(device("h100")).factor


def test_what_no_rule_prices_makes_a_lower_bound():
    type = TensorType.of((4,))
    x, y, z = (Tensor(number, type) for number in range(3))
    known = Op(0, Signature("aten::relu", "relu", {"input": type}, (type,)), (x,), (y,))
    strange = Op(1, Signature("my::strange", "strange", {"input": type}, (type,)), (y,), (z,), times=3)
    source = Roofline(PLAIN, FULL)
    graph = Graph("strange", [known, strange])
    assert source.estimate(strange) is None
    assert source.total(graph).unknown == summed(source, graph).unknown == 3
    assert source.total(graph).seconds == pytest.approx(32 / 1e11 + 1e-5)
    text = Latency(graph, source).to_text("op")
    assert "at least" in text
    assert "not known" in text


@pytest.mark.parametrize(("options", "said"), [({"runtime": "jit"}, "'jit'"), ({"amp": "int4"}, "'int4'")])
def test_bad_options(options, said):
    with pytest.raises(OptionError, match=said):
        Roofline(PLAIN, **options)


def test_ceilings_come_back_from_their_file(tmp_path):
    path = tmp_path / "ceilings.json"
    path.write_text(FULL.to_json())
    assert read_ceilings(path) == FULL
    with pytest.raises(OptionError, match="No such file"):
        read_ceilings(tmp_path / "none.json")


@pytest.mark.parametrize(
    "change",
    [
        {"compute": {}}, {"compute": {**FULL.compute, "conv": 0}}, {"bandwidth": {**FULL.bandwidth, "norm": "fast"}}, {"launch_seconds": -1},
        {"overlap": 1.5}, {"factor": 0.5}, {"speed": 1}, {"launch_seconds": float("nan")},
    ],
)  # fmt: skip
def test_bad_ceilings(change):
    from dataclasses import asdict

    with pytest.raises(OptionError, match=r"x\.json holds no ceilings"):
        parse_ceilings({**asdict(FULL), **change}, "x.json")
