"""Reading images from an .npz file, which may have been made by anyone."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.arrays import Arrays
from nas.errors import DataError

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_READ = frozenset({*_KEYS, "classes"})
_WANTED = "x_train and x_test, uint8 [N, height, width, 1 or 3] or [N, height, width]; y_train and y_test, integers [N]"

# What zipfile and numpy raise at files that are damaged, encrypted, pickled or made up.
_UNREADABLE = (OSError, ValueError, TypeError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path, classes: tuple[str, ...] = ()) -> Arrays:
    """Read images and labels from a file that `numpy.savez` wrote; nothing in it is executed.

    Args:
        path: A file with ``x_train``, ``x_test``: uint8 ``[N, height, width, channels]`` or ``[N, height, width]``,
            ``y_train``, ``y_test``: integers ``[N]``, and, if it likes, ``classes``: strings.
        classes: Names of the classes where the file has none; they are numbered otherwise.

    Raises:
        DataError: The file cannot be read, or does not hold what it should.
    """
    found = _read(path)
    missing = [key for key in _KEYS if key not in found]
    if missing:
        raise _error(path, f"it has no {', '.join(missing)} (it holds: {', '.join(sorted(found)) or 'nothing'})")
    x_train, x_test = _images(path, "x_train", found["x_train"]), _images(path, "x_test", found["x_test"])
    if x_train.shape[1:] != x_test.shape[1:]:
        raise _error(path, f"x_train and x_test have images of two shapes, {found['x_train'].shape} and {found['x_test'].shape}")
    y_train, y_test = _labels(path, "y_train", found["y_train"], len(x_train)), _labels(path, "y_test", found["y_test"], len(x_test))
    names = _class_names(path, found["classes"]) if "classes" in found else classes or _numbered(path, y_train)
    for key, labels in (("y_train", y_train), ("y_test", y_test)):
        if labels.max() >= len(names):
            raise _error(path, f"{key} has the label {labels.max()}, and there are {len(names)} classes, counted from 0")
    return Arrays(x_train, y_train, x_test, y_test, names)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by their names; those that are not wanted are named only, however large they are."""
    if not zipfile.is_zipfile(path):
        raise _error(path, "it is not an .npz file at all")
    try:
        # Opened here, because numpy forgets to close files that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            # What is no array comes as bytes.
            return {key: np.asarray(archive[key]) if key in _READ else np.empty(0) for key in archive.files}
    except _UNREADABLE as error:
        raise _error(path, f"it cannot be read ({type(error).__name__}: {error})") from error


def _images(path: Path, key: str, images: NDArray[Any]) -> Tensor:
    """Images as uint8 ``[N, channels, height, width]``."""
    if images.dtype != np.uint8:
        raise _error(path, f"{key} is of type {images.dtype}")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise _error(path, f"{key} has the shape {images.shape}")
    if images.size == 0:
        raise _error(path, f"{key} is empty, of shape {images.shape}")
    channels_last = images if images.ndim == 4 else images[..., None]
    return torch.from_numpy(np.ascontiguousarray(channels_last.transpose(0, 3, 1, 2)))


def _labels(path: Path, key: str, labels: NDArray[Any], count: int) -> Tensor:
    """Labels as int64 ``[N]``."""
    if labels.dtype.kind not in "iu":
        raise _error(path, f"{key} is of type {labels.dtype}")
    if labels.shape != (count,):
        raise _error(path, f"{key} has the shape {labels.shape}, and there are {count} images")
    if labels.min() < 0 or labels.max() > np.iinfo(np.int64).max:
        raise _error(path, f"{key} has labels from {labels.min()} to {labels.max()}")
    return torch.from_numpy(labels.astype(np.int64))


def _class_names(path: Path, names: NDArray[Any]) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise _error(path, f"classes is of type {names.dtype} and shape {names.shape}, not a list of strings")
    return tuple(names.astype(str).tolist())


def _numbered(path: Path, labels: Tensor) -> tuple[str, ...]:
    """Names for the classes of a file that gives none, which is safe only where the labels leave nothing out."""
    present = labels.unique()
    if present[-1] != len(present) - 1:
        raise _error(path, f"y_train has {len(present)} different labels, from {present[0]} to {present[-1]}, and no classes are named")
    return tuple(str(label) for label in present.tolist())


def _error(path: Path, found: str) -> DataError:
    return DataError(
        f"images were to be read from {path}, but {found}. An .npz file of images holds {_WANTED}, counted from 0; "
        "and it may hold classes, their names. Give a file like that."
    )
