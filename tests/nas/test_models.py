"""Hand-made networks cost what their publications, their official code and torchvision say, and can be trained on small images."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models as tv
from torch import nn

import flopscope
from flopscope.errors import OptionError
from nas.models import mobilenet_v1, mobilenet_v2, shufflenet_v1, shufflenet_v2, squeezenet
from nas.models.layers import channel_shuffle, make_divisible

FAMILIES = re.compile(r"(?:^|:)(?:mobile|shuffle|squeeze)net", re.IGNORECASE)
OTHERS = {
    r"(timm|torchvision|pytorchcv):mobilenet_?v3_.*": "MobileNetV3 was found by a search and is no baseline made by hand",
    r"ShuffleNetV2\+ .*": "ShuffleNetV2+ is another network, with squeeze and excitation and kernels of 3, 5 and 7",
}


def cv_width(word: str) -> float:
    """The width in a name of pytorchcv: ``w3d4`` is 3/4, ``wd2`` 1/2, ``w2`` 2."""
    over, _, under = word[1:].partition("d")
    return float(Fraction(int(over or 1), int(under or 1)))


def cv_shufflenet_v2(word: str, halves: bool) -> nn.Module:
    width = cv_width(word)
    head = {1.5: 1024 * 176 // 116, 2.0: 1024 * 244 // 116}.get(width)
    return shufflenet_v2(width, halves=halves, bias=True, head=head)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    r"MobileNetV1 alpha=([\d.]+) @\d+": lambda width: mobilenet_v1(float(width)),
    r"pytorchcv:mobilenet_(w\w+)": lambda word: mobilenet_v1(cv_width(word)),
    r"MobileNetV2 alpha=([\d.]+) @\d+": lambda width: mobilenet_v2(float(width)),
    r"timm:mobilenetv2_(\d+)": lambda percent: mobilenet_v2(int(percent) / 100),
    r"timm:mobilenetv2_110d()": lambda _: mobilenet_v2(1.1, depth=1.2, fixed_ends=True),
    r"timm:mobilenetv2_120d()": lambda _: mobilenet_v2(1.2, depth=1.4, fixed_ends=True),
    r"torchvision:mobilenet_v2()": lambda _: mobilenet_v2(),
    r"pytorchcv:mobilenetv2_(w\w+)": lambda word: mobilenet_v2(cv_width(word), divisor=1, expand_first=True, bias=False),
    r"pytorchcv:mobilenetv2b_(w\w+)": lambda word: mobilenet_v2(cv_width(word), divisor=1, bias=False),
    r"ShuffleNetV1 ([\d.]+)x g=(\d)": lambda width, groups: shufflenet_v1(int(groups), float(width)),
    r"pytorchcv:shufflenet_g(\d)_(w\w+)": lambda groups, word: shufflenet_v1(int(groups), cv_width(word), bias=True),
    r"ShuffleNetV2 ([\d.]+)x": lambda width: shufflenet_v2(float(width)),
    r"torchvision:shufflenet_v2_x(\d)_(\d)": lambda *digits: shufflenet_v2(float(".".join(digits)), halves=True, bias=True),
    r"pytorchcv:shufflenetv2_(w\w+)": lambda word: cv_shufflenet_v2(word, halves=True),
    r"pytorchcv:shufflenetv2b_(w\w+)": lambda word: cv_shufflenet_v2(word, halves=False),
    r"(?:pytorchcv:squeezenet_v|torchvision:squeezenet)1_(\d)": lambda minor: squeezenet(f"1.{minor}"),
}


def costs(build: Callable[[], nn.Module], input: str = "1x3x224x224") -> tuple[int, int]:
    with flopscope.building():
        model = build()
    total = flopscope.analyze(model, input).total
    return total.params, total.macs


def mapped(name: str) -> Callable[[], nn.Module] | None:
    for pattern, factory in NETWORKS.items():
        if match := re.fullmatch(pattern, name):
            return lambda: factory(*match.groups())
    return None


def computed_rows(data: Path) -> list[dict[str, Any]]:
    rows = json.loads((data / "published" / "costs.json").read_text())
    return [row for row in rows if row["kind"].startswith("computed") and FAMILIES.search(row["name"])]


def test_every_published_row_is_mapped_or_named_as_another_network(data: Path) -> None:
    names = [row["name"] for row in computed_rows(data)]
    unknown = [name for name in names if mapped(name) is None and not any(re.fullmatch(other, name) for other in OTHERS)]
    assert names
    assert unknown == []


def test_every_mapped_row_is_equal(data: Path) -> None:
    rows = {(row["name"], row["input"]): row for row in computed_rows(data) if mapped(row["name"])}
    found = {(name, input): costs(mapped(name), input) for name, input in rows}
    assert found == {key: (row["params"], row["macs"]) for key, row in rows.items()}


@pytest.mark.parametrize(
    ("build", "params", "macs"),
    [
        (mobilenet_v1, 4_231_976, 568_740_352),
        (mobilenet_v2, 3_504_872, 300_774_272),
        (lambda: shufflenet_v1(3, bias=True), 1_865_728, 137_460_672),
        (lambda: shufflenet_v1(8, 0.5), 1_010_448, 40_469_760),
        (shufflenet_v2, 2_278_760, 145_814_296),
        (squeezenet, 1_235_496, 349_151_936),
    ],
    ids=["MobileNetV1", "MobileNetV2", "ShuffleNetV1 g=3", "ShuffleNetV1 0.5x g=8", "ShuffleNetV2", "SqueezeNet 1.1"],
)
def test_published_numbers(build: Callable[[], nn.Module], params: int, macs: int) -> None:
    assert costs(build) == (params, macs)


@pytest.mark.parametrize(
    ("groups", "width", "stem", "stages"),
    [
        (3, 0.5, 12, (120, 240, 480)),
        (3, 1.0, 24, (240, 480, 960)),
        (3, 1.5, 24, (360, 720, 1440)),
        (3, 2.0, 48, (480, 960, 1920)),
        (8, 0.5, 16, (192, 384, 768)),
        (8, 1.0, 24, (384, 768, 1536)),
        (8, 1.5, 24, (576, 1152, 2304)),
        (8, 2.0, 48, (768, 1536, 3072)),
        (1, 1.0, 24, (144, 288, 576)),
        (2, 1.0, 24, (200, 400, 800)),
        (4, 1.0, 24, (272, 544, 1088)),
    ],
)
def test_official_channels_of_shufflenet_v1(groups: int, width: float, stem: int, stages: tuple[int, int, int]) -> None:
    with flopscope.building():
        features = shufflenet_v1(groups, width).features
    assert features[0][0].out_channels == stem
    ends = (2 + 3, 2 + 3 + 8, 2 + 3 + 8 + 4)  # after the first convolution and the pooling: 4, 8 and 4 units
    assert tuple(features[end].expand[0].out_channels for end in ends) == stages


@pytest.mark.parametrize("width", [0.1, 0.25, 0.35, 0.5, 0.6, 0.75, 1.0, 1.3, 1.4, 2.0])
def test_mobilenet_v2_costs_what_torchvisions_does(width: float) -> None:
    assert costs(lambda: mobilenet_v2(width)) == costs(lambda: tv.mobilenet_v2(width_mult=width))


@pytest.mark.parametrize("width", [0.5, 1.0, 1.5, 2.0])
def test_shufflenet_v2_in_halves_costs_what_torchvisions_does(width: float) -> None:
    theirs = getattr(tv, f"shufflenet_v2_x{str(width).replace('.', '_')}")
    assert costs(lambda: shufflenet_v2(width, halves=True, bias=True)) == costs(theirs)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("input", ["1x3x224x224", "1x3x97x130"])
def test_squeezenet_costs_what_torchvisions_does(version: str, input: str) -> None:
    theirs = getattr(tv, f"squeezenet{version.replace('.', '_')}")
    assert costs(lambda: squeezenet(version), input) == costs(theirs, input)


SMALLEST: dict[str, Callable[..., nn.Module]] = {
    "mobilenet_v1": lambda **options: mobilenet_v1(0.25, **options),
    "mobilenet_v2": lambda **options: mobilenet_v2(0.35, **options),
    **{f"shufflenet_v1 g={groups}": lambda groups=groups, **options: shufflenet_v1(groups, 0.25, **options) for groups in (1, 2, 3, 4, 8)},
    "shufflenet_v2": lambda **options: shufflenet_v2(0.5, **options),
    "shufflenet_v2 below the paper's widths": lambda **options: shufflenet_v2(0.25, **options),
    "shufflenet_v2 in halves": lambda **options: shufflenet_v2(0.75, halves=True, **options),
    "squeezenet 1.0": lambda **options: squeezenet("1.0", **options),
    "squeezenet 1.1": lambda **options: squeezenet("1.1", **options),
}


@pytest.mark.parametrize(
    ("size", "channels_in", "small_input"), [(8, 1, True), (8, 3, True), (28, 1, True), (32, 3, True), (28, 1, False), (32, 3, False)]
)
@pytest.mark.parametrize("name", SMALLEST)
def test_small_images_give_logits_and_reach_every_parameter(name: str, size: int, channels_in: int, small_input: bool) -> None:
    torch.manual_seed(0)
    model = SMALLEST[name](classes=10, channels_in=channels_in, small_input=small_input)
    logits = model(torch.randn(4, channels_in, size, size))
    assert logits.shape == (4, 10)
    assert logits.isfinite().all()
    nn.functional.cross_entropy(logits, torch.tensor([0, 3, 6, 9])).backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() and gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("small_input", [True, False])
@pytest.mark.parametrize("name", SMALLEST)
def test_the_total_stride(name: str, small_input: bool) -> None:
    model = SMALLEST[name](small_input=small_input).eval()
    stride = 8 if small_input else 16 if name.startswith("squeezenet") else 32
    # without padding, SqueezeNet's first convolution takes a little off each side
    with torch.no_grad():
        assert model.features(torch.zeros(1, 3, 64, 64)).shape[-1] in {64 // stride, 64 // stride - int(stride == 16)}


def test_small_input_changes_the_resolution_and_no_weight() -> None:
    for build in SMALLEST.values():
        with flopscope.building():
            large, small = build().state_dict(), build(small_input=True).state_dict()
        assert [weight.shape for weight in large.values()] == [weight.shape for weight in small.values()]


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "shufflenet_v1 g=3", "shufflenet_v2", "squeezenet 1.1"])
def test_a_batch_is_learnt_from_scratch(name: str) -> None:
    torch.manual_seed(0)
    model = SMALLEST[name](classes=4, channels_in=1, small_input=True)
    images, labels = torch.randn(16, 1, 8, 8), torch.arange(16) % 4
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_weights_keep_the_size_of_the_signal_in_squeezenet() -> None:
    torch.manual_seed(0)
    signal = squeezenet(small_input=True).features(torch.randn(2, 3, 32, 32))
    assert 0.1 < signal.std() < 10


def test_shuffling_interleaves_the_groups() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert channel_shuffle(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    assert channel_shuffle(x, 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize(("channels", "divisor", "rounded"), [(24, 8, 24), (11.2, 8, 16), (26.4, 8, 24), (1, 8, 8), (18.0, 1, 18)])
def test_make_divisible(channels: float, divisor: int, rounded: int) -> None:
    assert make_divisible(channels, divisor) == rounded


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: shufflenet_v1(groups=5), "groups=5 was asked; give one of 1, 2, 3, 4, 8"),
        (lambda: squeezenet("2"), "version '2' was asked; give one of '1.0', '1.1'"),
        (lambda: mobilenet_v1(width=0), "width=0 was asked; give a number greater than zero"),
        (lambda: mobilenet_v2(width=-1), "width=-1 was asked"),
        (lambda: mobilenet_v2(depth=0), "depth=0 was asked"),
        (lambda: mobilenet_v2(divisor=0), "divisor=0 was asked"),
        (lambda: shufflenet_v1(width=0), "width=0 was asked"),
        (lambda: shufflenet_v2(width=float("nan")), "width=nan was asked"),
        (lambda: shufflenet_v2(head=0), "head=0 was asked"),
        (lambda: squeezenet(classes=0), "classes=0 was asked"),
        (lambda: mobilenet_v1(channels_in=0), "channels_in=0 was asked"),
    ],
)
def test_bad_arguments_say_what_is_possible(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        build()
