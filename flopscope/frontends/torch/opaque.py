"""Modules that are priced as a whole: their ops are replaced by one."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten

from flopscope.frontends.torch.cells import Cell
from flopscope.frontends.torch.tracer import Tracer
from flopscope.graph import Effect, Op, Signature
from flopscope.graph import Tensor as Value


def target_of(module_class: type) -> str:
    """The target of the op that stands for a module of this class."""
    return f"module::{module_class.__module__}.{module_class.__qualname__}"


Inputs = list[tuple[Cell, Value]]
"""The cells of a module's inputs, each with the value that it showed when the module was called."""


def inputs_of(tracer: Tracer, nested: Any) -> Inputs:
    """The tensors in nested inputs, with their present values."""
    with _disable_current_modes():
        return [(tracer.cell_of(leaf), tracer.value_of(leaf)) for leaf in tree_flatten(nested)[0] if isinstance(leaf, Tensor)]


def values_of(tracer: Tracer, nested: Any) -> list[Value]:
    """The values of the tensors in nested inputs."""
    return [value for _, value in inputs_of(tracer, nested)]


def collapse(tracer: Tracer, module: nn.Module, path: str, inputs: Inputs, output: Any, first_op: int) -> None:
    """Replace the ops that ran since ``first_op`` by one, whose arguments are the inputs, weights and plain attributes of the module."""
    with _disable_current_modes():
        _collapse(tracer, module, path, inputs, output, first_op)


def _collapse(tracer: Tracer, module: nn.Module, path: str, inputs: Inputs, output: Any, first_op: int) -> None:
    made = {id(value) for op in tracer.ops[first_op:] for value in op.outputs}
    inside = {value.id for op in tracer.ops[first_op:] for value in op.outputs}
    weights = {name: tracer.cell_of(tensor) for name, tensor in module.named_parameters()}
    buffers = [cell for tensor in module.buffers() if (cell := tracer.known(tensor)) is not None]
    touched = [*(cell for cell, _ in inputs), *weights.values(), *buffers]
    before = {id(cell): value for cell, value in inputs}
    read = [*(value for _, value in inputs), *(cell.value for cell in weights.values() if id(cell.value) not in made)]
    written = [cell for cell in dict.fromkeys(touched) if id(cell.value) in made or id(cell.root.written) in made]
    returned = [tracer.cell_of(leaf) for leaf in tree_flatten(output)[0] if isinstance(leaf, Tensor)]
    passed = [cell for cell in returned if cell not in written and id(cell) in before]  # returned as it came
    results = list(dict.fromkeys([*returned, *written]))
    arguments: dict[str, Any] = {f"input{position or ''}": value.type for position, (_, value) in enumerate(inputs)}
    arguments |= {name: cell.type for name, cell in weights.items() if id(cell.value) not in made}
    arguments |= {name: value for name, value in vars(module).items() if _is_plain(name, value) and name not in arguments}
    effect: Effect = "inplace" if written else "fresh"
    types = tuple(cell.type for cell in results)
    signature = Signature(target_of(type(module)), type(module).__name__, arguments, types, effect)
    del tracer.ops[first_op:]
    op = Op(first_op, signature, tuple(read), (), path)
    tracer.ops.append(op)
    for cell in results:
        cell.value = tracer.new_value(cell.type, producer=first_op)
        if cell.storage in inside:
            cell.root.storage = cell.storage = cell.value.id
        else:
            cell.value.storage = cell.storage
        op.outputs = (*op.outputs, cell.value)
        if cell in written or (cell not in passed and id(cell.root.written) in made):
            cell.root.written = cell.seen = cell.value


def _is_plain(name: str, value: Any) -> bool:
    if name.startswith("_"):
        return False
    is_plain = isinstance(value, (bool, int, float, str))
    return is_plain or (isinstance(value, tuple) and all(isinstance(item, (bool, int, float, str)) for item in value))
