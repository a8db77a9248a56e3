"""What a model must be to be counted: every fault that would make a number wrong is named, before anything is counted."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from flopscope.errors import InputError
from flopscope.frontends.onnx.dtypes import NAMES, UNDEFINED
from flopscope.frontends.onnx.thin import check_length
from flopscope.graph import bits_of

if TYPE_CHECKING:
    import onnx

MOST_ELEMENTS = 2**40
"""A tensor with as many elements fits into no machine's memory: its shape is taken for damaged."""
DEFAULT_DOMAINS = ("", "ai.onnx")
_EXTERNAL = 1  # TensorProto.EXTERNAL


def check_model(model: onnx.ModelProto) -> dict[str, int]:
    """Check what a model says of itself, and all tensors that it holds.

    Returns:
        The version of each domain's ops.

    Raises:
        InputError: the first fault that was found.
    """
    from onnx.defs import onnx_opset_version

    graph = model.graph
    if not model.ir_version and not graph.node and not graph.name:
        raise InputError("it is no ONNX model: it has no version, no name and no nodes")
    if not graph.node and not graph.output:
        raise InputError("its graph is empty: it has no nodes and no outputs")
    opsets = {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import}
    own = opsets.get("")
    if not opsets or (own is None and any(node.domain in DEFAULT_DOMAINS for node in graph.node)):
        raise InputError("it does not say which version of ONNX's ops it uses (opset_import)")
    if own is not None and not 1 <= own <= onnx_opset_version():
        raise InputError(
            f"it uses version {own} of ONNX's ops, but the installed onnx package knows versions 1 to {onnx_opset_version()}: update onnx"
        )
    for sparse in graph.sparse_initializer:
        check_tensors((sparse.values, sparse.indices))
    _check_names(graph)
    return opsets


def _check_names(graph: onnx.GraphProto) -> None:
    refuse_repeated((tensor.name for tensor in graph.initializer), "initializers")
    refuse_repeated((value.name for value in graph.input), "inputs")
    refuse_repeated((value.name for value in graph.value_info), "entries of value_info")
    refuse_repeated((node.name for node in graph.node if node.name), "nodes")


def refuse_repeated(names: Iterable[str], what: str) -> None:
    """Refuse names that stand for two things.

    Raises:
        InputError: names the first of them.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"two {what} have the name {name!r}")
        seen.add(name)


def check_tensors(tensors: Iterable[onnx.TensorProto]) -> None:
    """Check shapes, types, lengths and places of tensors, without opening anything.

    Raises:
        InputError: names the tensor, and the fault.
    """
    for tensor in tensors:
        dims, kind = list(tensor.dims), NAMES.get(tensor.data_type, UNDEFINED)
        if kind == UNDEFINED:
            raise InputError(f"the tensor {tensor.name!r} has the unknown element type {tensor.data_type}")
        if any(size < 0 for size in dims):
            raise InputError(f"the tensor {tensor.name!r} has the negative size {min(dims)} in its shape {dims}")
        check_size(tensor.name, dims)
        if tensor.data_location == _EXTERNAL:
            _check_place(tensor, dims, kind)
        elif tensor.HasField("raw_data"):
            check_length(tensor.name, dims, tensor.data_type, len(tensor.raw_data))


def check_size(name: str, shape: Iterable[int]) -> None:
    """Refuse shapes that no machine can hold.

    Raises:
        InputError: names the tensor and its shape.
    """
    elements = 1
    for size in shape:
        elements *= size
    if elements >= MOST_ELEMENTS:
        raise InputError(
            f"the tensor {name!r} of shape {list(shape)} has {elements:,} elements, which no machine can hold; is the file damaged?"
        )


def _check_place(tensor: onnx.TensorProto, dims: list[int], kind: str) -> None:
    facts = {entry.key: entry.value for entry in tensor.external_data}
    place = facts.get("location", "")
    if not place:
        raise InputError(f"the tensor {tensor.name!r} lies outside the file, but no location is given")
    check_location(tensor.name, place)
    length = _whole(tensor.name, "length", facts.get("length"))
    _whole(tensor.name, "offset", facts.get("offset"))
    elements = 1
    for size in dims:
        elements *= size
    wanted = (elements * bits_of(kind) + 7) // 8
    if length is not None and length != wanted:
        raise InputError(
            f"the tensor {tensor.name!r} declares {kind}{dims}, which takes {wanted:,} bytes, but its external data {length:,}"
        )


def check_location(name: str, place: str) -> None:
    """Refuse places outside the model's folder. Nothing is opened.

    Raises:
        InputError: names the tensor and the place.
    """
    fault = _fault_of(place)
    if fault:
        raise InputError(f"the tensor {name!r} {fault}")


@lru_cache(maxsize=256)
def _fault_of(place: str) -> str:
    """What is wrong with a place, if anything; most models name the same one for all their weights."""
    if not isinstance(place, str):
        return "names external data in a text that is no UTF-8"
    absolute = PurePosixPath(place).is_absolute() or PureWindowsPath(place).is_absolute() or PureWindowsPath(place).drive
    parts = place.replace("\\", "/").split("/")
    if absolute or ".." in parts or "\0" in place:
        return f"names the external data {place!r}, which lies outside the model's folder"
    if "_ORT_MEM_ADDR_" in place:
        return f"names an address in the memory of the program that saved it ({place!r}) instead of a file"
    return ""


def _whole(name: str, what: str, text: Any) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise InputError(f"the tensor {name!r} has the {what} {text!r} for its external data, where a whole number is needed")
    return int(text)
