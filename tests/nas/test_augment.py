"""Crops that are resized, changes of colour, and images that are drawn from a sorted split."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from flopscope.errors import OptionError
from nas.data import Augmentation, Split, generator_for, limited
from nas.data.colour import jitter

SIDE = 120
CROPS = Augmentation(crop_padding=4, flip=True, crop_area=0.08)


def _boxes(augmentation: Augmentation, count: int) -> tuple[Tensor, ...]:
    """Left, top, width, height of each crop as shares of the image, and whether it is mirrored, read off images of coordinates."""
    place = torch.arange(SIDE, dtype=torch.uint8)
    images = torch.stack([place.expand(SIDE, SIDE), place[:, None].expand(SIDE, SIDE)]).expand(count, 2, SIDE, SIDE)
    found = augmentation.apply(images, generator_for(3))
    assert found.dtype == torch.uint8
    assert found.shape == images.shape
    first, last = SIDE // 4, 3 * SIDE // 4
    across, down = found[:, 0, SIDE // 2].double(), found[:, 1, :, SIDE // 2].double()
    slope = (across[:, last] - across[:, first]) / (last - first)
    height = (down[:, last] - down[:, first]) / (last - first)
    width, mirrored = slope.abs(), slope < 0
    middle = (across[:, SIDE // 2 - 1] + across[:, SIDE // 2] + 1) / 2 / SIDE
    centre = (down[:, SIDE // 2 - 1] + down[:, SIDE // 2] + 1) / 2 / SIDE
    return middle - width / 2, centre - height / 2, width, height, mirrored


def test_resized_crops_are_parts_of_the_image_of_the_area_and_ratio_that_they_should_have() -> None:
    left, top, width, height, mirrored = _boxes(CROPS, 1000)
    slack = 2 / SIDE
    assert left.min() > -slack
    assert top.min() > -slack
    assert (left + width).max() < 1 + slack
    assert (top + height).max() < 1 + slack
    area, ratio = width * height, (width / height).log()
    assert area.min() > 0.08 - slack
    assert ratio.abs().max() < math.log(4 / 3) + 4 * slack
    assert 0.45 < mirrored.double().mean() < 0.55
    small = area < 0.5  # all of these fit: their areas are uniform, as far as none was drawn again
    assert area[small].mean() == pytest.approx((0.08 + 0.5) / 2, abs=0.02)
    assert abs(float(ratio[small].mean())) < 0.02
    assert (left[small] / (1 - width[small])).mean() == pytest.approx(0.5, abs=0.03)
    assert (top[small] / (1 - height[small])).mean() == pytest.approx(0.5, abs=0.03)


def test_crops_without_flip_mirror_nothing() -> None:
    assert not bool(_boxes(Augmentation(flip=False, crop_area=0.5), 100)[4].any())


@pytest.mark.parametrize("by", [0.4, 1.0])
def test_jitter_changes_colours_as_torchvision_does(by: float) -> None:
    images = torch.rand(5, 3, 9, 9)
    images[0] = 0.3  # grey: no hue
    images[1, :2] = 0.7
    found = jitter(images, by, generator_for(1))
    drawn = generator_for(1)
    factors, order = 2 * torch.rand(4, 5, 1, 1, 1, generator=drawn).flatten(1) - 1, torch.randperm(4, generator=drawn).tolist()
    changes = (vision.adjust_brightness, vision.adjust_contrast, vision.adjust_saturation, vision.adjust_hue)
    for index in range(5):
        image = images[index]
        for change in order:
            by_number = float(by / 2 * factors[3, index] if change == 3 else 1 + by * factors[change, index])
            image = changes[change](image, by_number)
        assert torch.allclose(found[index], image, atol=3e-4)  # its grey has weights of four digits


def test_jitter_of_images_of_one_channel_leaves_them_grey() -> None:
    images = torch.rand(4, 1, 6, 6)
    assert jitter(images, 0.4, generator_for(0)).shape == images.shape
    assert not torch.equal(jitter(images, 0.4, generator_for(0)), images)


def test_colours_change_in_batches_and_depend_on_the_generator_alone() -> None:
    images = torch.randint(256, (6, 3, 12, 12), dtype=torch.uint8)
    augmentation = Augmentation(0, flip=False, crop_area=0.3, jitter=0.4)
    one, other = (augmentation.apply(images, generator_for(5)) for _ in range(2))
    assert torch.equal(one, other)
    assert one.dtype == torch.uint8
    assert not torch.equal(one, augmentation.apply(images, generator_for(6)))


@pytest.mark.parametrize("wrong", [{"crop_area": 0.0}, {"crop_area": 1.5}, {"jitter": -0.1}, {"jitter": 2.0}])
def test_shares_that_are_none(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="they are shares of 1"):
        Augmentation(**wrong)  # type: ignore[arg-type]


# -- some of the images ---------------------------------------------------------------------------------------


def _split(labels: list[int]) -> Split:
    return Split(torch.tensor(labels), lambda indices: indices[:, None, None, None].to(torch.uint8))


def test_a_limit_takes_the_first_images() -> None:
    split = _split([2, 0, 1, 0, 2])
    assert limited(split, 3, seed=1).labels.tolist() == [2, 0, 1]
    for all_of_them in (0, 5, 9):
        assert limited(split, all_of_them, seed=1).labels.tolist() == split.labels.tolist()


def test_a_limit_takes_some_of_each_class_where_images_are_sorted_by_it() -> None:
    split = _split([label for label in range(4) for _ in range(50)])
    some = limited(split, 60, seed=1)
    assert torch.bincount(some.labels, minlength=4).min() > 5
    places = some.fetch(torch.arange(60)).flatten()
    assert len(set(places.tolist())) == 60
    assert torch.equal(split.labels[places.long()], some.labels)
    assert torch.equal(limited(split, 60, seed=1).labels, some.labels)
    assert not torch.equal(limited(split, 60, seed=2).fetch(torch.arange(60)).flatten(), places)
