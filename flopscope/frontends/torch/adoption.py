"""The inputs of a model, and the data of its weights, as a trace knows them: twins that may be written to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_flatten, tree_map

from flopscope.errors import InputError
from flopscope.frontends.torch.cells import meta_like, private_copy, type_of
from flopscope.frontends.torch.held import with_twins
from flopscope.frontends.torch.readings import note_reads
from flopscope.frontends.torch.tracer import MOST_CONCRETE_ELEMENTS, DataNeeded, Tracer
from flopscope.graph import Graph


def keeps_values(tensor: Tensor) -> bool:
    """Integer and boolean inputs are positions, ids and masks; 8-bit integers are images or quantised data."""
    return tensor.dtype in (torch.int64, torch.int32, torch.int16, torch.bool) and tensor.device.type != "meta"


def elements_with_values(inputs: Any) -> list[int]:
    """The sizes of the inputs that keep their values."""
    leaves = [leaf for leaf in tree_flatten(inputs)[0] if isinstance(leaf, Tensor) and not leaf.is_nested]
    return [leaf.numel() for leaf in leaves if keeps_values(leaf)]


def small_integers(tensor: Tensor, is_parameter: bool) -> Tensor | None:
    """A small buffer of positions or indices keeps its values. They are copied, because ops may write to them."""
    keeps = not tensor.is_floating_point() and tensor.device.type != "meta" and tensor.numel() <= MOST_CONCRETE_ELEMENTS
    return private_copy(tensor) if keeps and not is_parameter else None


def data_of_weight(tensor: Tensor, is_parameter: bool) -> Tensor:
    """Data to run a model on: a parameter's own (copied before an op writes to it), a copy of a buffer's, or made-up values."""
    with torch.inference_mode(tensor.is_inference()):
        if tensor.device.type != "meta":
            return tensor.detach().to("cpu", copy=not is_parameter)
        if not tensor.is_floating_point():
            return torch.zeros(tensor.shape, dtype=tensor.dtype)
        if tensor.dim() < 2:
            return torch.ones(tensor.shape, dtype=tensor.dtype)
        spread = max(1, tensor[0].numel()) ** -0.5
        made: Tensor = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)) * spread
        return made.to(tensor.dtype)


def adopt_inputs(
    tracer: Tracer,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    graph: Graph,
    execute: bool,
    like: Callable[[Tensor], Tensor] = meta_like,
) -> tuple[Any, Any]:
    """The same nested inputs with a twin in the place of each tensor, known to the tracer and listed in the graph.

    A twin without values is made by ``like``.

    Raises:
        InputError: a nested tensor has a layout that cannot be traced.
        DataNeeded: there is a nested input. Torch wants its values on the device of its offsets, which are true data.
    """
    seen: dict[int, Tensor] = {}

    def adopt(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return _inside(leaf, adopt)
        if id(leaf) not in seen:
            if leaf.is_nested and not execute:
                raise DataNeeded("the layout of a nested input", "")
            seen[id(leaf)] = _nested_twin(leaf, adopt) if leaf.is_nested else _twin(tracer, leaf, graph, execute, like)
        return seen[id(leaf)]

    twins: tuple[Any, Any] = tree_map(adopt, (tuple(args), dict(kwargs)), is_leaf=lambda item: isinstance(item, PackedSequence))
    return twins


def _twin(tracer: Tracer, leaf: Tensor, graph: Graph, execute: bool, like: Callable[[Tensor], Tensor]) -> Tensor:
    keeps = keeps_values(leaf) or execute
    # A sparse tensor is copied so that the model sees its layout; without values it still has only a shape.
    twin = _data_of_input(leaf) if keeps or leaf.layout is not torch.strided else like(leaf)
    value = tracer.new_value(type_of(twin), role="input")
    graph.inputs.append(value)
    tracer.adopt(twin, value, twin if keeps else None).from_input = True
    if keeps and not execute:
        note_reads(tracer, twin)
    return twin


def _nested_twin(leaf: Tensor, adopt: Callable[[Any], Any]) -> Tensor:
    """A nested tensor of twins: of all values in a row, and of the offsets of its parts, which keep their values."""
    if leaf.layout is not torch.jagged:
        parts = leaf.unbind()
        if any(part.shape[1:] != parts[0].shape[1:] for part in parts):
            shapes = ", ".join(str(tuple(part.shape)) for part in parts[:3]) + (", ..." if len(parts) > 3 else "")
            raise InputError(
                f"a nested input has parts of the shapes {shapes}; only parts that differ in nothing but their first dimension can be "
                "analysed (they are taken as torch.nested with layout=torch.jagged). Move the dimension that differs to the front, or pad "
                "the parts to one shape."
            )
        leaf = torch.nested.nested_tensor(list(parts), layout=torch.jagged)
    nested: Any = leaf
    lengths = nested._lengths
    twin: Tensor = torch.nested.nested_tensor_from_jagged(
        adopt(nested._values), adopt(nested._offsets), None if lengths is None else adopt(lengths), jagged_dim=nested._ragged_idx
    )
    return twin


def _inside(item: Any, adopt: Callable[[Any], Any]) -> Any:
    """Twins for the tensors in objects that pytree does not open: packed sequences, dataclasses, caches. The object is not written to."""
    if isinstance(item, PackedSequence):
        parts: Any = tuple(None if part is None else adopt(part) for part in item)
        return PackedSequence(*parts)
    return with_twins(item, adopt)


def _data_of_input(tensor: Tensor) -> Tensor:
    if tensor.device.type != "meta":
        return private_copy(tensor)
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    return torch.rand(tensor.shape, generator=torch.Generator().manual_seed(0)).to(tensor.dtype)
