"""The weights outside a file, where a check of them was asked for: their files' sizes are looked at, and nothing is opened."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from flopscope.errors import InputError
from flopscope.frontends.onnx.dtypes import NAMES, UNDEFINED
from flopscope.graph import bits_of

if TYPE_CHECKING:
    import onnx

_EXTERNAL = 1


def check_external(graph: onnx.GraphProto, folder: Path) -> int:
    """Check that the files of weights outside the model are there, and long enough for the declared shapes.

    Returns:
        How many tensors lie outside.

    Raises:
        InputError: a file is missing, is no plain file inside the folder, or is too short.
    """
    outside = [tensor for tensor in graph.initializer if tensor.data_location == _EXTERNAL]
    for tensor in outside:
        facts = {entry.key: entry.value for entry in tensor.external_data}
        path = folder / facts["location"]
        size = _size(tensor.name, path, folder)
        elements = 1
        for dim in tensor.dims:
            elements *= dim
        wanted = (elements * bits_of(NAMES.get(tensor.data_type, UNDEFINED)) + 7) // 8
        offset = int(facts.get("offset", "0"))
        if offset + wanted > size:
            raise InputError(
                f"the tensor {tensor.name!r} takes {wanted:,} bytes from byte {offset:,} of {facts['location']!r} on, which has {size:,}"
            )
    return len(outside)


def _size(name: str, path: Path, folder: Path) -> int:
    try:
        facts = path.lstat()
    except OSError:
        raise InputError(f"the external data {path.name!r} of the tensor {name!r} is not there") from None
    if stat.S_ISLNK(facts.st_mode) or not stat.S_ISREG(facts.st_mode) or folder.resolve() not in path.resolve().parents:
        raise InputError(f"the external data {path.name!r} of the tensor {name!r} is no plain file inside the model's folder")
    return facts.st_size
