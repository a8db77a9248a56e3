"""Ops of quantised modules: their weights lie packed in objects that are no tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flopscope.frontends.torch.real import CPU, DataNeeded
from flopscope.frontends.torch.schema import flat_tensors, map_tensors, named_arguments, plain, schema_of
from flopscope.graph import Op, Signature
from flopscope.graph import Tensor as Value

if TYPE_CHECKING:
    from flopscope.frontends.torch.ledger import Ledger

_FLOATING_LINEAR = ("quantized::linear_dynamic", "quantized::linear_relu_dynamic", "quantized::linear_dynamic_fp16")
"""Linear layers on floating-point activations: the shape of their result follows from the weight."""


def call_packed(tracer: Ledger, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Answer a call whose arguments include packed weights, and write it down with the weights themselves as arguments.

    Raises:
        DataNeeded: the op quantises, which only real data can tell the result of.
    """
    schema = schema_of(func)
    tensors = flat_tensors((*args, *kwargs.values()))
    values = [tracer.value_of(tensor) for tensor in tensors]
    datas = {id(tensor): tracer.data_of(tensor) for tensor in tensors}
    weights = [tracer.packed_values(item) for item in (*args, *kwargs.values()) if isinstance(item, torch.ScriptObject)]
    if None not in datas.values():
        real = map_tensors(args, lambda tensor: datas[id(tensor)], CPU)
        result = func(*real, **{name: map_tensors(item, lambda tensor: datas[id(tensor)], CPU) for name, item in kwargs.items()})
    elif schema.target in _FLOATING_LINEAR and weights and weights[0]:
        rows = weights[0][0].type.shape[0]
        result = torch.empty((*args[0].shape[:-1], rows), dtype=args[0].dtype, device="meta")
    else:
        raise DataNeeded(schema.target, tracer.scope)
    results = flat_tensors(result)
    if not results:  # weights were packed: nothing that the graph could hold
        return result
    op = tracer.write([*values, *(value for pair in weights for value in pair)], results)
    for tensor in results:
        tracer.cell_of(tensor).root.concrete = tensor.device.type == "cpu"
    op.signature = _signature(schema, named_arguments(schema, args, kwargs), values, weights, op)
    return result


def _signature(schema: Any, named: Mapping[str, Any], values: Sequence[Value], weights: Sequence[tuple[Value, ...]], op: Op) -> Signature:
    remaining = iter(values)
    arguments: dict[str, Any] = {}
    for name, item in named.items():
        if isinstance(item, torch.ScriptObject):
            continue
        if isinstance(item, (list, tuple)) and any(isinstance(one, Tensor) for one in item):
            arguments[name] = tuple(next(remaining).type for _ in item)
        else:
            arguments[name] = next(remaining).type if isinstance(item, Tensor) else plain(item)
    # Values come in the order of the types in the arguments, so the weights are last.
    for number, pair in enumerate(weights):
        for name, value in zip(("weight", "bias"), pair, strict=False):
            arguments[f"{name}{number or ''}"] = value.type
    return Signature(schema.target, schema.target, arguments, tuple(value.type for value in op.outputs))
