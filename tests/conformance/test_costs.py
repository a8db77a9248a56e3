"""Rows of ``published/costs.json`` in the convention of each: a sample of all sources, or all rows with ``FLOPSCOPE_ALL=1``."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conformance import published_models
from tests.conformance.checks import ALL, HAS_DATA, analysed, check_cost, cost_rows, needs_data
from tests.conformance.counting import quantities
from tests.conformance.published_tables import QUANTITIES

pytest.importorskip("timm")

_EQUAL = (
    "pytorchcv:squeezenet_v1_0",
    "pytorchcv:fbnet_cb",
    "timm:ghostnet_100",
    "timm:pnasnet5large",
    "timm:efficientnet_b6",
    "timm:mobilenetv3_small_050",
    "torchvision:mnasnet0_75",
    "torchvision:resnet50",
    "torchvision:convnext_base:IMAGENET1K_V1",
    "torchvision:densenet161:IMAGENET1K_V1",
    "torchvision:inception_v3:IMAGENET1K_V1",
    "torchvision:maxvit_t:IMAGENET1K_V1",
    "torchvision:regnet_y_32gf:IMAGENET1K_SWAG_E2E_V1",
    "torchvision:swin_t:IMAGENET1K_V1",
    "torchvision:vit_h_14:IMAGENET1K_SWAG_E2E_V1",
    "torchvision:vit_h_14:IMAGENET1K_SWAG_LINEAR_V1",
    "MobileNetV1 alpha=1.0 @160",
    "MobileNetV2 alpha=0.35 @96",
    "MobileNetV3 Large dm=0.75",
    "GhostNet 0.5x paper",
    "EfficientNet-B3 paper",
    "imgclsmob:AlexNet-b",
    "imgclsmob:BN-VGG-19b",
    "imgclsmob:ResNet-12 on CUB-200-2011",
    "imgclsmob:ResNet(D)-152b",
    "imgclsmob:SE-ResNet-101",
    "imgclsmob:SENet-154",
    "imgclsmob:RegNetY-400MF",
    "imgclsmob:DenseNet-201",
    "imgclsmob:DPN-131",
    "imgclsmob:DarkNet-53",
    "imgclsmob:HRNetV2-W40",
    "imgclsmob:SelecSLS-42b",
    "imgclsmob:ShuffleNetV2 x1.0",
    "imgclsmob:MobileNet x1.0",
    "imgclsmob:InceptionV4",
    "imgclsmob:EfficientNet-B8c*",
    "imgclsmob:MixNet-L",
)
_LISTED = (
    "pytorchcv:nasnet_4a1056",
    "MnasNet-A1 dm=1.4 @96",
    "imgclsmob:DLA-X-60-C",
    "imgclsmob:ResNeSt(A)-200",
    "imgclsmob:SE-ResNet-26 on CUB-200-2011",
)
_ROWS = list(cost_rows()) if ALL and HAS_DATA else [*_EQUAL, *_LISTED]


@needs_data
@pytest.mark.parametrize("key", _ROWS)
def test_row(key: str) -> None:
    row = cost_rows()[key]
    is_near = isinstance(published_models.builder_for(row), published_models.Nearest)
    check = check_cost(row)
    assert check.status == ("listed" if is_near else "equal"), check


@needs_data
def test_every_row_is_built_or_has_a_reason() -> None:
    found = [published_models.builder_for(row) for row in published_models.rows()]
    assert all(isinstance(entry, published_models.Build) or (entry.text and entry.group) for entry in found)


@needs_data
def test_the_sample_has_all_sources_and_conventions() -> None:
    def facts(keys: list[str]) -> set[tuple[str, str]]:
        builds = [(row["source"], published_models.builder_for(row)) for row in map(cost_rows().__getitem__, keys)]
        return {(source, build.counting) for source, build in builds if isinstance(build, published_models.Build)}

    assert facts(list(_EQUAL)) == facts(list(cost_rows()))


def test_the_quantities_of_a_model_whose_counts_are_known() -> None:
    found = quantities(analysed("torchvision:squeezenet1_1"))
    assert found["conv_linear"] == 349_151_936
    assert set(found) <= set(QUANTITIES)
    assert found - Counter(dict.fromkeys(("conv_linear", "relu", "pool"), found["conv_linear"])) == Counter()
