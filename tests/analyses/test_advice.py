"""The four guidelines of ShuffleNetV2 against arithmetic written out here: tables 1 and 2 of the paper, searches, graphs made by hand."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt, sqrt

import pytest
import torch
from torch import nn

import flopscope
from flopscope.analyses.advice.equal_widths import least_access
from flopscope.analyses.advice.fragments import profile
from flopscope.analyses.advice.groups import groups
from flopscope.analyses.advice.layers import Layer, layer_of, root_up
from flopscope.report import Advice
from nas.genotype import Genotype
from nas.models import mobilenet_v1, mobilenet_v2, shufflenet_v1, shufflenet_v2
from nas.spaces.darts.network import CellNetwork, NetworkShape

SIDE = 56
PAPER_WIDTHS = {1: (128, 128), 2: (90, 180), 6: (52, 312), 12: (36, 432)}
"""Table 1 of the paper, 1x batch on a GPU: c1 and c2 by their ratio."""
PAPER_GROUPS = {1: 128, 2: 180, 4: 256, 8: 360}
"""Table 2 of the paper: channels by groups."""


def conv(c1: int, c2: int, **options: int) -> nn.Module:
    return nn.Conv2d(c1, c2, 1, bias=False, **options)


def advise(model: nn.Module, shape: str) -> Advice:
    return flopscope.analyze(model.eval(), shape).advise()


def layer(model: nn.Module, shape: str) -> Layer:
    found = layer_of(flopscope.analyze(model.eval(), shape).graph.ops[0].signature)
    assert found is not None
    return found


@pytest.mark.parametrize("ratio", PAPER_WIDTHS)
def test_table_1(ratio: int) -> None:
    """The access of each row against the bound of the paper, in floating point."""
    c1, c2 = PAPER_WIDTHS[ratio]
    hw = SIDE * SIDE
    report = flopscope.analyze(conv(c1, c2).eval(), f"1x{c1}x{SIDE}x{SIDE}")
    macs = hw * c1 * c2
    access, bound = hw * (c1 + c2) + c1 * c2, 2 * sqrt(hw * macs) + macs / hw
    assert (report.total.macs, report.total.access) == (macs, access)
    assert least_access(layer(conv(c1, c2), f"1x{c1}x{SIDE}x{SIDE}")) == pytest.approx(bound, abs=1)
    found = report.advise()["G1"]
    assert found.amount == pytest.approx(4 * (access - bound), abs=4)
    assert found.kept == (found.amount == 0) == (ratio == 1)


def test_the_rows_of_table_1_have_almost_equal_macs_and_ever_more_access() -> None:
    rows = [(c1 * c2, c1 + c2) for c1, c2 in PAPER_WIDTHS.values()]
    assert max(product for product, _ in rows) < 1.06 * min(product for product, _ in rows)
    excess = [advise(conv(*widths), f"1x{widths[0]}x{SIDE}x{SIDE}")["G1"].share for widths in PAPER_WIDTHS.values()]
    assert excess == sorted(excess)
    assert excess[-1] > 0.4


@pytest.mark.parametrize("product", [1, 7, 36, 60, 97, 360, 1024])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (49, 49), (64, 16), (3, 50)])
def test_no_widths_go_under_the_bound(product: int, before: int, after: int) -> None:
    """All whole widths with the same product, over positions that a stride may change: none under the bound, and equal sizes are on it."""
    accesses = {}
    for c1 in (c for c in range(1, product + 1) if product % c == 0):
        c2 = product // c1
        # The weights are the same for all: what varies is the input and the output.
        accesses[before * c1, after * c2] = before * c1 + after * c2
    least = root_up(4 * before * after * product)
    assert min(accesses.values()) >= least > 2 * sqrt(before * after * product) - 1
    for (read, written), access in accesses.items():
        assert (access == least) or read != written


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 15, 16, 17, 10**40, 10**40 + 1])
def test_the_root_is_rounded_up_exactly(number: int) -> None:
    root = root_up(number)
    assert root * root >= number
    assert root == 0 or (root - 1) ** 2 < number
    assert root - isqrt(number) in (0, 1)


BATCH, TOKENS = 3, 50
CASES: list[tuple[nn.Module, str, int, int, int]] = [
    # the model, its input, positions in, positions out, groups
    (conv(16, 24), f"{BATCH}x16x10x10", BATCH * 100, BATCH * 100, 1),
    (conv(16, 24, stride=2), "1x16x10x10", 100, 25, 1),
    (conv(16, 24, groups=4), "1x16x10x10", 100, 100, 4),
    (nn.Conv1d(16, 24, 1, bias=False), "2x16x7", 14, 14, 1),
    (nn.Conv3d(16, 24, 1, bias=False), "1x16x2x3x4", 24, 24, 1),
    (nn.ConvTranspose2d(16, 24, 1, bias=False), "1x16x10x10", 100, 100, 1),
    (nn.Linear(16, 24, bias=False), f"{BATCH}x{TOKENS}x16", BATCH * TOKENS, BATCH * TOKENS, 1),
]


@pytest.mark.parametrize(("model", "shape", "before", "after", "in_groups"), CASES)
def test_the_bound_in_all_forms(model: nn.Module, shape: str, before: int, after: int, in_groups: int) -> None:
    """2 sqrt(g p B) + B / q, from the multiply-accumulates alone."""
    report = flopscope.analyze(model.eval(), shape)
    macs = report.total.macs
    assert macs == after * 16 * 24 // in_groups
    access = before * 16 + after * 24 + macs // after
    assert report.total.access == access
    bound = 2 * sqrt(in_groups * before * macs) + macs / after
    assert least_access(layer(model, shape)) == pytest.approx(bound, abs=1)
    assert report.advise()["G1"].amount == pytest.approx(4 * (access - bound), abs=4)


def test_matrix_products_with_one_matrix_are_layers() -> None:
    weight = torch.zeros(16, 24)
    for product in (lambda x: x @ weight, lambda x: torch.addmm(torch.zeros(24), x, weight)):
        assert flopscope.analyze(product, "50x16").advise()["G1"].facts["layers"] == 1
    both = flopscope.analyze(lambda q, k: q @ k.transpose(-1, -2), "2x4x50x16", "2x4x50x16")
    assert both.advise()["G1"].facts["layers"] == 0


@pytest.mark.parametrize("in_groups", PAPER_GROUPS)
def test_table_2(in_groups: int) -> None:
    """Equal FLOPs: what a layer in groups accesses above one with the channels over the root of the groups."""
    channels, hw = PAPER_GROUPS[in_groups], SIDE * SIDE
    report = flopscope.analyze(conv(channels, channels, groups=in_groups).eval(), f"1x{channels}x{SIDE}x{SIDE}")
    access, macs = 2 * hw * channels + channels**2 // in_groups, hw * channels**2 // in_groups
    assert (report.total.access, report.total.macs) == (access, macs)
    # One group: c such that hw c^2 = macs.
    one_group = 2 * hw * sqrt(macs / hw) + macs / hw
    found = groups(report.graph)
    assert found.amount == pytest.approx(4 * (access - one_group), abs=4)
    assert found.kept == (in_groups == 1)
    # Equation 2: the same input, the output over the groups.
    same_input = hw * channels + hw * channels / in_groups + macs / hw
    assert found.facts["excess_bytes_same_input"] == pytest.approx(4 * (access - same_input) if in_groups > 1 else 0, abs=4)


def test_the_groups_of_table_2_against_128_channels_in_one() -> None:
    """Where the root of the groups is whole the other layer exists, and its access can be counted too."""
    in_four = flopscope.analyze(conv(256, 256, groups=4).eval(), f"1x256x{SIDE}x{SIDE}")
    in_one = flopscope.analyze(conv(128, 128).eval(), f"1x128x{SIDE}x{SIDE}")
    assert in_four.total.macs == in_one.total.macs
    assert in_four.advise()["G2"].amount == in_four.total.access_bytes - in_one.total.access_bytes


def test_depthwise_convolutions_are_elementwise_and_not_groups() -> None:
    found = advise(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), "1x8x4x4")
    assert found["G2"].amount == 0
    assert found["G4"].amount == 4 * (8 * 16 + 8 * 16 + 8 * 9)


class Branches(nn.Module):
    """Side by side in 1, 2 and 3 convolutions, summed, as fragments are in table 3 of the paper."""

    def __init__(self, *depths: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(conv(8, 8) for _ in range(depth))) for depth in depths)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum((branch(x) for branch in self.branches), torch.zeros_like(x))


@pytest.mark.parametrize(
    ("depths", "text", "widths", "extra"),
    [
        ((1,), "1-fragment", (1,), 0),
        ((2,), "2-fragment-series", (1, 1), 0),
        ((4,), "4-fragment-series", (1, 1, 1, 1), 0),
        ((1, 1), "2-fragment-parallel", (2,), 0),
        ((1, 1, 1, 1), "4-fragment-parallel", (4,), 3),
        ((1, 2, 3), "6 fragments in 3 steps, up to 3 at once", (3, 2, 1), 3),
    ],
)
def test_fragments_of_the_blocks_of_table_3(depths: tuple[int, ...], text: str, widths: tuple[int, ...], extra: int) -> None:
    report = flopscope.analyze(nn.Sequential(Branches(*depths), nn.Conv2d(8, 8, 3)).eval(), "1x8x6x6")
    found = report.advise()["G3"]
    assert [place.scope for place in found.places] == (["0"] if extra else [])
    block = [op for op in report.graph.ops if op.scope.startswith("0")]
    assert (str(profile(block)), profile(block).widths) == (text, widths)
    assert (found.amount, found.total, found.kept) == (extra, sum(depths) + 1, not extra)
    assert found.facts["widths"] == [*widths, 1]


def test_a_module_that_is_called_in_turn_is_not_fragmented() -> None:
    """The second call depends on the first through an op outside of it."""

    class Turns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = conv(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(5):
                x = self.shared(x).relu()
            return x

    found = advise(Turns(), "1x8x6x6")["G3"]
    assert found.kept
    assert found.facts["widths"] == [1] * 5


def test_a_long_chain_with_a_little_beside_it_is_no_fragmented_block() -> None:
    """Three at once in both: 6 fragments in 4 steps are 1.5 per step, 7 in 5 are fewer."""
    assert advise(Branches(4, 1, 1), "1x8x6x6")["G3"].amount == 2
    assert advise(Branches(5, 1, 1), "1x8x6x6")["G3"].kept


def test_what_is_computed_from_weights_alone_lies_beside_nothing() -> None:
    class FromTables(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4, bias=False) for _ in range(4))
            self.table = nn.Parameter(torch.zeros(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = x @ layer(self.table)
            return x

    found = advise(FromTables(), "2x4")["G3"]
    assert (found.kept, found.facts["widths"]) == (True, [1] * 4)


def test_layers_that_read_the_same_tensor_are_counted() -> None:
    found = advise(Branches(1, 1, 1), "1x8x6x6")["G3"]
    assert "3 could be one op" in found.places[0].what


def test_elementwise_shares_summed_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8, padding=1))
    found = advise(model, "1x3x10x10")["G4"]
    image, maps = 3 * 100, 8 * 100
    convolution = 4 * (image + maps + 8 * 3 * 9)
    norm, relu, depthwise = 4 * (2 * maps + 4 * 8), 4 * 2 * maps, 4 * (2 * maps + 8 * 9 + 8)
    assert (found.amount, found.total) == (norm + relu + depthwise, convolution + norm + relu + depthwise)
    groups_of = {name: facts["access_bytes"] for name, facts in found.facts["groups"].items()}
    assert groups_of == {"normalisation": norm, "activations": relu, "depthwise convolutions": depthwise}
    flops = (4 * maps + 2 * 8) + maps + (2 * 9 * maps + maps)
    assert (found.facts["flops"], found.facts["total_flops"]) == (flops, flops + 2 * maps * 27)
    # Between the convolution, the normalisation and the activation a value each is not stored.
    assert (found.facts["fusable_bytes"], found.facts["foldable_batch_norms"]) == (2 * 2 * 4 * maps, 1)


def test_what_is_read_twice_is_not_fused() -> None:
    def residual(x: torch.Tensor) -> torch.Tensor:
        return (y := x.exp()) + y.relu()

    # Only the activation is read once; the exponential is read by two.
    assert flopscope.analyze(residual, "1x8").advise()["G4"].facts["fusable_bytes"] == 2 * 4 * 8


def test_a_chain_of_equal_convolutions_follows_the_guidelines() -> None:
    found = advise(nn.Sequential(*(conv(32, 32) for _ in range(6))), "1x32x8x8")
    assert found.kept
    assert all(finding.amount == 0 for finding in found.findings)


BASELINES: list[tuple[Callable[[], nn.Module], set[str]]] = [
    (mobilenet_v1, {"G4"}),
    (mobilenet_v2, {"G1", "G4"}),
    (shufflenet_v1, {"G1", "G2", "G4"}),
    (shufflenet_v2, {"G4"}),
    (lambda: shufflenet_v2(0.5), {"G4"}),
    (lambda: shufflenet_v2(2.0), {"G4"}),
]


@pytest.mark.parametrize(("factory", "broken"), BASELINES)
def test_the_paper_on_the_networks_of_its_time(factory: Callable[[], nn.Module], broken: set[str]) -> None:
    """Section 2, conclusion: ShuffleNetV1 breaks G1 and G2, MobileNetV2 G1 and G4; section 3: ShuffleNetV2 follows G1 to G3."""
    found = advise(factory(), "1x3x224x224")
    assert {finding.guideline for finding in found.findings if not finding.kept} == broken


def test_cells_that_were_searched_are_fragmented() -> None:
    """The normal cell of DARTS (Liu et al. 2019, arXiv:1806.09055, figure 4), its fragments counted by hand.

    Two 1x1 convolutions before it, then five separable convolutions of four convolutions each side by side, of which one goes on to a
    dilated convolution of two.
    """
    sep, skip = "sep_conv_3x3", "skip_connect"
    edges = ((sep, 0), (sep, 1), (sep, 0), (sep, 1), (sep, 1), (skip, 0), (skip, 0), ("dil_conv_3x3", 2))
    cells = Genotype(edges, (2, 3, 4, 5), edges, (2, 3, 4, 5))
    report = flopscope.analyze(CellNetwork(cells, NetworkShape(8, 4, "cifar"), 10).eval(), "1x3x32x32")
    found = report.advise()["G3"]
    assert not found.kept
    assert {place.scope.rpartition(".")[0] for place in found.places} == {"cells"}
    assert sum(1 + len(place.alike) for place in found.places) == 4
    assert profile([op for op in report.graph.ops if op.scope.startswith("cells.0")]).widths == (2, 5, 5, 5, 5, 1, 1)
    first = next(place for place in found.places if "cells.0" in (place.scope, *place.alike))
    assert first.amount == (1 + len(first.alike)) * (2 + 5 * 4 + 2 - 7)


@pytest.mark.parametrize("factory", [mobilenet_v2, shufflenet_v1])
def test_places_add_up(factory: Callable[[], nn.Module]) -> None:
    for finding in advise(factory(), "1x3x64x64").findings:
        assert sum(place.amount for place in finding.places) == finding.amount
        assert [place.amount for place in finding.places] == sorted((place.amount for place in finding.places), reverse=True)


def test_the_widths_that_are_proposed_have_the_same_product() -> None:
    """Of a layer that makes the output, whose width the task gives, none are proposed."""
    places = advise(nn.Sequential(conv(16, 64), conv(64, 4, stride=2)), "1x16x8x8")["G1"].places
    assert {place.what for place in places} == {
        "16 -> 64 at 64 positions; least at 32 -> 32",
        "64 -> 4 at 64 to 16 positions; makes the output",
    }


def test_half_the_bytes_in_half_precision() -> None:
    full, half = (advise(conv(16, 64).to(dtype), "1x16x8x8")["G1"] for dtype in (torch.float32, torch.float16))
    assert full.amount == 2 * half.amount == 4 * (64 * 80 - 2 * 64 * 32)
