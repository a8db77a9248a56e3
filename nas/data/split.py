"""What the rest of the search sees of a data set: labels, and a way to get images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


# Tensors have no truth value, so none of these classes can be compared field by field: identity it is.
@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels.

    Attributes:
        labels: The class of each image, int64 ``[N]``, on the CPU.
        fetch: Gives the images of int64 indices ``[B]`` as uint8 ``[B, channels, height, width]``, on the CPU.
    """

    labels: Tensor
    fetch: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> Split:
        """The images that int64 ``indices`` ``[M]`` name, in that order, as a split of its own."""
        return Split(self.labels[indices], _Chosen(self.fetch, indices))


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set for image classification, with all that is needed to train on it and to say later which one it was.

    Attributes:
        name: The name that it was asked for by, or the stem of its path.
        train: The images to learn from.
        test: The images to judge by.
        classes: What each label stands for.
        shape: Channels, height and width of every image.
        mean: Per channel, of the training images scaled to [0, 1]; float32 ``[channels]``.
        std: Likewise the standard deviation.
        source: Where it was read from.
        fingerprint: sha256, in hexadecimal, of what determines the data.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    mean: Tensor
    std: Tensor
    source: str
    fingerprint: str

    def normalised(self, images: Tensor) -> Tensor:
        """Turn uint8 images ``[B, channels, height, width]`` into float32 ones of mean 0 and deviation 1, on their device."""
        mean = self.mean.to(images.device)[:, None, None]
        std = self.std.to(images.device)[:, None, None]
        return (images.to(torch.float32) / 255 - mean) / std


# Classes and not closures, so that a split can be sent to another process.
@dataclass(frozen=True, eq=False)
class _Chosen:
    """Images of a subset, by their place in the subset."""

    fetch: Callable[[Tensor], Tensor]
    chosen: Tensor

    def __call__(self, indices: Tensor) -> Tensor:
        return self.fetch(self.chosen[indices])
