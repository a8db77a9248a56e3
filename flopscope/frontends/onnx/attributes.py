"""The attributes of a node as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

_FLOAT, _INT, _STRING, _TENSOR, _GRAPH, _FLOATS, _INTS, _STRINGS, _TYPE = 1, 2, 3, 4, 5, 6, 7, 8, 13


def attributes_of(node: onnx.NodeProto, outer: dict[str, Any] | None = None) -> dict[str, Any]:
    """The attributes of a node by name: numbers, texts, lists of them, NumPy arrays, graphs.

    Args:
        node: the node.
        outer: inside a local function, the attributes of its call, to which those of the node may refer.
    """
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            if outer and attribute.ref_attr_name in outer:
                found[attribute.name] = outer[attribute.ref_attr_name]
            continue
        found[attribute.name] = value_of(attribute)
    return found


def resolved(node: onnx.NodeProto, outer: dict[str, Any] | None) -> onnx.NodeProto:
    """A node of a local function whose attributes are those of its call where it refers to them, as ONNX's inference needs it."""
    if not any(attribute.ref_attr_name for attribute in node.attribute):
        return node
    from onnx import helper

    whole = type(node)()
    whole.CopyFrom(node)
    del whole.attribute[:]
    for attribute in node.attribute:
        value = (outer or {}).get(attribute.ref_attr_name) if attribute.ref_attr_name else None
        if not attribute.ref_attr_name:
            whole.attribute.append(attribute)
        elif value is not None:
            whole.attribute.append(helper.make_attribute(attribute.name, value, attr_type=attribute.type or None))
    return whole


def value_of(attribute: onnx.AttributeProto) -> Any:
    """The value of one attribute."""
    kind = attribute.type
    if kind == _INT:
        return attribute.i
    if kind == _INTS:
        return tuple(attribute.ints)
    if kind == _FLOAT:
        return attribute.f
    if kind == _FLOATS:
        return tuple(attribute.floats)
    if kind == _STRING:
        return attribute.s.decode(errors="replace")
    if kind == _STRINGS:
        return [text.decode(errors="replace") for text in attribute.strings]
    if kind == _GRAPH:
        return attribute.g
    if kind == _TENSOR:
        return attribute.t
    return attribute.tp if kind == _TYPE else _untyped(attribute)


def _untyped(attribute: onnx.AttributeProto) -> Any:
    """The value of an attribute that does not say its type, as early versions wrote them; ``None`` for kinds that no op here reads."""
    for field, value in attribute.ListFields():
        if field.name in ("ints", "floats"):
            return tuple(value)
        if field.name in ("i", "f", "g", "t"):
            return value
        if field.name == "s":
            return value.decode(errors="replace")
    return None
