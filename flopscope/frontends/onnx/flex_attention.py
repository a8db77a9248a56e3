"""Attention whose scores and probabilities pass through graphs that the node holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flopscope.errors import InputError
from flopscope.frontends.onnx import control
from flopscope.frontends.onnx.attributes import attributes_of
from flopscope.frontends.onnx.blocks import Block
from flopscope.frontends.onnx.dtypes import NAMES
from flopscope.frontends.onnx.sites import Site
from flopscope.frontends.onnx.values import Value
from flopscope.graph import TensorType

if TYPE_CHECKING:
    import onnx

    from flopscope.frontends.onnx.facts import Context
    from flopscope.frontends.onnx.walker import Env, Walker

DOMAIN, OP = "ai.onnx.preview", "FlexAttention"


def handler_of(node: onnx.NodeProto) -> Callable[..., Any] | None:
    """What treats a node of this kind; ``None`` for all others."""
    return _flex if node.op_type == OP and node.domain == DOMAIN else None


def _flex(walker: Walker, node: onnx.NodeProto, values: Sequence[Value | None], env: Env, block: Block, context: Context) -> list[Value]:
    """``Y = prob_mod(softmax(score_mod(Q K' scale))) V``, one step at a time; grouped heads share keys and values.

    Raises:
        InputError: the three do not fit.
    """
    query, key, value = (item if item is not None and item.type is not None else None for item in (*values, None, None, None)[:3])
    if query is None or key is None or value is None or query.type is None or key.type is None or value.type is None:
        return walker.call(node, values, block, context)
    q, k, v = query.type.shape, key.type.shape, value.type.shape
    if not (len(q) == len(k) == len(v) == 4 and k[1] and q[1] % k[1] == 0 and q[3] == k[3] and k[2] == v[2]):
        raise InputError(f"queries {list(q)}, keys {list(k)} and values {list(v)} do not fit")
    attributes = attributes_of(node, context.attributes)
    site = Site(walker, node, env, block, context)
    wide = NAMES.get(attributes.get("softmax_precision", 0), "") or ("float64" if query.dtype == "float64" else "float32")
    wide = "float32" if wide == "undefined" else wide
    turned = _step(site, "permute", "input", [key], (k[0], q[1], k[3], k[2]), key.dtype, view=True)
    x = _step(site, "matmul", "ab", [query, turned], (*q[:3], k[2]), wide)
    x = _step(site, "mul", "input", [x], (*q[:3], k[2]), wide)
    x = _through(site, attributes.get("score_mod"), x)
    x = _step(site, "softmax", "input", [x], (*q[:3], k[2]), wide)
    x = _through(site, attributes.get("prob_mod"), x)
    shared = _step(site, "expand", "input", [value], (v[0], q[1], *v[2:]), value.dtype, view=True)
    return [_step(site, "matmul", "ab", [x, shared], (*q[:3], v[3]), query.dtype)]


def _step(site: Site, kind: str, names: str, reads: Sequence[Value], shape: Sequence[int], dtype: str, *, view: bool = False) -> Value:
    result = Value(site.name, dtype, TensorType.of(shape, dtype))
    arguments = {name: value.type for name, value in zip(names if len(reads) > 1 else [names], reads, strict=True)}
    site.add(kind, arguments, reads, [result], view=view)
    return result


def _through(site: Site, graph: onnx.GraphProto | None, x: Value) -> Value:
    """What a graph of the node makes of a value."""
    if graph is None or not graph.input:
        return x
    given = {graph.input[0].name: x}
    return control.inside(site.walker, graph, given, site.env, site.block, site.context, site.scope)[0]
