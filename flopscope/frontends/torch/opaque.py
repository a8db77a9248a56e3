"""Modules that are priced as a whole: their ops are replaced by one."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten

from flopscope.frontends.torch.tracer import Tracer
from flopscope.graph import Op, Signature
from flopscope.graph import Tensor as Value


def target_of(module_class: type) -> str:
    """The target of the op that stands for a module of this class."""
    return f"module::{module_class.__module__}.{module_class.__qualname__}"


def values_of(tracer: Tracer, nested: Any) -> list[Value]:
    """The values of the tensors in nested inputs."""
    with _disable_current_modes():
        return [tracer.value_of(leaf) for leaf in tree_flatten(nested)[0] if isinstance(leaf, Tensor)]


def collapse(tracer: Tracer, module: nn.Module, path: str, inputs: list[Value], output: Any, first_op: int) -> None:
    """Replace the ops that ran since ``first_op`` by one, whose arguments are the inputs, weights and plain attributes of the module."""
    with _disable_current_modes():
        _collapse(tracer, module, path, inputs, output, first_op)


def _collapse(tracer: Tracer, module: nn.Module, path: str, inputs: list[Value], output: Any, first_op: int) -> None:
    weights = {name: tracer.cell_of(tensor).value for name, tensor in module.named_parameters()}
    cells = [tracer.cell_of(leaf) for leaf in tree_flatten(output)[0] if isinstance(leaf, Tensor)]
    arguments: dict[str, Any] = {f"input{position or ''}": value.type for position, value in enumerate(inputs)}
    arguments |= {name: value.type for name, value in weights.items()}
    arguments |= {name: value for name, value in vars(module).items() if _is_plain(name, value) and name not in arguments}
    signature = Signature(target_of(type(module)), type(module).__name__, arguments, tuple(cell.type for cell in cells))
    del tracer.ops[first_op:]
    op = Op(first_op, signature, (*inputs, *weights.values()), (), path)
    tracer.ops.append(op)
    for cell in cells:
        cell.value = tracer.new_value(cell.type, producer=first_op)
        op.outputs = (*op.outputs, cell.value)


def _is_plain(name: str, value: Any) -> bool:
    if name.startswith("_"):
        return False
    is_plain = isinstance(value, (bool, int, float, str))
    return is_plain or (isinstance(value, tuple) and all(isinstance(item, (bool, int, float, str)) for item in value))
