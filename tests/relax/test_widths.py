"""The cost at other widths: against networks that are built with them, and against arithmetic."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import flopscope
from flopscope.cost import METRICS
from flopscope.errors import InputError, OptionError
from flopscope.relax import Widths, widths
from tests.relax.mobilenet_v1 import MobileNetV1
from tests.relax.surgery import resized

IMAGE = "1x3x64x64"
models = torchvision.models


def built(name: str, **settings: Any) -> nn.Module:
    with flopscope.building():
        return getattr(models, name)(weights=None, **settings).eval()


def counts(model: nn.Module, *inputs: Any) -> dict[str, int]:
    total = flopscope.analyze(model, *inputs).total
    return {metric: getattr(total, metric) for metric in METRICS}


def relaxed_counts(w: Widths, sizes: Any = None) -> dict[str, int]:
    return {metric: int(w.cost(metric, sizes)) for metric in METRICS}


def names(w: Widths) -> list[tuple[str, int, int]]:
    return [(group.name, group.size, group.granularity) for group in w.groups]


# -- every variant that can be built ------------------------------------------------------------------------


def shufflenet(*stages: int) -> nn.Module:
    with flopscope.building():
        return models.shufflenetv2.ShuffleNetV2([4, 8, 4], list(stages)).eval()


def mnasnet(alpha: float) -> nn.Module:
    with flopscope.building():
        return models.mnasnet.MNASNet(alpha).eval()


def mobilenet_v1(multiplier: float) -> nn.Module:
    with flopscope.building():
        return MobileNetV1(multiplier).eval()


def resnext50(width_per_group: int) -> nn.Module:
    with flopscope.building():
        return models.ResNet(models.resnet.Bottleneck, [3, 4, 6, 3], groups=32, width_per_group=width_per_group).eval()


STEPS = [step / 20 for step in range(2, 41)]
FAMILIES: dict[str, list[Callable[[], nn.Module]]] = {
    "mobilenet_v1": [lambda a=a: mobilenet_v1(a) for a in (1.0, 0.75, 0.5, 0.25, *STEPS)],
    "mobilenet_v2": [lambda a=a: built("mobilenet_v2", width_mult=a) for a in (1.0, 1.4, 0.75, 0.5, 0.35, *STEPS)],
    "shufflenet_v2": [
        *(lambda n=n: built(f"shufflenet_v2_{n}") for n in ("x1_0", "x0_5", "x1_5", "x2_0")),
        lambda: shufflenet(24, 48, 100, 176, 300),
        lambda: shufflenet(10, 34, 62, 130, 7),
    ],
    "mnasnet": [*(lambda n=n: built(f"mnasnet{n}") for n in ("1_0", "0_5", "0_75", "1_3")), *(lambda a=a: mnasnet(a) for a in STEPS)],
    "resnet50": [
        *(lambda n=n: built(n) for n in ("resnet50", "wide_resnet50_2")),
        *(lambda g=g: built("resnet50", width_per_group=g) for g in (8, 24, 100, 256)),
    ],
    "resnet101": [lambda: built("resnet101"), lambda: built("wide_resnet101_2"), lambda: built("resnet101", width_per_group=32)],
    "resnext50": [lambda w=w: resnext50(w) for w in (4, 8, 3, 13)],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_variant_costs_what_it_costs_when_it_is_built(family: str) -> None:
    """One batched call for all variants of one structure, to the last MAC, parameter and byte.

    With some small multipliers two stages get equal widths, and the builder adds a residual connection between them. These variants are
    another structure, which is said, and they are checked among themselves.
    """
    variants = [build() for build in FAMILIES[family]]
    structures = 0
    while variants:
        w = widths(variants[0], IMAGE)
        alike, others = apart(w, variants)
        sizes = torch.stack([w.sizes_of(variant) for variant in alike])
        expected = [counts(variant, IMAGE) for variant in alike]
        for metric in METRICS:
            found = w.cost(metric, sizes)
            assert found.dtype == torch.int64
            assert found.tolist() == [count[metric] for count in expected]
        variants = others
        structures += 1
    assert structures == {"mobilenet_v2": 3, "mnasnet": 2}.get(family, 1)


def apart(w: Widths, variants: list[nn.Module]) -> tuple[list[nn.Module], list[nn.Module]]:
    """The variants that run the same ops, and those that do not."""
    alike, others = [], []
    for variant in variants:
        try:
            w.sizes_of(variant)
            alike.append(variant)
        except InputError as error:
            if "it runs other ops" not in str(error):
                raise
            others.append(variant)
    return alike, others


# -- every structure, at random sizes -------------------------------------------------------------------------


CNNS = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "mobilenet_v2", "mobilenet_v3_small", "mnasnet1_0",
    "regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x1_0", "squeezenet1_0", "vgg11_bn",
]  # fmt: skip


@pytest.mark.parametrize("name", CNNS)
def test_random_widths_cost_what_a_rebuilt_network_costs(name: str) -> None:
    image = "1x3x128x128"
    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = built(name, **settings)
    w = widths(model, image)
    assert relaxed_counts(w) == counts(model, image)
    rng = random.Random(name)
    for _ in range(2):
        sizes = [group.granularity * rng.randint(2, 2 * group.size // group.granularity) for group in w.groups]
        variant = resized(model, w.shapes(sizes))
        assert relaxed_counts(w, sizes) == counts(variant, image)
        assert w.sizes_of(variant).tolist() == sizes


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t", "swin_v2_t", "maxvit_t"])
def test_transformers_cost_at_their_own_widths_what_the_analyzer_counts(name: str) -> None:
    model = built(name)
    image = "1x3x224x224"
    w = widths(model, image)
    assert w.groups
    assert relaxed_counts(w) == counts(model, image)


def test_llama_has_groups_of_heads() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=8, num_key_value_heads=2, vocab_size=50, head_dim=16
    )

    def llama(**changes: int) -> nn.Module:
        with flopscope.building():
            return transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**{**config.to_dict(), **changes})).eval()

    tokens = torch.zeros(1, 7, dtype=torch.int64)
    w = widths(llama(), tokens)
    # The stream, key and value heads of 16 channels (of which 4 query heads follow each), and the hidden layer.
    assert [(group.size, group.granularity) for group in w.groups] == [(64, 1), (2 * 16, 16), (96, 1)]
    for changes in ({"hidden_size": 48}, {"num_attention_heads": 16, "num_key_value_heads": 4}, {"intermediate_size": 7}):
        variant = llama(**changes)
        assert relaxed_counts(w, w.sizes_of(variant)) == counts(variant, tokens)


# -- what groups there are ------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.outer(F.relu(self.inner(x)))
        return self.head(x.mean((2, 3)))


def test_a_residual_ties_its_ends() -> None:
    w = widths(Residual(), "1x3x4x4")
    assert names(w) == [("stem", 8, 1), ("inner", 6, 1)]
    assert w.groups[0].layers == ("stem", "inner", "outer", "head")
    assert {weight for entry in w.frozen for weight in entry.weights} == {("stem.weight", 1), ("head.weight", 0), ("head.bias", 0)}
    a, b = 5, 9
    assert int(w.cost("macs", [a, b])) == 16 * (3 * a + a * b + b * a) + a * 5
    assert int(w.cost("params", [a, b])) == (3 * a + a) + (a * b + b) + (b * a + a) + (a * 5 + 5)
    assert w.shapes([a, b])["outer.weight"] == (a, b, 1, 1)


def sequential(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(1), nn.LazyLinear(2)).eval()


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)], [("0", 8, 1), ("2", 4, 1)]),
        ([nn.Conv2d(3, 8, 3), nn.Conv2d(8, 24, 3, groups=8)], [("0", 8, 1)]),
        ([nn.Conv2d(3, 8, 3), nn.Conv2d(8, 12, 3, groups=4)], [("0", 8, 4), ("1", 12, 4)]),
        ([nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8)], [("0", 8, 2)]),
        ([nn.Conv2d(3, 8, 3), nn.PixelShuffle(2)], [("0", 8, 4)]),
        ([nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 6, 2, 2)], [("0", 8, 1), ("1", 6, 1)]),
        ([nn.Conv2d(3, 8, 3), nn.GLU(1)], [("0", 8, 2)]),
        ([nn.Conv2d(3, 8, 3), nn.ChannelShuffle(4), nn.Conv2d(8, 8, 1, groups=4)], [("0", 8, 4), ("2", 8, 4)]),
        ([nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8)], [("0", 8, 1)]),
    ],
)
def test_groups_and_their_granularity(layers: list[nn.Module], expected: list[tuple[str, int, int]]) -> None:
    model = sequential(*layers)
    model(torch.zeros(1, 3, 8, 8))
    w = widths(model, "1x3x8x8")
    assert names(w) == expected
    doubled = [2 * size for _, size, _ in expected]
    assert relaxed_counts(w, doubled) == counts(resized(model, w.shapes(doubled)), "1x3x8x8")


class SplitAndJoin(nn.Module):
    """Channels are taken apart at a fixed place, and one part goes around."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.head = nn.Conv2d(3, 10, 1), nn.Conv2d(4, 5, 1), nn.Conv2d(11, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.stem(x).split([6, 4], 1)
        return self.head(torch.cat([left, self.branch(right)], 1))


def test_a_split_makes_two_groups_of_one_layer() -> None:
    w = widths(SplitAndJoin(), "1x3x2x2")
    assert names(w) == [("stem", 6, 1), ("stem", 4, 1), ("branch", 5, 1)]
    a, b, c = 3, 7, 2
    assert int(w.cost("macs", [a, b, c])) == 4 * (3 * (a + b) + b * c + (a + c) * 2)
    with pytest.raises(InputError, match=r"the outputs of 'stem' belong to the groups 0 .stem. and 1 .stem."):
        w.pruned({"stem": 0.5})


class Spectrum(nn.Module):
    """An op without a travel rule."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.second(torch.fft.fft(self.first(x)).real))


def test_what_no_rule_knows_is_frozen_and_said_so() -> None:
    model = Spectrum()
    w = widths(model, "2x4")
    assert names(w) == [("second", 6, 1)]
    reasons = {weight: entry.reason for entry in w.frozen for weight in entry.weights}
    assert reasons["first.weight", 0].startswith("no rule says how it travels")
    assert relaxed_counts(w) == counts(model, "2x4")
    with pytest.raises(InputError, match="the outputs of 'first' cannot change: no rule says"):
        w.pruned({"first": 0.5})
    assert "frozen: first.weight[0]" in str(w)


def test_a_square_is_not_mixed_up() -> None:
    """Batch, channels, height and width all are 4."""
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Flatten(2), nn.Flatten(1), nn.Linear(64, 4)).eval()
    w = widths(model, "4x4x4x4")
    assert names(w) == [("0", 4, 1), ("1", 4, 1)]
    assert relaxed_counts(w, [6, 3]) == counts(resized(model, w.shapes([6, 3])), "4x4x4x4")


# -- sizes ------------------------------------------------------------------------------------------------------


def test_scaling_rounds_as_mobilenet_does() -> None:
    w = widths(built("mobilenet_v2"), IMAGE)
    sizes = w.scaled(0.35, multiple_of=8)
    assert all(size % 8 == 0 for size in sizes.tolist())
    # 24 * 0.35 = 8.4 -> 8; 32 * 0.35 = 11.2 -> 8 would lose more than a tenth -> 16
    assert {group.size: size for group, size in zip(w.groups, sizes.tolist(), strict=True)}[24] == 8
    assert {group.size: size for group, size in zip(w.groups, sizes.tolist(), strict=True)}[32] == 16
    assert torch.equal(w.scaled(1.0), w.sizes)
    grouped = widths(built("resnext50_32x4d"), IMAGE)
    assert all(size % group.granularity == 0 for size, group in zip(grouped.scaled(0.7).tolist(), grouped.groups, strict=True))


def test_pruning_a_layer_prunes_what_depends_on_it() -> None:
    model = Residual()
    w = widths(model, "1x3x4x4")
    assert w.pruned({"outer": 0.5}).tolist() == [4, 6]
    assert w.pruned({"inner": 3, 0: 7}).tolist() == [7, 3]
    assert int(w.cost("macs", w.pruned({"outer": 0.5}))) == 16 * (3 * 4 + 2 * 4 * 6) + 4 * 5


def test_a_batch_is_a_loop() -> None:
    w = widths(built("shufflenet_v2_x1_0"), IMAGE)
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(2, 300, (50, len(w.groups)), generator=generator)
    for metric in METRICS:
        assert w.cost(metric, sizes).tolist() == [int(w.cost(metric, row)) for row in sizes]
        assert torch.equal(w.cost(metric, sizes.double()), w.cost(metric, sizes).double())


@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet_v2_x1_0", "densenet121", "vit_b_16"])
@pytest.mark.parametrize("metric", ["macs", "params", "access_bytes"])
def test_gradients_are_slopes(name: str, metric: str) -> None:
    """Fourth-order central differences in double precision."""
    w = widths(built(name), "1x3x224x224")
    sizes = (w.sizes.double() * 0.7).requires_grad_()
    (gradient,) = torch.autograd.grad(w.cost(metric, sizes), sizes)
    assert (gradient > 0).all()
    generator = torch.Generator().manual_seed(0)
    direction = torch.rand(sizes.shape, dtype=torch.float64, generator=generator)

    def at(step: float) -> Tensor:
        return w.cost(metric, sizes.detach() + step * direction)

    step = 0.5
    slope = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
    assert (gradient @ direction).item() == pytest.approx(slope.item(), rel=1e-8)


# -- what is refused ------------------------------------------------------------------------------------------------


def test_bad_sizes_are_refused() -> None:
    w = widths(sequential_with_groups(), "1x3x8x8")
    with pytest.raises(InputError, match=r"has 2 channel groups, so sizes must have the shape \[2\] or \[N, 2\], but are int64\[3\]"):
        w.cost("macs", [1, 2, 3])
    with pytest.raises(InputError, match=r"the size of group 0 \(0, 8 in the model\) must be a positive multiple of 4, but is 6"):
        w.cost("macs", [6, 12])
    with pytest.raises(InputError, match="must be a positive multiple of 4, but is 0"):
        w.cost("macs", [[8, 12], [8, 0]])
    with pytest.raises(InputError, match="must be a positive multiple of 4, but is nan"):
        w.cost("macs", [8.0, float("nan")])
    with pytest.raises(OptionError, match="there is no metric 'mac'; there are macs, flops"):
        w.cost("mac")
    with pytest.raises(InputError, match="no layer 'nothing' has weights; there are '0', '1'"):
        w.pruned({"nothing": 0.5})
    with pytest.raises(InputError, match="can keep a share above 0 and up to 1"):
        w.pruned({"0": 1.5})
    with pytest.raises(InputError, match="there are the groups 0 to 1, but 2 was asked for"):
        w.pruned({2: 0.5})
    with pytest.raises(OptionError, match="must be a positive number, but is -1"):
        w.scaled(-1)
    with pytest.raises(InputError, match="it runs other ops"):
        w.sizes_of(nn.Sequential(nn.Conv2d(3, 8, 3)))
    with pytest.raises(InputError, match="whole numbers"):
        w.shapes([8.0, 12.0])


def sequential_with_groups() -> nn.Module:
    model = sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 12, 3, groups=4))
    model(torch.zeros(1, 3, 8, 8))
    return model


def test_only_modules_have_widths() -> None:
    with pytest.raises(InputError, match=r"widths are those of a torch.nn.Module, but a function was given"):
        widths(lambda x: x, "1x3")  # type: ignore[arg-type]


# -- traps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_does_not_change_the_groups_of_a_transformer(batch: int) -> None:
    image = f"{batch}x3x64x64"
    with flopscope.building():
        large, small = (models.VisionTransformer(64, 16, 2, heads, 16 * heads, 64 * heads).eval() for heads in (4, 2))
    w = widths(large, image)
    assert relaxed_counts(w, w.scaled(0.5)) == counts(small, image)
    assert w.shapes(w.scaled(0.5))["encoder.layers.encoder_layer_0.self_attention.in_proj_weight"] == (3 * 32, 32)


class Maxout(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, channels, 1), nn.Conv2d(channels // 2, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        n, c, h, w = x.shape
        return self.b(x.view(n, c // 2, 2, h, w).amax(2))


def test_what_is_reduced_away_is_the_fixed_part_of_a_reshape() -> None:
    w = widths(Maxout(64), "1x3x8x8")
    assert names(w) == [("a", 64, 2)]
    assert relaxed_counts(w, [32]) == counts(Maxout(32), "1x3x8x8")


def test_variants_that_differ_in_more_than_widths_are_refused() -> None:
    w = widths(nn.Sequential(nn.Conv2d(3, 8, 3, stride=1), nn.Conv2d(8, 2, 1)), "1x3x9x9")
    with pytest.raises(InputError, match=r"differs from Sequential in more than its widths: with its widths alone, macs would be \d+, but"):
        w.sizes_of(nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.Conv2d(6, 2, 1)))


class WithTable(nn.Module):
    """A table in a buffer is data, a vector in a buffer has a number for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(5, 2))
        self.register_buffer("scale", torch.ones(6))
        self.first, self.second = nn.Linear(2, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(self.table) * self.scale) + x


def test_buffers_are_tables_or_vectors() -> None:
    w = widths(WithTable(), "5x3")
    assert names(w) == [("first", 6, 1)]
    assert int(w.cost("macs", [4])) == 5 * (2 * 4 + 4 * 3)


def test_at_a_size_of_one_a_copy_may_be_a_view() -> None:
    w = widths(built("shufflenet_v2_x1_0"), IMAGE)
    ones = torch.ones_like(w.sizes)
    assert int(w.cost("params", ones)) > 0
    with pytest.raises(InputError, match="would be laid out in memory in another way"):
        w.cost("access_bytes", ones)


def test_counts_that_do_not_fit_are_refused() -> None:
    w = widths(Residual(), "1x3x4x4")
    with pytest.raises(InputError, match="macs do not fit into 64 bits"):
        w.cost("macs", [2**31, 2**31])
    assert w.cost("macs", [2.0**31, 2.0**31]).item() == pytest.approx(16 * 2 * 2.0**62, rel=1e-8)
    for bad in ("x", [None, 1], [[1, 2], [3]]):
        with pytest.raises(InputError, match="sizes must be a tensor of numbers"):
            w.cost("macs", bad)  # type: ignore[arg-type]
    for call in (lambda: w.scaled(float("inf")), lambda: w.scaled(0.5, 2.5), lambda: w.pruned({"inner": 0.5}, 0)):  # type: ignore[arg-type]
        with pytest.raises(OptionError):
            call()
    with pytest.raises(InputError, match="can keep a share"):
        w.pruned({"inner": "half"})  # type: ignore[dict-item]


def test_wrong_kinds_of_things_are_refused() -> None:
    w = widths(Residual(), "1x3x4x4")
    with pytest.raises(InputError, match="what to keep is given by layer"):
        w.pruned("inner")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="0 and 'outer' are one group, so only one of them can be given"):
        w.pruned({"outer": 0.5, 0: 0.7})
    with pytest.raises(OptionError, match="a multiplier must be a positive number, but is 'x'"):
        w.scaled("x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"sizes are those of a torch.nn.Module, but a str was given"):
        w.sizes_of("x")  # type: ignore[arg-type]
    other = Residual()
    other.head = nn.Linear(8, 7)
    with pytest.raises(InputError, match=r"dimension 0 of 'head.weight' is 7, where it is frozen at 5"):
        w.sizes_of(other)
