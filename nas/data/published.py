"""Data sets that everyone compares on, where they already lie on a disk: nothing is downloaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.arrays import Arrays, from_arrays
from nas.data.npz import read_npz
from nas.data.split import ImageData
from nas.errors import DataError

_VARIABLE = "FLOPSCOPE_DATA"


@dataclass(frozen=True)
class Published:
    """How a published data set can be recognised.

    Attributes:
        channels: Of its images.
        file: Its file in the folder ``images`` of the one that the environment variable FLOPSCOPE_DATA names.
        dataset: Its class in `torchvision.datasets`.
        layout: What that class keeps in its root folder.
        classes: Names for files that have none.
    """

    channels: int
    file: str
    dataset: str
    layout: str
    classes: tuple[str, ...] = ()


_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
PUBLISHED = {
    "fashion_mnist": Published(1, "fashion_mnist.npz", "FashionMNIST", "FashionMNIST/raw", _FASHION),
    "cifar10": Published(3, "cifar10_10k_2k.npz", "CIFAR10", "cifar-10-batches-py", _CIFAR10),
    "cifar100": Published(3, "cifar100.npz", "CIFAR100", "cifar-100-python"),
}


def load_published(name: str, root: Path | None, size: int | None) -> ImageData:
    """Load a data set that `PUBLISHED` lists from an .npz file or from the folder that torchvision keeps it in.

    Raises:
        DataError: It is not there, it cannot be read, or it is another one.
    """
    path = _shared(name) if root is None else _located(name, root)
    known = PUBLISHED[name]
    arrays = read_npz(path, known.classes) if path.is_file() else _from_torchvision(name, path)
    channels = arrays.x_train.shape[1]
    if channels != known.channels:
        raise DataError(
            f"{name} was asked for, whose images have {known.channels} channels, and those in {path} have {channels}. Name another file."
        )
    return from_arrays(name, arrays, size, str(path))


def _shared(name: str) -> Path:
    """The file of a data set in the folder that the environment names."""
    advice = f"Say where it is (root: an .npz file, or a folder with one or with torchvision's {PUBLISHED[name].layout})"
    folder = os.environ.get(_VARIABLE)
    if not folder:
        raise DataError(f"{name} was asked for without a root, and the environment variable {_VARIABLE} is not set. {advice}, or set it.")
    path = Path(folder) / "images" / PUBLISHED[name].file
    if not path.is_file():
        raise DataError(f"{name} was asked for without a root, and {_VARIABLE} names a folder without {path}. {advice}.")
    return path


def _located(name: str, root: Path) -> Path:
    """The .npz file to read, or the root folder that torchvision is to read from."""
    layout = PUBLISHED[name].layout
    if root.is_file():
        return root
    # The name of one data set may begin with that of another: cifar10 and cifar100.
    longer = tuple(other for other in PUBLISHED if other.startswith(name) and other != name)
    files = [path for path in sorted(root.glob(f"{name}*.npz")) if not (longer and path.name.startswith(longer))]
    if root / f"{name}.npz" in files:
        return root / f"{name}.npz"
    if len(files) > 1:
        raise DataError(
            f"{name} was asked for, and {root} has several: {', '.join(path.name for path in files)}. Name one of them as root."
        )
    if files:
        return files[0]
    if (root / layout).is_dir():
        return root
    missing = "" if root.is_dir() else ", which does not exist"
    raise DataError(
        f"{name} was asked for in {root}{missing}; neither {root / f'{name}*.npz'} nor {root / layout} is there. "
        "Name as root an .npz file, or a folder that has one of the two."
    )


def _from_torchvision(name: str, root: Path) -> Arrays:
    from torchvision import datasets  # slow to import, and rarely needed

    known = PUBLISHED[name]
    try:
        train, test = (getattr(datasets, known.dataset)(root, train=training, download=False) for training in (True, False))
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(
            f"{name} was asked for, and torchvision cannot read {root / known.layout} ({error}). "
            "Restore the original files, or name an .npz file as root."
        ) from error
    x_train, x_test = _channels_first(train.data), _channels_first(test.data)
    y_train, y_test = (torch.as_tensor(part.targets, dtype=torch.int64) for part in (train, test))
    return Arrays(x_train, y_train, x_test, y_test, tuple(train.classes))


def _channels_first(images: Tensor | NDArray[np.uint8]) -> Tensor:
    """Images as uint8 ``[N, channels, height, width]``, of ``[N, height, width, channels]`` or ``[N, height, width]``."""
    tensor = torch.as_tensor(images)
    return (tensor[:, None] if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)).contiguous()
