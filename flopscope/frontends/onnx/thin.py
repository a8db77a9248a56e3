"""Reading the structure of an ONNX file without its weights.

A file is a protobuf message, in which every length is written before its content. So tensors' contents are skipped without being touched,
whatever their size: a file of many gigabytes costs what its structure costs, and one message may be larger than the 2 GB that protobuf
itself reads. What is skipped is checked against the declared shape, by its length alone.

Source of the format: the protobuf encoding guide, and onnx.proto for the numbers of the fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from flopscope.errors import InputError
from flopscope.frontends.onnx.dtypes import NAMES, UNDEFINED
from flopscope.graph import bits_of

KEPT_BYTES = 16_384
"""Contents of tensors up to this size are kept: they may be shapes, axes or indices."""
_MOST_NESTED = 64
_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)
_MODEL_GRAPH, _MODEL_FUNCTIONS, _FUNCTION_NODE = 7, 25, 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 5, 6, 10, 11, 22, 23
_SPARSE_VALUES, _SPARSE_INDICES = 1, 2
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_CONTENTS = frozenset((4, 5, 6, 7, _TENSOR_RAW, 10, 11))


@dataclass
class Thin:
    """A model without the contents of its large tensors."""

    message: bytes
    skipped: dict[str, int] = field(default_factory=dict)
    """The bytes of contents that were left out, by the name of the tensor."""


Buffer = memoryview
_Handler = Callable[[Buffer, "Thin", int], bytes]


def thin(buffer: Buffer) -> Thin:
    """The message of a model, without the contents of large tensors.

    Raises:
        InputError: it is no message, or is cut off.
    """
    result = Thin(b"")
    result.message = _copied(buffer, result, 0, {_MODEL_GRAPH: _graph, _MODEL_FUNCTIONS: _function})
    return result


def _copied(buffer: Buffer, found: Thin, depth: int, handlers: Mapping[int, _Handler]) -> bytes:
    """A message in which the large fields that have a handler are replaced by what it gives."""
    if depth > _MOST_NESTED:
        raise InputError(f"it is nested more than {_MOST_NESTED} levels deep, which no model needs")
    parts: list[bytes] = []
    copied = 0
    for number, start, content, end in _fields(buffer):
        handler = handlers.get(number)
        if handler is None or end - content <= KEPT_BYTES:
            continue
        parts.append(bytes(buffer[copied:start]))
        inner = handler(buffer[content:end], found, depth + 1)
        parts.append(_varint(number << 3 | _BYTES) + _varint(len(inner)) + inner)
        copied = end
    parts.append(bytes(buffer[copied:]))
    return b"".join(parts)


def _graph(buffer: Buffer, found: Thin, depth: int) -> bytes:
    return _copied(buffer, found, depth, {_GRAPH_NODE: _node, _GRAPH_INITIALIZER: _tensor, _GRAPH_SPARSE: _sparse})


def _function(buffer: Buffer, found: Thin, depth: int) -> bytes:
    return _copied(buffer, found, depth, {_FUNCTION_NODE: _node})


def _node(buffer: Buffer, found: Thin, depth: int) -> bytes:
    return _copied(buffer, found, depth, {_NODE_ATTRIBUTE: _attribute})


def _attribute(buffer: Buffer, found: Thin, depth: int) -> bytes:
    handlers: dict[int, _Handler] = {
        _ATTRIBUTE_TENSOR: _tensor,
        _ATTRIBUTE_TENSORS: _tensor,
        _ATTRIBUTE_GRAPH: _graph,
        _ATTRIBUTE_GRAPHS: _graph,
        _ATTRIBUTE_SPARSE: _sparse,
        _ATTRIBUTE_SPARSES: _sparse,
    }
    return _copied(buffer, found, depth, handlers)


def _sparse(buffer: Buffer, found: Thin, depth: int) -> bytes:
    return _copied(buffer, found, depth, {_SPARSE_VALUES: _tensor, _SPARSE_INDICES: _tensor})


def _tensor(buffer: Buffer, found: Thin, depth: int) -> bytes:  # noqa: ARG001 - a tensor has no further levels
    parts: list[bytes] = []
    dims: list[int] = []
    dtype, name, raw, left_out = 0, "", None, 0
    for number, start, content, end in _fields(buffer):
        if number in _CONTENTS:
            left_out += end - content
            raw = end - content if number == _TENSOR_RAW else raw
            continue
        parts.append(bytes(buffer[start:end]))
        if number == _TENSOR_DIMS:
            dims += _integers(buffer[content:end])
        elif number == _TENSOR_TYPE:
            dtype = _integers(buffer[content:end])[0]
        elif number == _TENSOR_NAME:
            name = bytes(buffer[content:end]).decode(errors="replace")
    if raw is not None:
        check_length(name, dims, dtype, raw)
    found.skipped[name] = left_out
    return b"".join(parts)


def check_length(name: str, dims: list[int], dtype: int, raw_bytes: int) -> None:
    """Check that the contents of a tensor are as long as its shape and type say.

    Raises:
        InputError: they are not.
    """
    kind = NAMES.get(dtype, UNDEFINED)
    if kind in (UNDEFINED, "string") or any(size < 0 for size in dims):
        return  # reported by the check of all tensors
    elements = 1
    for size in dims:
        elements *= size
    wanted = (elements * bits_of(kind) + 7) // 8
    if raw_bytes != wanted and raw_bytes:  # none at all: the weights were stripped
        raise InputError(f"the tensor {name!r} declares {kind}{dims}, which takes {wanted:,} bytes, but holds {raw_bytes:,}")


def _fields(buffer: Buffer) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: number, start, start of the content, and end."""
    position, size = 0, len(buffer)
    while position < size:
        start = position
        key, position = _read_varint(buffer, position, size)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise InputError(f"it is no ONNX model: byte {start} starts no field")
        content = position
        if wire == _BYTES:
            length, content = _read_varint(buffer, position, size)
            position = content + length
        elif wire == _VARINT:
            _, position = _read_varint(buffer, position, size)
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
        else:
            raise InputError(f"it is no ONNX model: byte {start} starts a field of the unknown wire type {wire}")
        if position > size:
            raise InputError(f"it is cut off: a field needs {position - size:,} bytes more than there are")
        yield number, start, content, position


def _read_varint(buffer: Buffer, position: int, size: int) -> tuple[int, int]:
    value, shift = 0, 0
    while position < size:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            break
    raise InputError("it is no ONNX model, or is cut off inside a number")


def _integers(buffer: Buffer) -> list[int]:
    values, position = [], 0
    while position < len(buffer):
        value, position = _read_varint(buffer, position, len(buffer))
        values.append(value - (1 << 64) if value >= 1 << 63 else value)
    return values


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
