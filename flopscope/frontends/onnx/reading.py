"""From a file to a model: whatever a file holds, the answer is a model or one clear error."""

from __future__ import annotations

import mmap
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from flopscope.errors import InputError
from flopscope.frontends.onnx.thin import Thin, thin

if TYPE_CHECKING:
    import onnx

_KNOWN_STARTS = {
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"PK\x03\x04": "a zip archive (TorchScript or a PyTorch checkpoint?): only .onnx files hold ONNX models",
    b"<!DO": "a web page: the download failed",
    b"<htm": "a web page: the download failed",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself with 'git lfs pull'",
    b"ORTM": "a model in the format of ONNX Runtime (.ort): save it as .onnx",
    b"\x89HDF": "an HDF5 file (Keras?): export it to ONNX first",
}
_LARGE_BYTES = 4 * 2**20
"""Files from this size on are read without their weights."""


@dataclass
class Source:
    """A model as it was read, and where it came from."""

    proto: onnx.ModelProto
    name: str
    """What to call it in reports."""
    path: Path | None = None
    skipped: dict[str, int] = field(default_factory=dict)
    """The bytes of weights that were not read, by name."""


def read(model: Any) -> Source:
    """Read a model without its weights.

    Args:
        model: the path of a file, its bytes, or an ``onnx.ModelProto``.

    Raises:
        InputError: it is no ONNX model; the message says what it is instead, where that can be told.
    """
    import onnx

    if isinstance(model, onnx.ModelProto):
        return Source(model, model.graph.name or "onnx model")
    if isinstance(model, bytes | bytearray | memoryview):
        return _parsed(memoryview(model), "onnx model")
    path = Path(model)
    try:
        with path.open("rb") as file:
            source = _from_file(file, path.stem)
    except IsADirectoryError:
        raise InputError("it is a folder, and no file") from None
    except FileNotFoundError:
        raise InputError("there is no such file") from None
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}") from error
    source.path = path
    return source


def _from_file(file: BinaryIO, name: str) -> Source:
    """Read a small file at once; of a large one only the pages are touched that hold its structure."""
    facts = os.fstat(file.fileno())
    if not stat.S_ISREG(facts.st_mode):
        raise InputError("it is no plain file")
    if facts.st_size == 0:
        raise InputError("the file is empty")
    if facts.st_size <= _LARGE_BYTES:
        return _parsed(memoryview(file.read()), name)
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # closed with its last view, which an error may hold for a while
    return _parsed(memoryview(mapped), name)


def _parsed(view: memoryview, name: str) -> Source:
    import onnx
    from google.protobuf.message import DecodeError

    start = bytes(view[:32])
    for sign, what in _KNOWN_STARTS.items():
        if start.startswith(sign):
            raise InputError(f"it is {what}")
    if not any(start):
        raise InputError("it is no ONNX model: it starts with zeros")
    found = thin(view) if len(view) > _LARGE_BYTES else Thin(bytes(view))
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(found.message)
    except DecodeError as error:
        raise InputError(f"it is no ONNX model, or is damaged or cut off: {error}") from error
    return Source(proto, name, skipped=found.skipped)
