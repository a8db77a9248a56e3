"""The inputs of a model: their types as the file declares them, and sizes for the dimensions that it leaves open."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flopscope.errors import InputError, OptionError
from flopscope.frontends.onnx.checks import check_size
from flopscope.frontends.onnx.dtypes import CODES, NAMES, UNDEFINED
from flopscope.frontends.onnx.expressions import computed
from flopscope.frontends.onnx.types.inference import shape_of
from flopscope.frontends.onnx.values import Value
from flopscope.graph import TensorType

if TYPE_CHECKING:
    import onnx

CHOICES = ((128, 224), (512, 512), (16_000, 1024), (1, 1))
"""Lengths of sequences and sides of images that are tried where a file leaves them open, until one fits."""
_TEXT = re.compile(r"(?:(?P<name>.+?)[:=])?(?P<shape>\d+(?:[x,]\d+)*|\(\))(?::(?P<dtype>[a-z]\w*))?")
_HOLDING = ("sequence_type", "optional_type", "map_type")
_DIM = re.compile(r"(?P<name>[^=]+)=(?P<size>\d+)")


def parse_dims(texts: Sequence[str]) -> dict[str, int]:
    """``batch=1`` and the like, as sizes by name.

    Raises:
        OptionError: a text is not ``NAME=SIZE``, or names a dimension twice.
    """
    dims: dict[str, int] = {}
    for text in texts:
        match = _DIM.fullmatch(text.strip())
        if match is None:
            raise OptionError(f"--dim {text!r} is not NAME=SIZE, as in --dim batch=1")
        name = match["name"].strip()
        if name in dims:
            raise OptionError(f"--dim gives {name!r} twice")
        dims[name] = int(match["size"])
    return dims


@dataclass(frozen=True, slots=True)
class _Held:
    """What was given for an input that is no tensor: a list, a mapping, or ``None`` for an optional value that holds nothing."""

    item: Any


class Inputs:
    """The inputs of a model, and the sizes of its dynamic dimensions."""

    def __init__(
        self,
        graph: onnx.GraphProto,
        asked: Sequence[Any],
        named: Mapping[str, Any],
        dims: Mapping[str, int],
        choice: tuple[int, int] = CHOICES[0],
    ) -> None:
        """Bring together what the file declares and what was asked for.

        Args:
            graph: the graph of the model.
            asked: shapes as text, or arrays, in the order of the inputs; a text may name its input (``"images:1x3x640x640"``).
            named: the same by the names of the inputs; for a sequence a list of arrays, for an optional value perhaps ``None``.
            dims: sizes of named dimensions.
            choice: the length of sequences and the side of images where the file leaves them open.

        Raises:
            InputError: something asked for does not fit the model.
            OptionError: a dimension has no such name, or no size.
        """
        weights = {tensor.name for tensor in graph.initializer} | {sparse.values.name for sparse in graph.sparse_initializer}
        self._declared = {value.name: value for value in graph.input if value.name not in weights}
        self.dims = dict(dims)
        self._choice = choice
        self.defaults: dict[str, int] = {}
        """Sizes that were made up, by the name of the dimension, or of the input and the position."""
        self._learned = _met_by_weights(graph)
        self._given = self._by_name(asked, named)
        self._bind_given()
        self._check_dims(graph)

    def values(self) -> list[Value]:
        """The inputs with their types; those without any shape have none.

        Raises:
            InputError: a shape is absurd.
        """
        return [self._value(name, declared.type) for name, declared in self._declared.items()]

    def _by_name(self, asked: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        names = list(self._declared)
        given: dict[str, Any] = {}
        position = 0
        for item in asked:
            name, value = _parsed(item, self._declared)
            if name is None:
                if position >= len(names):
                    raise InputError(f"{position + 1} inputs were given, but the model has {len(names)}: {', '.join(names) or 'none'}")
                name, position = names[position], position + 1
            given[name] = value
        for name, item in named.items():
            held = name in self._declared and self._declared[name].type.WhichOneof("value") in _HOLDING
            given[name] = _Held(item) if held else _parsed(item, self._declared)[1]
        for name in given:
            if name not in self._declared:
                raise InputError(f"the model has no input {name!r}{_nearest(name, names)} Its inputs are: {', '.join(names) or 'none'}.")
        return given

    def _bind_given(self) -> None:
        """Let the given shapes fix the named dimensions."""
        for name, given in self._given.items():
            declared = shape_of(self._declared[name].type.tensor_type)
            if declared is None or not isinstance(given, tuple):
                continue
            shape = given[0]
            if len(declared) != len(shape):
                raise InputError(
                    f"the input {name!r} was given as {list(shape)}, but the model declares {len(declared)} dimensions: {_text(declared)}"
                )
            for wanted, size in zip(declared, shape, strict=True):
                known = self.dims.setdefault(wanted, size) if isinstance(wanted, str) else wanted
                if known not in (None, size) and not (isinstance(wanted, int) and wanted <= 0):
                    raise InputError(f"the input {name!r} was given as {list(shape)}, but the model declares {_text(declared)}")

    def _check_dims(self, graph: onnx.GraphProto) -> None:
        known = {dim.dim_param for value in graph.input for dim in value.type.tensor_type.shape.dim if dim.dim_param}
        for name, size in self.dims.items():
            if name not in known:
                listed = ", ".join(sorted(known)) or "none"
                raise OptionError(f"the model has no dimension {name!r}{_nearest(name, sorted(known))} Its named dimensions are: {listed}.")
            if size < 1:
                raise OptionError(f"the dimension {name!r} was given the size {size}, where at least 1 is needed")

    def _value(self, name: str, declared: Any) -> Value:
        which = declared.WhichOneof("value")
        if which in _HOLDING:
            given = self._given.get(name)
            if not isinstance(given, _Held) and which == "map_type":
                given = _Held(dict.fromkeys(range(self.defaults.setdefault(f"{name}[0]", 1))))
            return _held(name, declared, given.item) if isinstance(given, _Held) else Value(name, _dtype_inside(declared))
        tensor = declared.sparse_tensor_type if which == "sparse_tensor_type" else declared.tensor_type
        dtype = NAMES.get(tensor.elem_type, UNDEFINED)
        if name in self._given:
            shape, asked_dtype, data = self._given[name]
            dtype = asked_dtype or dtype
            check_size(name, shape)
            return Value(name, dtype, TensorType.of(shape, dtype), data)
        open_shape = shape_of(tensor)
        if open_shape is None:
            return Value(name, dtype)
        shape = tuple(self._size(name, position, size, open_shape) for position, size in enumerate(open_shape))
        check_size(name, shape)
        return Value(name, dtype, TensorType.of(shape, dtype))

    def _size(self, name: str, position: int, size: int | str | None, shape: Sequence[Any]) -> int:
        if isinstance(size, int) and size > 0:
            return size
        if isinstance(size, int) and size == 0 and len(shape) != 4:
            return 0
        if isinstance(size, str) and size in self.dims:
            return self.dims[size]
        if isinstance(size, str) and size not in self.defaults:
            written = computed(size, self._size_of)
            if written is not None:
                return written
        key = size if isinstance(size, str) else f"{name}[{position}]"
        learned = self._learned.get((name, position - len(shape)))
        return self.defaults.setdefault(key, learned or self._default(key if isinstance(size, str) else "", position, shape))

    def _size_of(self, wanted: str) -> int | None:
        """The size of a dimension that some input has, given or chosen; ``None`` where no input has one of that name."""
        if wanted in self.dims:
            return self.dims[wanted]
        for name, declared in self._declared.items():
            shape = shape_of(declared.type.tensor_type) or ()
            if wanted in shape:
                return self._size(name, shape.index(wanted), wanted, shape)
        return None

    def _default(self, name: str, position: int, shape: Sequence[Any]) -> int:
        """A size for an open dimension: one for the batch, a length for tokens, a side for images, and else one."""
        length, side = self._choice
        low = name.lower()
        is_state = len(shape) == 3 and position == 1 and isinstance(shape[0], int) and shape[0] > 1  # [layers, batch, width]
        if position == 0 or "batch" in low or is_state:
            return 1
        if "past" in low:
            return length
        if any(word in low for word in ("height", "width", "img", "image")) or (len(shape) == 4 and position >= 2) or low in ("h", "w"):
            return side
        if len(shape) == 4 and position == 1:
            return 3
        words = ("seq", "len", "token", "time", "frame", "sample", "audio")
        if any(word in low for word in words) or len(shape) in (2, 3):
            return length
        return 1

    def bound(self, size: int | str | None) -> int | None:
        """The size of a dimension by its name, or the number that it is already."""
        if isinstance(size, str):
            found = self.dims.get(size, self.defaults.get(size))
            return computed(size, lambda name: self.dims.get(name, self.defaults.get(name))) if found is None else found
        return size


def _met_by_weights(graph: onnx.GraphProto) -> dict[tuple[str, int], int]:
    """Sizes that weights demand of inputs that meet them directly, by the input and the dimension counted from the last."""
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    found: dict[tuple[str, int], int] = {}
    for node in graph.node:
        if len(node.input) < 2 or node.input[1] not in weights:
            continue
        name, shape = node.input[0], weights[node.input[1]]
        if node.op_type == "MatMul" and len(shape) == 2:
            found.setdefault((name, -1), shape[0])
        elif node.op_type == "Gemm" and len(shape) == 2:
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            found.setdefault((name, -1), shape[1] if transposed else shape[0])
        elif node.op_type == "Conv" and len(shape) > 2:
            groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
            found.setdefault((name, 1 - len(shape)), shape[1] * groups)
    return found


def _parsed(item: Any, declared: Mapping[str, Any]) -> tuple[str | None, tuple[tuple[int, ...], str | None, Any]]:
    """The name of an input, if it is given, and its shape, dtype and data."""
    if not isinstance(item, str):
        return None, _from_array(item)
    name = next((name for name in sorted(declared, key=len, reverse=True) if item.startswith((f"{name}:", f"{name}="))), None)
    match = _TEXT.fullmatch(item.strip() if name is None else item[len(name) + 1 :].strip())
    if match is None:
        raise InputError(
            f"{item!r} is no shape: expected sizes with an x between them, as in '1x3x224x224', 'images:1x3x640x640' or 'ids=1x128:int64'"
        )
    dtype = match["dtype"]
    if dtype is not None and dtype not in CODES:
        raise InputError(
            f"{item!r} names the element type {dtype!r}, which ONNX does not have; choose for example float32, float16 or int64"
        )
    sizes = () if match["shape"] == "()" else tuple(int(size) for size in re.split("[x,]", match["shape"]))
    return name or match["name"], (sizes, dtype, None)


def _dtype_inside(declared: Any) -> str:
    """The element type of the tensors that a sequence, an optional value or a map holds."""
    which = declared.WhichOneof("value")
    if which == "map_type":
        return _dtype_inside(declared.map_type.value_type)
    if which in _HOLDING:
        return _dtype_inside(getattr(declared, which).elem_type)
    return NAMES.get(declared.tensor_type.elem_type, UNDEFINED)


def _held(name: str, declared: Any, item: Any) -> Value:
    """The value of an input that is no tensor."""
    which = declared.WhichOneof("value")
    dtype = _dtype_inside(declared)
    if which == "optional_type":
        return Value(name, dtype, absent=True) if item is None else _held(name, declared.optional_type.elem_type, item)
    if which == "sequence_type":
        if not isinstance(item, list | tuple):
            raise InputError(f"the input {name!r} is a sequence, for which a list of arrays is needed, but {type(item).__name__} was given")
        return Value(name, dtype, items=tuple([_held(name, declared.sequence_type.elem_type, element) for element in item]))
    if which == "map_type" and isinstance(item, Mapping):
        return Value(name, dtype, TensorType.of((len(item),), dtype))
    shape, own, data = _from_array(item)
    check_size(name, shape)
    return Value(name, own or dtype, TensorType.of(shape, own or dtype), data)


def _from_array(item: Any) -> tuple[tuple[int, ...], str | None, Any]:
    import numpy as np

    from flopscope.frontends.onnx.dtypes import name_of
    from flopscope.frontends.onnx.folding import MOST_ELEMENTS

    array = np.asarray(item)
    dtype = name_of(array.dtype)
    if dtype is None or (array.dtype.kind == "O" and not array.shape and not isinstance(array.item(), str)):
        raise InputError(f"an input was given as {type(item).__name__}, where a text such as '1x3x224x224' or a NumPy array is needed")
    if array.size > MOST_ELEMENTS:
        return array.shape, dtype, None
    return array.shape, dtype, array.astype(str) if dtype == "string" else array


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {close[0]!r}?" if close else "."


def _text(shape: Sequence[Any]) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
