"""Random changes of training images, for a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from flopscope.errors import OptionError


@dataclass(frozen=True)
class Augmentation:
    """Which random changes training images undergo.

    Attributes:
        crop_padding: Images are shifted by up to so many pixels each way; what comes in from outside is zero.
        flip: Whether half of the images are mirrored, left to right. Not for images that have a direction, as digits have.
        cutout: Side of the square that is blanked by `cutout`, once images are normalised; 0 for none.

    Raises:
        OptionError: A number is negative.
    """

    crop_padding: int = 4
    flip: bool = True
    cutout: int = 0

    def __post_init__(self) -> None:
        for option in ("crop_padding", "cutout"):
            if getattr(self, option) < 0:
                raise OptionError(f"{option} is {getattr(self, option)}; it is a number of pixels, 0 for none")

    @classmethod
    def none(cls) -> Augmentation:
        """No change at all."""
        return cls(crop_padding=0, flip=False, cutout=0)

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Crop and flip images ``[B, channels, height, width]`` of any type, each in its own way; `cutout` is not done here.

        Args:
            images: The batch; stays as it is.
            generator: Where the random numbers come from; may be on another device than the images.

        Returns:
            Images of the same shape, type and device.
        """
        if self.crop_padding == 0 and not self.flip:
            return images
        count, _, height, width = images.shape
        rows, columns = _windows((height, width), count, self.crop_padding, generator, images.device)
        if self.flip:
            mirrored = torch.rand(count, generator=generator, device=generator.device).to(images.device) < 0.5
            columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        padded = F.pad(images, [self.crop_padding] * 4)
        image = torch.arange(count, device=images.device)[:, None, None, None]
        channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
        return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def cutout(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Blank a square of each image, the regulariser of DeVries & Taylor 2017 (arXiv:1708.04552).

    The centre is uniform over the image, so that part of the square may fall outside.

    Args:
        images: Normalised images ``[B, channels, height, width]``, whose zero is the mean; stay as they are.
        size: Side of the square; 0 for no change.
        generator: Where the random numbers come from.

    Returns:
        Images of the same shape, type and device.
    """
    if size == 0:
        return images
    count, _, height, width = images.shape
    rows = _covered(height, size, count, generator, images.device)
    columns = _covered(width, size, count, generator, images.device)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def default_augmentation(name: str, shape: tuple[int, int, int]) -> Augmentation:
    """The augmentation that is usual for a data set, by its name, or else by the shape ``(channels, height, width)`` of its images."""
    if name == "digits":
        return Augmentation(crop_padding=1, flip=False)
    if name == "fashion_mnist":
        return Augmentation(crop_padding=2, flip=True)
    # An eighth of the side is the 4 of 32 of CIFAR. Images without colour may well be characters, which have a direction.
    return Augmentation(crop_padding=min(shape[1:]) // 8, flip=shape[0] > 1)


def _windows(size: tuple[int, int], count: int, padding: int, generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows ``[B, height]`` and columns ``[B, width]`` of the padded images that each crop consists of."""
    offsets = torch.randint(2 * padding + 1, (2, count, 1), generator=generator, device=generator.device).to(device)
    height, width = size
    return offsets[0] + torch.arange(height, device=device), offsets[1] + torch.arange(width, device=device)


def _covered(length: int, size: int, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Which places along one axis a square covers whose centre is drawn for each image, bool ``[B, length]``."""
    centre = torch.randint(length, (count, 1), generator=generator, device=generator.device).to(device)
    start = centre - size // 2
    place = torch.arange(length, device=device)
    return (place >= start) & (place < start + size)
