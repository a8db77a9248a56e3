"""Every op that torch knows, and what becomes of a call of it: priced, free, or not counted.

The ops are those that a trace can meet: every overload that the dispatcher of the installed torch knows in the namespaces below, and the
higher-order ops. TorchScript's own instructions on lists, strings and numbers (``aten::append``) never reach the dispatcher.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch

from flopscope.frontends.torch.kinds import kind_of
from flopscope.rules.registry import VIEW, free, registered
from flopscope.rules.uncounted import CLOSED, OPENED, why_uncounted

NAMESPACES = (
    "aten", "prims", "torchvision", "image", "quantized", "_quantized", "quantized_decomposed", "quantization", "sparse", "mkldnn", "mkl",
    "mkldnn_prepacked", "onednn", "inductor", "rngprims", "_c10d_functional", "c10d_functional", "profiler", "torch_nn",
    "onnx",
)  # fmt: skip
_REGISTER = (
    "torchvision", "torch.ao.quantization.fx._decomposed", "torch._higher_order_ops", "torch._higher_order_ops.triton_kernel_wrap",
    "torch._dynamo._trace_wrapped_higher_order_op", "torch.nn.modules.linear_cross_entropy", "torch.onnx.ops",
)  # fmt: skip
"""Modules that register ops when they are imported."""
_OF_THE_COMPILER = frozenset((
    "inductor::quack_symmetric_mm", "prims::_low_memory_max_pool_offsets_to_indices", "prims::_low_memory_max_pool_with_offsets",
    "prims::fma", "prims::prepare_softmax_online", "higher_order::control_deps",
))  # fmt: skip
"""Ops that only the compiler writes, into code that it has lowered (beside all ``prims::inductor_*``): no model calls them. They are
registered once the compiler is imported."""


class Group(StrEnum):
    """What becomes of a call."""

    PRICED = "priced by a rule"
    FREE = "free by a rule"
    VALUE = "free: neither takes nor makes a tensor"
    OPENED = "opened: what it runs is counted"
    UNCOUNTED = "known and uncounted"
    UNKNOWN = "in no group"


@dataclass(frozen=True, slots=True)
class Standing:
    """One overload, and the group that it is in."""

    op: str
    """The qualified name without the overload, as in `Signature.target`."""
    overload: str
    group: Group
    reason: str
    """The convention of its rule, or why there is none."""
    has_rule: bool
    """Whether a rule would price it, whatever the list of uncounted ops says."""


def standings() -> Iterator[Standing]:
    """The standing of every op of the installed torch."""
    for module in _REGISTER:
        with suppress(ModuleNotFoundError):  # another version of torch, or no torchvision
            importlib.import_module(module)
    dispatched = set(torch._C._dispatch_get_all_op_names())
    for schema in torch._C._jit_get_all_schemas():
        name, overload = str(schema.name), str(schema.overload_name)
        is_met = name.partition("::")[0] in NAMESPACES and not _is_of_the_compiler(name)
        if is_met and (f"{name}.{overload}" if overload else name) in dispatched:
            yield standing(schema)
    names = (name for name in sorted(_higher_order_names()) if not _is_of_the_compiler(f"higher_order::{name}"))
    yield from map(_of_higher_order, names)


def _is_of_the_compiler(name: str) -> bool:
    return name in _OF_THE_COMPILER or name.startswith("prims::inductor_")


def standing(schema: Any) -> Standing:
    """The standing of the overload with this schema."""
    name, overload = str(schema.name), str(schema.overload_name)
    writes = any(argument.alias_info is not None and argument.alias_info.is_write for argument in schema.arguments)
    target = name.removesuffix("_") if writes and name.endswith("_") and not name.endswith("__") else name
    rules = registered()
    rule = rules.get(target) or rules.get(kind_of(target))
    shares = all(result.alias_info is not None and not result.alias_info.is_write for result in schema.returns) and schema.returns
    why = why_uncounted(target)
    if why is not None:
        group, reason = Group.UNCOUNTED, why
    elif rule is not None:
        group, reason = Group.FREE if rule.formula is free else Group.PRICED, rule.flops
    elif shares:
        group, reason = Group.FREE, rules[VIEW].flops
    elif not _meets_tensors(schema):
        group, reason = Group.VALUE, "none: it takes and makes values of Python"
    else:
        group, reason = Group.UNKNOWN, ""
    return Standing(target, overload, group, reason, rule is not None)


def _meets_tensors(schema: Any) -> bool:
    return any("Tensor" in str(item.type) for item in (*schema.arguments, *schema.returns))


def _higher_order_names() -> set[str]:
    from torch._ops import _higher_order_ops

    return set(map(str, _higher_order_ops))


def _of_higher_order(name: str) -> Standing:
    target = f"higher_order::{name}"
    has_rule = target in registered()
    if name in OPENED:
        return Standing(target, "", Group.OPENED, "the ops of the functions that it is given", has_rule)
    if name in CLOSED:
        return Standing(target, "", Group.UNCOUNTED, CLOSED[name], has_rule)
    return Standing(target, "", Group.PRICED if has_rule else Group.UNKNOWN, "", has_rule)
