"""Folders of image files, one folder a class; images are read when they are asked for."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from nas.data.moments import mean_and_std
from nas.data.parts import every_fifth
from nas.data.split import ImageData, Split
from nas.errors import DataError

DEFAULT_SIZE = 32
_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_LAYOUT = "An image folder has train/CLASS/*.png and test/CLASS/*.png (or val), or CLASS/*.png right in it"
# What the readers of the many formats raise at files that are not as they should be.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
# Enough for two digits of mean and deviation; reading a folder of a million images through takes an hour.
_SAMPLE = 1024
_CHUNK = 64


def load_folder(name: str, root: Path, size: int) -> ImageData:
    """A folder of images as a data set: RGB, shorter side scaled to ``size``, the square in the middle.

    Classes are the names of the folders, in alphabetical order. Where there are ``train`` and ``test`` (or ``val``)
    they are used as they are; otherwise the classes lie right in ``root`` and a fixed fifth of each is for testing.
    Mean and deviation are those of 1,024 training images, evenly spread, or of all where there are fewer.

    Raises:
        DataError: The folder is not laid out like that, or, then or when images are fetched, a file cannot be read.
    """
    if not root.is_dir():
        raise DataError(f"an image folder was to be read from {root}, which is {'a file' if root.exists() else 'not there'}. {_LAYOUT}.")
    classes, train, test = _divided(root) if _class_folders(root / "train") else _undivided(root)
    if len(test) == 0:
        raise DataError(f"{root} has {len(train)} images and none to test on: every class has only one. Give at least 2 images of a class.")
    return _as_data(name, root, size, classes, (train, test))


@dataclass(frozen=True, eq=False)
class _Files:
    """Images out of files, by their place in a list."""

    paths: tuple[Path, ...]
    size: int

    def __call__(self, indices: Tensor) -> Tensor:
        if len(indices) == 0:
            return torch.empty((0, 3, self.size, self.size), dtype=torch.uint8)
        # Decoding does not hold the interpreter's lock.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            return torch.stack(list(pool.map(self._read, indices.tolist())))

    def _read(self, index: int) -> Tensor:
        path = self.paths[index]
        try:
            with Image.open(path) as image:
                square = ImageOps.fit(image.convert("RGB"), (self.size, self.size), Image.Resampling.BILINEAR)
        except _UNREADABLE as error:
            raise DataError(f"{path} cannot be read as an image ({type(error).__name__}: {error}). Repair or remove it.") from error
        return torch.from_numpy(np.array(square)).permute(2, 0, 1)


_Labelled = list[tuple[Path, int]]


def _divided(root: Path) -> tuple[tuple[str, ...], _Labelled, _Labelled]:
    """Classes and files of a folder with parts of their own for training and testing."""
    testing = next((root / part for part in ("test", "val") if _class_folders(root / part)), None)
    if testing is None:
        raise DataError(
            f"{root} has train, but neither {root / 'test'} nor {root / 'val'} with folders of classes. "
            f"Add one, or name {root / 'train'} itself: then a fifth of it is for testing."
        )
    classes = tuple(folder.name for folder in _class_folders(root / "train"))
    unknown = sorted({folder.name for folder in _class_folders(testing)} - set(classes))
    if unknown:
        raise DataError(f"{testing} has classes that {root / 'train'} has not: {', '.join(unknown)}. Give both the same classes.")
    return classes, _files(root / "train", classes), _files(testing, classes)


def _undivided(root: Path) -> tuple[tuple[str, ...], _Labelled, _Labelled]:
    """Classes and files of a folder with nothing but classes in it."""
    classes = tuple(folder.name for folder in _class_folders(root))
    if not classes:
        raise DataError(f"{root} has no folders of images in it. {_LAYOUT}.")
    files = _files(root, classes)
    train, test = every_fifth(torch.tensor([label for _, label in files]))
    return classes, [files[index] for index in train.tolist()], [files[index] for index in test.tolist()]


def _class_folders(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones aside, by name; none if there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path, classes: tuple[str, ...]) -> _Labelled:
    """The image files of the classes that a folder has, by name, with their labels."""
    files: _Labelled = []
    for label, name in enumerate(classes):
        if not (folder / name).is_dir():
            continue
        found = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
        if not found:
            raise DataError(f"{folder / name} is a class without images ({', '.join(sorted(_SUFFIXES))}). Add some, or remove it.")
        files += [(path, label) for path in found]
    return files


def _as_data(name: str, root: Path, size: int, classes: tuple[str, ...], parts: tuple[_Labelled, _Labelled]) -> ImageData:
    train, test = (Split(torch.tensor([label for _, label in part]), _Files(tuple(path for path, _ in part), size)) for part in parts)
    sampled = min(_SAMPLE, len(train))
    sample = torch.arange(sampled) * len(train) // sampled
    mean, std = mean_and_std(train.fetch(indices) for indices in sample.split(_CHUNK))
    return ImageData(
        name=name,
        train=train,
        test=test,
        classes=classes,
        shape=(3, size, size),
        mean=mean,
        std=std,
        source=str(root),
        fingerprint=_fingerprint(root, size, parts),
    )


def _fingerprint(root: Path, size: int, parts: tuple[_Labelled, _Labelled]) -> str:
    """sha256 of what each part consists of, by path and length of the files, and of the side of the images."""
    digest = hashlib.sha256(f"{size}".encode())
    for part in parts:
        digest.update(b"\n\n")
        for path, label in part:
            digest.update(f"{path.relative_to(root).as_posix()}\t{path.stat().st_size}\t{label}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
