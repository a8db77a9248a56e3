"""Random changes of training images, for a whole batch at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from flopscope.errors import OptionError
from nas.data.colour import jitter

_TRIES = 10


@dataclass(frozen=True)
class Augmentation:
    """Which random changes training images undergo.

    Attributes:
        crop_padding: Images are shifted by up to so many pixels each way; what comes in from outside is zero.
        flip: Whether half of the images are mirrored, left to right. Not for images that have a direction, as digits have.
        cutout: Side of the square that is blanked by `cutout`, once images are normalised; 0 for none.
        crop_area: Below 1, images are not shifted: a part of at least this share of each is resized to the whole, as for ImageNet.
        jitter: By how much colours change, see `nas.data.colour.jitter`; 0 for not at all.

    Raises:
        OptionError: A number is negative, or a share is none.
    """

    crop_padding: int = 4
    flip: bool = True
    cutout: int = 0
    crop_area: float = 1.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        for option in ("crop_padding", "cutout"):
            if getattr(self, option) < 0:
                raise OptionError(f"{option} is {getattr(self, option)}; it is a number of pixels, 0 for none")
        if not (0 < self.crop_area <= 1 and 0 <= self.jitter <= 1):
            raise OptionError(f"crop_area is {self.crop_area} and jitter {self.jitter}; they are shares of 1, and the first is not 0")

    @classmethod
    def none(cls) -> Augmentation:
        """No change at all."""
        return cls(crop_padding=0, flip=False, cutout=0)

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Crop, flip and recolour images ``[B, channels, height, width]``, each in its own way; `cutout` is not done here.

        Args:
            images: The batch, uint8 where it is resized or recoloured, else of any type; stays as it is.
            generator: Where the random numbers come from; may be on another device than the images.

        Returns:
            Images of the same shape, type and device.
        """
        if self.crop_area < 1:
            images = _resized_crops(images, self.crop_area, self.flip, generator)
        elif self.crop_padding or self.flip:
            images = self._shifted(images, generator)
        if self.jitter:
            images = (255 * jitter(images.float() / 255, self.jitter, generator)).round().to(torch.uint8)
        return images

    def _shifted(self, images: Tensor, generator: torch.Generator) -> Tensor:
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


def _resized_crops(images: Tensor, least: float, flip: bool, generator: torch.Generator) -> Tensor:
    """A random part of each image, resized to the whole; half of them mirrored, if asked to (Szegedy et al. 2015, arXiv:1409.4842).

    The share of the area is uniform from ``least`` to 1, the logarithm of width to height uniform between those of 3/4 and 4/3. Of ten such
    parts the first that fits into the image is taken, else the whole image.
    """
    count, _, height, width = images.shape
    drawn = torch.rand(5, count, _TRIES, generator=generator, device=generator.device).to(images.device)
    area, ratio = least + (1 - least) * drawn[0], (math.log(4 / 3) * (2 * drawn[1] - 1)).exp() * height / width
    across, down = (area * ratio).sqrt(), (area / ratio).sqrt()  # as shares of width and height
    fits = (across <= 1) & (down <= 1)
    first = fits.float().argmax(1, keepdim=True)
    across, down = (torch.where(fits.any(1), side.gather(1, first).squeeze(1), 1) for side in (across, down))
    theta = images.new_zeros((count, 2, 3), dtype=torch.float32)  # from the places of the result to those of the image, both from -1 to 1
    theta[:, 0, 0] = torch.where(drawn[4, :, 0] < 0.5, -across, across) if flip else across
    theta[:, 1, 1] = down
    theta[:, 0, 2], theta[:, 1, 2] = (1 - across) * (2 * drawn[2, :, 0] - 1), (1 - down) * (2 * drawn[3, :, 0] - 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    found = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return found.round().to(images.dtype)


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
