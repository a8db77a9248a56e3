"""Every classification model of torchvision against the counts that torchvision publishes with its weights."""

from __future__ import annotations

import pytest

from tests.conformance.checks import check_torchvision, torchvision_names


@pytest.mark.parametrize("name", torchvision_names())
def test_macs_and_parameters_are_the_published_ones(name: str) -> None:
    check = check_torchvision(name)
    assert check.status == "equal", check


def test_images_and_videos_are_both_there() -> None:
    assert {"resnet50", "vit_b_16", "swin_v2_b", "maxvit_t", "r3d_18", "mvit_v2_s", "s3d", "swin3d_b"} <= set(torchvision_names())
    assert not {"fcn_resnet50", "raft_large", "ssd300_vgg16", "quantized_resnet50"} & set(torchvision_names())
