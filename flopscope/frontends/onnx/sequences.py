"""Sequences of tensors and optional values: lists that are taken apart and put together, each element with a type of its own.

A sequence names its elements. Putting it together, asking for its length and taking an element touch none of them, so that they are no ops
of the graph; cutting a tensor into a sequence and joining a sequence to a tensor move every element, and are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flopscope.errors import InputError
from flopscope.frontends.onnx.attributes import attributes_of
from flopscope.frontends.onnx.blocks import Block
from flopscope.frontends.onnx.dtypes import NAMES, UNDEFINED
from flopscope.frontends.onnx.sites import Site
from flopscope.frontends.onnx.values import Array, Value
from flopscope.graph import TensorType

if TYPE_CHECKING:
    import onnx

    from flopscope.frontends.onnx.facts import Context
    from flopscope.frontends.onnx.walker import Env, Walker

Values = Sequence[Value | None]


def handler_of(node: onnx.NodeProto) -> Callable[..., Any] | None:
    """What treats a node that takes or makes sequences; ``None`` for all others."""
    return _handled if node.op_type in _HANDLERS and node.domain in ("", "ai.onnx") else None


def handled_ops() -> list[str]:
    """The ops that are treated here."""
    return sorted(_HANDLERS)


def _handled(walker: Walker, node: onnx.NodeProto, values: Values, env: Env, block: Block, context: Context) -> list[Value]:
    """The outputs of a node; where its sequence is not known, those of any op whose shapes are not."""
    found = _HANDLERS[node.op_type](Site(walker, node, env, block, context), values, attributes_of(node, context.attributes))
    return walker.call(node, values, block, context) if found is None else [found]


Handler = Callable[[Site, Values, Mapping[str, Any]], Value | None]


def _at(values: Values, index: int) -> Value | None:
    return values[index] if index < len(values) else None


def _items(value: Value | None) -> tuple[Value, ...] | None:
    return None if value is None else value.items


def _position(value: Value | None, default: int, items: Sequence[Value], slots: int) -> int | None:
    """A place in a sequence with so many places; any is as good as another where the elements are of one type.

    Raises:
        InputError: the sequence has no such place.
    """
    if value is None:
        return default
    if value.data is None:
        return default if items and all(item.type is not None and item.type is items[0].type for item in items) else None
    place = int(value.data.reshape(-1)[0])
    if not -slots <= place < slots:
        raise InputError(f"it asks for the place {place} of a sequence of {len(items)}")
    return place % slots


def _empty(site: Site, _: Values, attributes: Mapping[str, Any]) -> Value:
    return Value(site.name, NAMES.get(attributes.get("dtype", 1), UNDEFINED), items=())


def _construct(site: Site, values: Values, _: Mapping[str, Any]) -> Value:
    items = tuple(value for value in values if value is not None)
    return Value(site.name, items[0].dtype if items else UNDEFINED, items=items)


def _insert(site: Site, values: Values, _: Mapping[str, Any]) -> Value | None:
    items, element = _items(values[0]), values[1]
    if items is None or element is None:
        return None
    place = _position(_at(values, 2), len(items), (*items, element), len(items) + 1)
    return None if place is None else Value(site.name, element.dtype, items=(*items[:place], element, *items[place:]))


def _erase(site: Site, values: Values, _: Mapping[str, Any]) -> Value | None:
    items = _items(values[0])
    place = None if not items else _position(_at(values, 1), len(items) - 1, items, len(items))
    if items is None or place is None:
        return None
    return Value(site.name, items[place].dtype, items=(*items[:place], *items[place + 1 :]))


def _element(_: Site, values: Values, __: Mapping[str, Any]) -> Value | None:
    items = _items(values[0])
    place = None if not items else _position(values[1], 0, items, len(items))
    return None if items is None or place is None else items[place]


def _length(site: Site, values: Values, _: Mapping[str, Any]) -> Value | None:
    items = _items(values[0])
    return None if items is None else Value(site.name, "int64", TensorType.of((), "int64"), np.asarray(len(items), np.int64))


def _split(site: Site, values: Values, attributes: Mapping[str, Any]) -> Value | None:
    """A tensor cut along an axis, one by one or by given sizes; elements of size one lose the axis if ``keepdims`` is 0."""
    x, sizes = values[0], _at(values, 1)
    if x is None or x.type is None or not x.type.shape or (sizes is not None and sizes.data is None):
        return None
    axis = attributes.get("axis", 0) % len(x.type.shape)
    whole = x.type.shape[axis]
    if sizes is None or sizes.data is None:
        lengths = [1] * whole
    elif sizes.data.ndim > 1:
        raise InputError(f"its lengths have the shape {list(sizes.data.shape)}, where one number or a list is needed")
    elif sizes.data.ndim == 0:
        each = int(sizes.data)
        if each < 1:
            raise InputError(f"it cuts an axis of {whole} into lengths of {each}")
        lengths = [min(each, whole - start) for start in range(0, whole, each)]
    else:
        lengths = [int(size) for size in sizes.data]
    if sum(lengths) != whole or min(lengths, default=0) < 0:
        raise InputError(f"it cuts an axis of {whole} into the lengths {lengths[:8]}")
    if len(lengths) > _MOST_ELEMENTS:
        return None
    drops = sizes is None and not attributes.get("keepdims", 1)
    shape = x.type.shape
    shapes = [(*shape[:axis], *(() if drops else (length,)), *shape[axis + 1 :]) for length in lengths]
    data = _cut(x.data, lengths, axis, drops)
    items = tuple([Value(site.name, x.dtype, TensorType.of(s, x.dtype), d) for s, d in zip(shapes, data, strict=True)])
    site.add("split", {"input": x.type}, [x], items)
    return Value(site.name, x.dtype, items=items)


_MOST_ELEMENTS = 100_000
"""Longer sequences are not followed."""


def _cut(data: Array | None, lengths: Sequence[int], axis: int, drops: bool) -> Sequence[Array | None]:
    if data is None:
        return [None] * len(lengths)
    parts = np.split(data, np.cumsum(lengths)[:-1].tolist(), axis=axis) if lengths else []
    return [np.squeeze(part, axis) for part in parts] if drops else parts


def _join(site: Site, values: Values, attributes: Mapping[str, Any]) -> Value | None:
    """The elements of a sequence side by side, along an axis that they have or along a new one."""
    items = _items(values[0])
    types = [] if items is None else [item.type for item in items]
    first = types[0] if types else None
    if not items or first is None or any(type is None for type in types):
        return None
    shapes = [type.shape for type in types if type is not None]
    stacks = attributes.get("new_axis", 0)
    axis = attributes["axis"] % (len(first.shape) + bool(stacks))
    if any(len(s) != len(first.shape) or s[:axis] != first.shape[:axis] for s in shapes):
        raise InputError(f"the shapes {', '.join(str(list(s)) for s in shapes[:4])} cannot be joined along axis {axis}")
    if stacks:
        shape = (*first.shape[:axis], len(items), *first.shape[axis:])
    else:
        shape = (*first.shape[:axis], sum(s[axis] for s in shapes), *first.shape[axis + 1 :])
    result = Value(site.name, items[0].dtype, TensorType.of(shape, items[0].dtype))
    if all(item.data is not None for item in items):
        together: Callable[..., Any] = np.stack if stacks else np.concatenate
        result.data = together([item.data for item in items], axis=axis)
    site.add("stack" if stacks else "cat", {"tensors": tuple(types)}, items, [result])
    return result


def _optional(site: Site, values: Values, attributes: Mapping[str, Any]) -> Value:
    held = _at(values, 0)
    if held is not None:
        return held
    declared = attributes.get("type")
    return Value(site.name, UNDEFINED if declared is None else NAMES.get(_element_code(declared), UNDEFINED), absent=True)


def _element_code(declared: Any) -> int:
    """The number of the element type somewhere inside a declared type."""
    which = declared.WhichOneof("value")
    inner = None if which is None else getattr(declared, which)
    if inner is None:
        return 0
    return int(inner.elem_type) if which == "tensor_type" else _element_code(inner.elem_type)


def _holds(site: Site, values: Values, _: Mapping[str, Any]) -> Value:
    held = _at(values, 0)
    known = held is None or held.absent or held.type is not None or held.items is not None
    data = np.asarray(held is not None and not held.absent) if known else None
    return Value(site.name, "bool", TensorType.of((), "bool"), data)


def _held(site: Site, values: Values, _: Mapping[str, Any]) -> Value:
    held = values[0]
    return Value(site.name) if held is None or held.absent else held


def _same(_: Site, values: Values, __: Mapping[str, Any]) -> Value | None:
    held = values[0]
    return held if held is not None and (held.items is not None or held.absent) else None


_HANDLERS: dict[str, Handler] = {
    "SequenceEmpty": _empty, "SequenceConstruct": _construct, "SequenceInsert": _insert, "SequenceErase": _erase, "SequenceAt": _element,
    "SequenceLength": _length, "SplitToSequence": _split, "ConcatFromSequence": _join, "Optional": _optional,
    "OptionalHasElement": _holds, "OptionalGetElement": _held, "Identity": _same,
}  # fmt: skip
