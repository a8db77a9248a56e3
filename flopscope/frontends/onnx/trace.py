"""From an ONNX model to a traced graph: the same ops, tensors and scopes that a traced PyTorch model gives, without any framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flopscope.errors import FlopscopeError, InputError, OptionError
from flopscope.frontends.onnx.blocks import Block, flattened
from flopscope.frontends.onnx.checks import check_model
from flopscope.frontends.onnx.control import Branch, declared_types
from flopscope.frontends.onnx.inputs import Inputs
from flopscope.frontends.onnx.reading import Source, read
from flopscope.frontends.onnx.values import Value
from flopscope.frontends.onnx.walker import Context, Walker
from flopscope.graph import Graph, Op, Tensor

BRANCHES: tuple[Branch, ...] = ("costlier", "then", "else")


def names_onnx(spec: object) -> bool:
    """Whether a SPEC names an ONNX file."""
    return isinstance(spec, str) and spec.lower().endswith(".onnx")


def trace(
    model: Any,
    inputs: Sequence[Any] = (),
    named: Mapping[str, Any] | None = None,
    *,
    dims: Mapping[str, int] | None = None,
    branch: Branch = "costlier",
) -> Graph:
    """Trace an ONNX model on shapes alone. Its weights are not read.

    Args:
        model: the path of a file, its bytes, or an ``onnx.ModelProto``.
        inputs: shapes as text (``"1x3x224x224"``, ``"images:1x3x640x640"``) or NumPy arrays, in the order of the model's inputs; those that
            are not given are as the file declares them.
        named: the same, by the names of the inputs.
        dims: sizes of named dynamic dimensions.
        branch: which branch of an ``If`` counts whose condition only data knows.

    Raises:
        InputError: the file is no sound ONNX model, or the inputs do not fit it; the message names the file and the fault.
        OptionError: a dimension or a branch is not known.
    """
    if branch not in BRANCHES:
        raise OptionError(f"a branch is {', '.join(BRANCHES)}, but {branch!r} was asked for")
    try:
        source = read(model)
        return _traced(source, inputs, named or {}, dims or {}, branch)
    except OptionError:
        raise
    except FlopscopeError as error:
        raise InputError(f"{_place(model)}: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{_place(model)}: the file is damaged: a name in it is no text ({error.reason})") from error
    except RecursionError as error:
        raise InputError(f"{_place(model)}: its graphs are nested too deeply") from error


def _place(model: Any) -> str:
    return f"cannot analyse {str(model)!r}" if isinstance(model, str) or hasattr(model, "__fspath__") else "cannot analyse the ONNX model"


def _traced(source: Source, inputs: Sequence[Any], named: Mapping[str, Any], dims: Mapping[str, int], branch: Branch) -> Graph:
    proto = source.proto
    opsets = check_model(proto)
    given = Inputs(proto.graph, inputs, named, dims)
    walker = Walker(proto, given, branch)
    walker.constants.standings.origins.learn(proto)
    walker.scopes.learn(proto.graph)
    walker.constants.standings.learn(proto.graph.node)
    env: dict[str, Value] = walker.constants.initialisers(proto.graph)
    outside = given.values()
    for value in outside:
        if value.type is not None:
            value.tensor = walker.tensor(value.type, role="input", name=value.name)
        env[value.name] = value
    block = Block()
    context = Context(opsets, declared_types([*proto.graph.value_info, *proto.graph.output]))
    walker.walk(proto.graph.node, env, block, context)
    results = [_result(env, value.name) for value in proto.graph.output]
    return _graph(source, walker, block, outside, results)


def _result(env: Mapping[str, Value], name: str) -> Value:
    if name not in env:
        raise InputError(f"the graph returns {name!r}, which no node makes")
    return env[name]


def _graph(source: Source, walker: Walker, block: Block, inputs: Sequence[Value], outputs: Sequence[Value]) -> Graph:
    graph = Graph(source.name)
    for pending, times in flattened(block):
        index = len(graph.ops)
        for value in pending.outputs:
            value.producer = index
        graph.ops.append(Op(index, pending.signature, pending.inputs, pending.outputs, pending.scope, times))
        for value in pending.inputs:
            if value.role in ("parameter", "buffer"):
                walker.constants.place(value.name or "", pending.scope)
    graph.inputs = _tensors(inputs)
    graph.outputs = _tensors(outputs)
    constants = walker.constants
    graph.weights = {name: constants.tensors[name] for name in (*constants.parameters, *constants.buffers)}
    graph.list_parameters = lambda: list(constants.parameters.values())
    graph.list_buffers = lambda: list(constants.buffers.values())
    graph.list_modules = walker.scopes.modules
    graph.notes = _notes(walker)
    graph.data_dependent = list(dict.fromkeys(walker.facts.data_dependent))
    return graph


def _tensors(values: Sequence[Value]) -> list[Tensor]:
    return [value.tensor for value in values if value.tensor is not None]


def _notes(walker: Walker) -> list[str]:
    notes = []
    if walker.inputs.defaults:
        chosen = ", ".join(f"{name} = {size}" for name, size in walker.inputs.defaults.items())
        notes.append(
            f"the file leaves sizes open, which were chosen here: {chosen}; choose others with --dim NAME=SIZE or --input NAME:SHAPE"
        )
    if walker.facts.unknown:
        listed = ", ".join(walker.facts.unknown[:3])
        more = f" and {len(walker.facts.unknown) - 3} more" if len(walker.facts.unknown) > 3 else ""
        notes.append(f"shapes around {listed}{more} are not known, so these ops are not counted; give the inputs' shapes with --input")
    return [*notes, *walker.facts.notes, *walker.constants.standings.origins.notes()]
