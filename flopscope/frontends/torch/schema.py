"""What the schema of a torch operator says: its arguments, what it writes to, and whether it reads values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from flopscope.frontends.torch.cells import DTYPE_NAMES
from flopscope.frontends.torch.script_objects import packed, type_name

_READS_VALUES = frozenset((torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape))
# Composite ops that read values inside, so that their own schema does not carry the tag.
_READS_VALUES_NAMES = frozenset((
    "aten::is_nonzero", "aten::item", "aten::allclose", "aten::argwhere", "aten::nonzero_numpy", "aten::where", "aten::masked_select",
    "aten::repeat_interleave.Tensor", "aten::repeat_interleave.self_Tensor", "aten::tensor_split.tensor_indices_or_sections",
    "aten::bincount", "aten::equal", "aten::unique_consecutive", "torchvision::nms",
))  # fmt: skip
_MAKES_SPARSE = ("aten::to_sparse", "aten::_to_sparse")
"""What they cost later is a matter of how many elements are not zero."""
_INDEXING = (
    "aten::index",
    "aten::_unsafe_index",
    "aten::index_put",
    "aten::index_put_",
    "aten::_unsafe_index_put",
    "aten::_index_put_impl_",
)
_SELECTING = ("aten::index", "aten::_unsafe_index")


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """The facts about one overload that the tracer needs again and again."""

    target: str
    """The name without the overload, such as ``"aten::add"``, and without the underscore that marks an in-place variant."""
    names: tuple[str, ...]
    defaults: Mapping[str, Any]
    mutated_names: tuple[str, ...]
    """The arguments that are written to."""
    out_names: tuple[str, ...]
    """Those of them that only receive a result (``out=``)."""
    only_reshapes: bool
    """Whether it changes the shape or strides of an argument, and no element."""
    reads_values: bool


@cache
def schema_of(func: OpOverload) -> Schema:
    """The facts about an overload, found once."""
    schema = func._schema
    arguments = schema.arguments
    written = [a.name for a in arguments if a.alias_info is not None and a.alias_info.is_write]
    name = str(schema.name)
    return Schema(
        target=name.removesuffix("_") if written and name.endswith("_") and not name.endswith("__") else name,
        names=tuple(a.name for a in arguments),
        defaults={a.name: a.default_value for a in arguments if a.has_default_value()},
        mutated_names=tuple(written),
        out_names=tuple(a.name for a in arguments if a.name in written and a.kwarg_only),
        only_reshapes=torch.Tag.inplace_view in func.tags or name in ("aten::resize_", "aten::set_", "aten::resize_as_", "aten::detach_"),
        reads_values=reads_values(func),
    )


def reads_values(func: OpOverload) -> bool:
    """Whether what an op returns cannot be known from shapes alone; of indexing, `indexes_by_mask` knows more."""
    name, overload = str(func._schema.name), str(func._schema.overload_name)
    if (f"{name}.{overload}" if overload else name) in _READS_VALUES_NAMES:
        return True
    if name.startswith(_MAKES_SPARSE):
        return True
    return bool(_READS_VALUES.intersection(func.tags)) and name not in _INDEXING


def named_arguments(schema: Schema, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a call by name, defaults filled in."""
    named = dict(schema.defaults)
    named.update(zip(schema.names, args, strict=False))
    named.update(kwargs)
    return {name: named[name] for name in schema.names if name in named}


def plain(value: Any) -> Any:
    """An argument that is not a tensor in a form that graphs can hold: no torch objects."""
    if isinstance(value, torch.dtype):
        return DTYPE_NAMES[value]
    if isinstance(value, (list, tuple)):
        return tuple(plain(item) for item in value)
    if isinstance(value, (torch.layout, torch.memory_format)):
        return str(value).removeprefix("torch.")
    if isinstance(value, (torch.device, torch.Generator)):
        return None
    if isinstance(value, torch.ScriptObject):
        return packed(value) or type_name(value)
    return value if value is None or isinstance(value, (bool, int, float, complex, str)) else repr(value)


def map_tensors(value: Any, change: Any, device: torch.device) -> Any:
    """The same nested value with each tensor changed, and with each device replaced."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return [map_tensors(item, change, device) for item in value]
    if isinstance(value, torch.device):
        return device
    return value


def indexes_by_mask(schema: Schema, args: Sequence[Any]) -> bool:
    """Whether an indexing op selects by a mask, so that the shape of its result depends on values."""
    if schema.target not in _SELECTING or len(args) < 2:
        return False
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def flat_tensors(value: Any) -> list[Tensor]:
    """The tensors in a nested value, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in flat_tensors(item)]
    return []


def mutated_operands(schema: Schema, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[int, ...]:
    """Which tensor operands of a call, in order, the op writes to."""
    if not schema.mutated_names:
        return ()
    positions: list[int] = []
    count = 0
    for name, item in (*zip(schema.names, args, strict=False), *kwargs.items()):
        size = len(flat_tensors(item))
        if name in schema.mutated_names:
            positions.extend(range(count, count + size))
        count += size
    return tuple(positions)
