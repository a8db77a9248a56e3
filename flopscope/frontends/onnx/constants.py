"""The tensors that a file holds: initialisers and the values of Constant nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flopscope.errors import InputError
from flopscope.frontends.onnx.checks import check_tensors, refuse_repeated
from flopscope.frontends.onnx.dtypes import FLOATING, NAMES, UNDEFINED, name_of, numpy_dtype
from flopscope.frontends.onnx.thin import KEPT_BYTES
from flopscope.frontends.onnx.values import Array, Value
from flopscope.frontends.onnx.weights import Standings
from flopscope.graph import Tensor, TensorType, Weight

if TYPE_CHECKING:
    import onnx

    from flopscope.frontends.onnx.walker import Walker

_EXTERNAL = 1
_MOST_FLOATS = 16
"""Floating-point tensors with more elements hold no facts about shapes."""


def data_of(data: Array, dtype: str) -> tuple[str, Array]:
    """Folded elements, in the element type that the op declares where it declares one."""
    own = name_of(data.dtype)
    wanted = numpy_dtype(dtype)
    if wanted is not None and own != dtype:
        return dtype, data.astype(wanted)
    return own or dtype, data


class Constants:
    """The tensors of a file, each once."""

    def __init__(self, walker: Walker) -> None:
        self._walker = walker
        self.standings = Standings(walker.functions.by_key)
        self.parameters: dict[str, Weight] = {}
        self.buffers: dict[str, Weight] = {}
        self.tensors: dict[str, Tensor] = {}
        self._graphs: dict[int, tuple[onnx.GraphProto, dict[str, Value]]] = {}
        """The initialisers of each graph, which may be walked more than once."""

    def initialisers(self, graph: onnx.GraphProto) -> dict[str, Value]:
        """The initialisers of a graph as values, by name.

        Raises:
            InputError: one is not what it says.
        """
        known = self._graphs.get(id(graph))
        if known is not None:
            return known[1]
        check_tensors(graph.initializer)
        refuse_repeated((tensor.name for tensor in graph.initializer), "initializers")
        values = {tensor.name: self._value(tensor.name, tensor, constant=False) for tensor in graph.initializer}
        for sparse in graph.sparse_initializer:
            values[sparse.values.name] = self._sparse(sparse)
        self._graphs[id(graph)] = graph, values
        return values

    def of_node(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> Value:
        """What a Constant node makes.

        Raises:
            InputError: it has no value, or one that is not what it says.
        """
        if len(node.output) != 1:
            raise InputError(f"it is a constant with {len(node.output)} outputs instead of one")
        name = node.output[0]
        for key in ("value", "value_int", "value_ints", "value_float", "value_floats", "value_string", "value_strings", "sparse_value"):
            if key in attributes:
                value = attributes[key]
                break
        else:
            raise InputError("it is a constant without a value")
        if key == "value":
            check_tensors((value,))
            return self._value(name, value, constant=True)
        if key.startswith("value_string"):
            shape = () if key == "value_string" else (len(value),)
            return Value(name, "string", TensorType.of(shape, "string"))
        if value is None:  # a sparse tensor, which says its shape in a part that is not read
            return Value(name)
        data = np.asarray(value, np.int64 if "int" in key else np.float32)
        return Value(name, str(data.dtype), TensorType.of(data.shape, str(data.dtype)), data)

    def _value(self, name: str, tensor: onnx.TensorProto, *, constant: bool) -> Value:
        dtype = NAMES.get(tensor.data_type, UNDEFINED)
        type = TensorType.of(tuple(tensor.dims), dtype)
        standing = self.standings.of(name, dtype, type.elements, constant=constant)
        own = name if constant else self._own_name(name)
        place = self._walker.tensor(type, role=standing, name=own)
        self._list(own, self.standings.unpacked(name, type), standing, place)
        return Value(name, dtype, type, _small_data(tensor, dtype, type.elements), tensor=place)

    def _sparse(self, sparse: onnx.SparseTensorProto) -> Value:
        name, dtype = sparse.values.name, NAMES.get(sparse.values.data_type, UNDEFINED)
        type = TensorType.of(tuple(sparse.dims), dtype, nonzero=sparse.values.dims[0] if sparse.values.dims else 0)
        standing = self.standings.of(name, dtype, type.elements)
        place = self._walker.tensor(type, role=standing, name=name)
        self._list(name, type, standing, place)
        return Value(name, dtype, type, tensor=place)

    def _own_name(self, name: str) -> str:
        """The name of an initialiser, which graphs beside each other (the branches of an ``If``) may both use for their own."""
        own, number = name, 1
        while own in self.tensors:
            number += 1
            own = f"{name} ({number})"
        return own

    def adopted(self, name: str, type: TensorType) -> Tensor | None:
        """The place of a value that a node makes but a layer uses as its weight; ``None`` for other values."""
        standing = self.standings.of(name, type.dtype, type.elements, constant=True)
        if standing == "constant":
            return None
        place = self._walker.tensor(type, role=standing, name=name)
        self._list(name, type, standing, place)
        return place

    def _list(self, name: str, type: TensorType, standing: str, place: Tensor) -> None:
        if standing in ("parameter", "buffer"):
            listed = self.parameters if standing == "parameter" else self.buffers
            listed.setdefault(name, Weight(name, type, ""))
            self.tensors[name] = place

    def place(self, name: str, scope: str) -> None:
        """Give a weight the scope of the first node that reads it."""
        weight = self.parameters.get(name) or self.buffers.get(name)
        if weight is not None and not weight.scope:
            weight.scope = scope


def _small_data(tensor: onnx.TensorProto, dtype: str, elements: int) -> Array | None:
    """The elements of a tensor that may say something about shapes, where they are in the file."""
    if elements > _MOST_FLOATS and dtype in FLOATING:
        return None
    kind = numpy_dtype(dtype)
    if kind is None or tensor.data_location == _EXTERNAL or elements * np.dtype(kind).itemsize > KEPT_BYTES:
        return None
    from onnx import numpy_helper

    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError):
        return None  # stripped weights: the shape is all there is
