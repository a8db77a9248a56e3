"""Data sets by name or by path."""

from __future__ import annotations

from pathlib import Path

from flopscope.errors import OptionError
from nas.data.arrays import from_arrays
from nas.data.digits import load_digits
from nas.data.folder import DEFAULT_SIZE, load_folder
from nas.data.npz import read_npz
from nas.data.published import PUBLISHED, load_published
from nas.data.split import ImageData
from nas.errors import DataError

NAMES = ("digits", *PUBLISHED, "folder")


def load(name: str, root: Path | None = None, *, size: int | None = None) -> ImageData:
    """Load images to classify, from what is already on this computer.

    Args:
        name: One of

            - ``digits``: 8x8 handwritten digits, always there;
            - ``fashion_mnist``, ``cifar10``, ``cifar100``: from an .npz file, or as torchvision keeps them on disk;
            - ``folder``: any folder of images, one folder a class;
            - or the path of such a folder, or of an .npz file.
        root: The file or folder to read; not for ``digits`` and paths. Where it is left out, published data sets are looked
            for in the folder ``images`` of the folder that the environment variable FLOPSCOPE_DATA names.
        size: Side of the square images wanted. Left out, arrays stay as they are, and images of folders become 32x32.

    Raises:
        DataError: There is no such data set, or it is not where it should be, or not as it should be.
        OptionError: The size is below 1.
    """
    if size is not None and size < 1:
        raise OptionError(f"images of size {size} were asked for; the size is their side in pixels, at least 1")
    root = None if root is None else Path(root).expanduser()
    if name in PUBLISHED:
        return load_published(name, root, size)
    if name == "folder":
        if root is None:
            raise DataError("an image folder was asked for without saying which. Give it as root, or its path as the name.")
        return load_folder(name, root, size or DEFAULT_SIZE)
    if name != "digits" and not Path(name).expanduser().exists():
        raise _unknown(name)
    if root is not None:
        raise DataError(f"{name} was asked for with the root {root}, and does not need one. Leave root out, or use the name folder.")
    return load_digits(size) if name == "digits" else _at(name, size)


def _at(name: str, size: int | None) -> ImageData:
    """The data set at a path that exists."""
    path = Path(name).expanduser()
    if path.is_dir():
        return load_folder(path.name, path, size or DEFAULT_SIZE)
    if path.suffix == ".npz":
        return from_arrays(path.stem, read_npz(path), size, str(path))
    raise _unknown(name)


def _unknown(name: str) -> DataError:
    path = Path(name).expanduser().absolute()
    return DataError(
        f"there is no data set {name!r}: the known ones are {', '.join(NAMES)}, "
        f"and {path} is {'neither a folder nor an .npz file' if path.exists() else 'not there'}. "
        "Give one of these names, or the path of an image folder or of an .npz file."
    )
