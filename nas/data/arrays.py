"""Data sets small enough to be kept in memory as arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.data.moments import mean_and_std
from nas.data.split import ImageData, Split

# Images that are turned into float32 at a time.
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class Arrays:
    """All images and labels of a data set: uint8 ``[N, channels, height, width]`` and int64 ``[N]``, on the CPU."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]

    def resized(self, size: int) -> Arrays:
        """The same data set with square images of this side."""
        return replace(self, x_train=_resized(self.x_train, size), x_test=_resized(self.x_test, size))

    def fingerprint(self) -> str:
        """sha256 of shapes and bytes of all arrays, and of the names of the classes, in hexadecimal."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(f"{tuple(array.shape)}".encode())
            digest.update(array.contiguous().numpy().data)
        return digest.hexdigest()


def from_arrays(name: str, arrays: Arrays, size: int | None, source: str) -> ImageData:
    """A data set from its arrays, whose images are resized to ``size`` if it is given."""
    if size is not None:
        arrays = arrays.resized(size)
    mean, std = mean_and_std(arrays.x_train.split(_CHUNK))
    channels, height, width = arrays.x_train.shape[1:]
    return ImageData(
        name=name,
        train=Split(arrays.y_train, _Held(arrays.x_train)),
        test=Split(arrays.y_test, _Held(arrays.x_test)),
        classes=arrays.classes,
        shape=(channels, height, width),
        mean=mean,
        std=std,
        source=source,
        fingerprint=arrays.fingerprint(),
    )


def _resized(images: Tensor, size: int) -> Tensor:
    """The square in the middle of each image, scaled: by averaging areas to shrink, by interpolating to grow."""
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    images = images[:, :, top : top + side, left : left + side]
    if side == size:
        return images.contiguous()
    mode = "area" if size < side else "bilinear"
    return torch.cat([F.interpolate(chunk.float(), (size, size), mode=mode).round().to(torch.uint8) for chunk in images.split(_CHUNK)])


@dataclass(frozen=True, eq=False)
class _Held:
    """Images out of an array."""

    images: Tensor

    def __call__(self, indices: Tensor) -> Tensor:
        return self.images[indices]
