"""Control flow and local functions: which branch is counted, and how often a body runs."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from flopscope.errors import InputError
from flopscope.frontends.onnx.attributes import attributes_of, value_of
from flopscope.frontends.onnx.blocks import Block, flattened
from flopscope.frontends.onnx.dtypes import UNDEFINED
from flopscope.frontends.onnx.facts import Declared
from flopscope.frontends.onnx.order import reads_of
from flopscope.frontends.onnx.regions import Draft
from flopscope.frontends.onnx.sites import Site
from flopscope.frontends.onnx.values import Value
from flopscope.graph import TensorType

if TYPE_CHECKING:
    import onnx

    from flopscope.frontends.onnx.facts import Context
    from flopscope.frontends.onnx.walker import Env, Walker

Branch = Literal["costlier", "then", "else"]
Handler = Callable[..., list[Value]]

_GRAPH = 5
_MOST_INLINED = 200_000
"""Local functions are written out at every call up to so many nodes in all; beyond that each is kept once and counted."""


class Functions:
    """The local functions of a model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.by_key = {(f.domain, f.name, getattr(f, "overload", "")): f for f in model.functions}
        self.folded = self.by_key != {} and self._expanded(model.graph.node) > _MOST_INLINED
        self.done: dict[Any, tuple[Block, list[Value]]] = {}
        self.running: list[tuple[str, str, str]] = []
        self.met: set[tuple[str, str, str]] = set()
        self._cut: dict[Any, list[onnx.NodeProto]] = {}

    def find(self, node: onnx.NodeProto) -> onnx.FunctionProto | None:
        """The function that a node calls, if it calls one."""
        return self.by_key.get((node.domain, node.op_type, getattr(node, "overload", ""))) if self.by_key else None

    def nodes_without(self, function: onnx.FunctionProto, missing: frozenset[str]) -> Sequence[onnx.NodeProto]:
        """The nodes of a function for calls that leave some inputs out; the same ones for all such calls."""
        if not missing:
            return function.node
        key = (function.domain, function.name, getattr(function, "overload", "")), missing
        if key not in self._cut:
            self._cut[key] = [_without(node, missing) for node in function.node]
        return self._cut[key]

    def _expanded(self, nodes: Sequence[onnx.NodeProto]) -> int:
        """How many nodes there are once every call is written out.

        Raises:
            InputError: a function calls itself.
        """
        sizes: dict[tuple[str, str, str], int] = {}
        for key in self._callees_first(nodes):
            sizes[key] = sum(sizes.get(_key(node), 1) for node in self.by_key[key].node)
        return sum(sizes.get(_key(node), 1) for node in nodes)

    def _callees_first(self, nodes: Sequence[onnx.NodeProto]) -> list[tuple[str, str, str]]:
        order: list[tuple[str, str, str]] = []
        done: set[tuple[str, str, str]] = set()
        for start in nodes:
            todo = [(_key(start), False)] if _key(start) in self.by_key else []
            open_ones: set[tuple[str, str, str]] = set()
            while todo:
                key, is_leaving = todo.pop()
                if is_leaving:
                    open_ones.discard(key)
                    done.add(key)
                    order.append(key)
                elif key in open_ones:
                    raise InputError(f"the function {key[1]!r} calls itself")
                elif key not in done:
                    open_ones.add(key)
                    todo.append((key, True))
                    todo += [(_key(node), False) for node in self.by_key[key].node if _key(node) in self.by_key]
        return list(dict.fromkeys(order))


def _key(node: onnx.NodeProto) -> tuple[str, str, str]:
    return node.domain, node.op_type, getattr(node, "overload", "")


def handler_of(node: onnx.NodeProto, functions: Functions) -> Handler | None:
    """What walks the graphs inside a node; ``None`` for nodes without any."""
    if functions.find(node) is not None:
        return _function
    return _HANDLERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None


# -- functions --------------------------------------------------------------------------------------------------------------------


def _function(
    walker: Walker,
    node: onnx.NodeProto,
    values: Sequence[Value | None],
    _: Env,
    block: Block,
    context: Context,
) -> list[Value]:
    functions = walker.functions
    function = functions.find(node)
    assert function is not None
    name = _key(node)
    if name in functions.running:
        raise InputError(f"the function {node.op_type!r} calls itself")
    attributes = {attribute.name: value_of(attribute) for attribute in function.attribute_proto}
    attributes |= attributes_of(node, context.attributes)
    key = (name, repr(sorted(attributes.items(), key=lambda item: item[0])), tuple(None if v is None else v.key for v in values))
    if functions.folded and key in functions.done:
        inner, results = functions.done[key]
        block.repeat(inner, 1)
        return results
    target = Block() if functions.folded else block
    functions.running.append(name)
    try:
        results = _function_body(walker, node, function, attributes, values, target, context)
    finally:
        functions.running.pop()
    if functions.folded:
        functions.done[key] = target, results
        block.repeat(target, 1)
    return results


def _function_body(
    walker: Walker, node: onnx.NodeProto, function: onnx.FunctionProto, attributes: dict[str, Any], values: Sequence[Value | None],
    block: Block, context: Context,
) -> list[Value]:  # fmt: skip
    given = {name: value for name, value in zip(function.input, values, strict=False) if value is not None}
    opsets = {("" if entry.domain == "ai.onnx" else entry.domain): entry.version for entry in function.opset_import}
    inner = type(context)(
        opsets={**context.opsets, **opsets},
        declared=Declared(function.value_info),
        scope=walker.scope_of(node, context),
        attributes=attributes,
        depth=context.depth + 1,
    )
    inner_env: dict[str, Value] = dict(given)
    missing = frozenset(name for name in function.input if name not in given)
    if _key(node) not in walker.functions.met:
        walker.functions.met.add(_key(node))
        walker.constants.standings.learn(function.node)
    walker.walk(walker.functions.nodes_without(function, missing), inner_env, block, inner)
    return [_out(inner_env, name, "the function") for name in function.output]


def _without(node: onnx.NodeProto, missing: frozenset[str]) -> onnx.NodeProto:
    """A node whose inputs that the caller left out have no names."""
    if not any(name in missing for name in reads_of(node)):
        return node
    changed = type(node)()
    changed.CopyFrom(node)
    changed.input[:] = ["" if name in missing else name for name in node.input]
    for attribute in changed.attribute:
        for graph in [attribute.g] if attribute.type == _GRAPH else attribute.graphs:
            nodes = [_without(inner, missing) for inner in graph.node]
            del graph.node[:]
            graph.node.extend(nodes)
    return changed


# -- graphs inside nodes ----------------------------------------------------------------------------------------------------------


def inside(
    walker: Walker, graph: onnx.GraphProto, given: Mapping[str, Value], env: Env, block: Block, context: Context, scope: str
) -> list[Value]:
    """Walk a graph inside a node, which sees the values around it; the values of its outputs."""
    inner_env: Env = ChainMap({**walker.constants.initialisers(graph), **given}, *(env.maps if isinstance(env, ChainMap) else [env]))
    declared = Declared([*graph.value_info, *graph.output])
    inner = type(context)(context.opsets, declared, scope, context.attributes, context.depth + 1)
    walker.walk(graph.node, inner_env, block, inner)
    return [_out(inner_env, value.name, "the graph") for value in graph.output]


def _out(env: Mapping[str, Value], name: str, what: str) -> Value:
    found = env.get(name)
    if found is None:
        raise InputError(f"{what} returns {name!r}, which nothing in it makes")
    return found


def _if(walker: Walker, node: onnx.NodeProto, values: Sequence[Value | None], env: Env, block: Block, context: Context) -> list[Value]:
    """The branch that is taken where that is known, or was asked for; else the costlier one, as an upper bound."""
    branches = attributes_of(node)
    if "then_branch" not in branches or "else_branch" not in branches:
        raise InputError("one of its two branches is missing")
    graphs = {"then": branches["then_branch"], "else": branches["else_branch"]}
    scope = walker.scope_of(node, context)
    condition = values[0]
    taken = None
    if condition is not None and condition.data is not None and condition.data.size == 1:
        taken = "then" if bool(condition.data.reshape(-1)[0]) else "else"
    elif walker.branch != "costlier":
        taken = walker.branch
        walker.facts.notes[f"of every If whose condition is not known, the {taken} branch is counted, as was asked for"] = None
    if taken is not None:
        before = len(block.entries)
        found = inside(walker, graphs[taken], {}, env, block, context, scope)
        walker.drafts.append(Draft(block.entries[before:], is_kernel=False))
        return found
    walked = {name: Block() for name in graphs}
    results = {name: inside(walker, graph, {}, env, walked[name], context, scope) for name, graph in graphs.items()}
    costs = {name: _cost(inner, walker) for name, inner in walked.items()}
    best = max(costs, key=lambda name: costs[name])
    if costs["then"] != costs["else"]:
        walker.facts.notes[
            "upper bound: of an If whose condition only data knows, the branch with more FLOPs is counted; choose with --branch then|else"
        ] = None
        walker.facts.data_dependent.append(("ai.onnx::If", scope))
    elif any(a.type is not b.type for a, b in zip(results["then"], results["else"], strict=False)):
        walker.facts.notes[
            f"the branches of an If whose condition only data knows give different shapes, of which those of the {best} branch are used; "
            "choose with --branch then|else"
        ] = None
        walker.facts.data_dependent.append(("ai.onnx::If", scope))
    block.entries += walked[best].entries
    walker.drafts.append(Draft(walked[best].entries, is_kernel=False))
    return results[best]


def _cost(block: Block, walker: Walker) -> tuple[int, int, int, int]:
    """Uncounted ops, FLOPs, bytes and ops of a block: the first difference decides which branch costs more."""
    costs = [(walker.price(pending.signature), times) for pending, times in flattened(block)]
    known = [(cost, times) for cost, times in costs if cost is not None]
    unknown = sum(times for cost, times in costs if cost is None)
    return unknown, sum(c.flops * n for c, n in known), sum(c.access_bytes * n for c, n in known), sum(n for _, n in costs)


def placed(walker: Walker, value: Value) -> Value:
    """A value that has a place in the traced graph, if its type is known."""
    if value.type is not None and value.tensor is None:
        value.tensor = walker.tensor(value.type, role="constant", name=value.name)
    return value


def _scan(walker: Walker, node: onnx.NodeProto, values: Sequence[Value | None], env: Env, block: Block, context: Context) -> list[Value]:
    """``Scan(states..., sequences...)``: the body once for every element of the sequences."""
    attributes = attributes_of(node)
    body, scanned = attributes["body"], attributes["num_scan_inputs"]
    batched = context.opset("") < 9
    values = list(values[1:] if batched else values)
    states, sequences = values[: len(values) - scanned], values[len(values) - scanned :]
    axes = attributes.get("scan_input_axes", (0,) * scanned)
    drop = [(axis + 1 if batched else axis) for axis in axes]
    turns, rows = _lengths(sequences, drop, batched)
    inner = Block()
    site = Site(walker, node, env, inner, context)
    given: list[Value] = [_element(site, state, [0] if batched else []) for state in states]
    given += [_element(site, value, [0, axis] if batched else [axis]) for value, axis in zip(sequences, drop, strict=False)]
    names = [value.name for value in body.input]
    results = inside(walker, body, dict(zip(names, given, strict=False)), env, inner, context, walker.scope_of(node, context))
    if turns is None:
        walker.facts.notes["a Scan over a sequence of unknown length is counted per element: one element of each"] = None
    times = 1 if turns is None else turns
    block.repeat(inner, times * rows)
    kept = [Value(v.name, v.dtype, s.type if s is not None else v.type) for v, s in zip(results, states, strict=False)]
    out_axes = attributes.get("scan_output_axes", (0,) * (len(results) - len(kept)))
    scans = [_inserted(value, axis, times, rows if batched else None) for value, axis in zip(results[len(kept) :], out_axes, strict=False)]
    outputs = [placed(walker, value) for value in (*kept, *scans)]
    carried = zip(given, results[: len(kept)], strict=False)
    gathered = [(whole, [turn]) for whole, turn in zip(outputs[len(kept) :], results[len(kept) :], strict=False)]
    walker.drafts.append(Draft(inner.entries, False, times * rows, list(carried), [], gathered, at_once=True))
    return outputs


def _lengths(sequences: Sequence[Value | None], axes: Sequence[int], batched: bool) -> tuple[int | None, int]:
    for value, axis in zip(sequences, axes, strict=False):
        if value is not None and value.type is not None:
            return value.type.shape[axis], value.type.shape[0] if batched else 1
    return None, 1


def _element(site: Site, value: Value | None, axes: Sequence[int]) -> Value:
    """One element of a sequence, of a type without some axes: a view of it."""
    if value is None or value.type is None:
        return Value("", "undefined" if value is None else value.dtype)
    rank = len(value.type.shape)
    gone = {axis % rank for axis in axes}
    shape = [size for axis, size in enumerate(value.type.shape) if axis not in gone]
    found = Value(value.name, value.dtype, TensorType.of(shape, value.dtype))
    if gone:
        site.add("select", {"input": value.type}, [value], [found], view=True)
    else:
        found.tensor = site.walker.place_of(value)
    return found


def _inserted(value: Value, axis: int, turns: int, rows: int | None) -> Value:
    if value.type is None:
        return Value(value.name, value.dtype)
    shape = list(value.type.shape)
    shape.insert(axis % (len(shape) + 1), turns)
    return Value(value.name, value.dtype, TensorType.of(shape if rows is None else [rows, *shape], value.dtype))


def _map(walker: Walker, node: onnx.NodeProto, values: Sequence[Value | None], env: Env, block: Block, context: Context) -> list[Value]:
    """``SequenceMap(sequence, more...)``: the body for every element, once for those that are alike."""
    body = attributes_of(node).get("body")
    if body is None:
        raise InputError("it has no graph to run for each element")
    first = values[0] if values else None
    if first is None or first.items is None:
        return walker.call(node, values, block, context)
    scope = walker.scope_of(node, context)
    columns: list[list[Value]] = [[] for _ in body.output]
    done: dict[Any, tuple[Block, list[Value]]] = {}
    for turn in range(len(first.items)):
        row = [value if value is None or value.items is None else value.items[turn] for value in values]
        key = tuple(None if value is None else value.key for value in row)
        if key not in done:
            given = {inner.name: value for inner, value in zip(body.input, row, strict=False) if value is not None}
            target = Block()
            done[key] = target, inside(walker, body, given, env, target, context, scope)
        block.repeat(done[key][0], 1)
        for column, value in zip(columns, done[key][1], strict=True):
            column.append(value)
    return [
        Value(name, column[0].dtype if column else UNDEFINED, items=tuple(column))
        for name, column in zip(node.output, columns, strict=False)
    ]


_HANDLERS: dict[str, Handler] = {"If": _if, "Scan": _scan, "SequenceMap": _map}


def handled_ops() -> list[str]:
    """The ops of ONNX whose graphs are walked here."""
    return sorted(_HANDLERS)
