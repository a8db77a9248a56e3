"""From an ONNX model to a traced graph: the same ops, tensors and scopes that a traced PyTorch model gives, without any framework."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flopscope.cost import ZERO, Cost
from flopscope.errors import FlopscopeError, InputError, OptionError
from flopscope.frontends.onnx.blocks import Block, flattened
from flopscope.frontends.onnx.checks import check_model
from flopscope.frontends.onnx.control import Branch
from flopscope.frontends.onnx.external import check_external
from flopscope.frontends.onnx.facts import Context, Declared
from flopscope.frontends.onnx.inputs import CHOICES, Inputs
from flopscope.frontends.onnx.learning import Price
from flopscope.frontends.onnx.order import reads_of
from flopscope.frontends.onnx.reading import Source, read
from flopscope.frontends.onnx.regions import place
from flopscope.frontends.onnx.values import Value
from flopscope.frontends.onnx.walker import Walker
from flopscope.graph import Graph, Op, Signature, Tensor

if TYPE_CHECKING:
    import onnx

_CONFUSED = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, MemoryError, ZeroDivisionError)
"""What reading attributes and names of another kind than ONNX's own rules allow may raise. The cause is chained."""
BRANCHES: tuple[Branch, ...] = ("costlier", "then", "else")


def names_onnx(spec: object) -> bool:
    """Whether a SPEC or path names an ONNX file."""
    return isinstance(spec, str | os.PathLike) and os.fspath(spec).lower().endswith(".onnx")


def is_onnx(model: object) -> bool:
    """Whether a model is one of ONNX: the path of a file, its bytes, or what the onnx package reads from it."""
    return names_onnx(model) or isinstance(model, bytes | bytearray) or type(model).__name__ == "ModelProto"


def _unpriced(_: Signature) -> Cost | None:
    return ZERO


def trace(
    model: Any,
    inputs: Sequence[Any] = (),
    named: Mapping[str, Any] | None = None,
    *,
    dims: Mapping[str, int] | None = None,
    branch: Branch = "costlier",
    check: bool = False,
    price: Price = _unpriced,
) -> Graph:
    """Trace an ONNX model on shapes alone. Its weights are not read.

    Args:
        model: the path of a file, its bytes, or an ``onnx.ModelProto``.
        inputs: shapes as text (``"1x3x224x224"``, ``"images:1x3x640x640"``) or NumPy arrays, in the order of the model's inputs; those that
            are not given are as the file declares them.
        named: the same, by the names of the inputs.
        dims: sizes of named dynamic dimensions.
        branch: which branch of an ``If`` counts whose condition only data knows.
        check: also check what a count does not need: that the files of weights outside the model are there, and long enough.
        price: what a call costs, by the rules: it says which branch is the costlier one, and refuses calls whose shapes do not fit.

    Raises:
        InputError: the file is no sound ONNX model, or the inputs do not fit it; the message names the file and the fault.
        OptionError: a dimension or a branch is not known.
    """
    if branch not in BRANCHES:
        raise OptionError(f"a branch is {', '.join(BRANCHES)}, but {branch!r} was asked for")
    with _explained(model):
        source = model if isinstance(model, Source) else read(model)
        if check and source.path is not None:
            check_external(source.proto.graph, source.path.parent)
        return _graph(source, *_fitting(source, inputs, named or {}, dims or {}, branch, price))


def trace_values(model: Any, inputs: Sequence[Any] = (), *, dims: Mapping[str, int] | None = None) -> list[Value]:
    """The values of the main graph with what is known of them for sure: without types that are bounds, or those of one branch or turn.

    Raises:
        FlopscopeError: as `trace` does.
    """
    with _explained(model):
        source = model if isinstance(model, Source) else read(model)
        walker = _fitting(source, inputs, {}, dims or {}, "costlier", _unpriced)[0]
        guessed = set(walker.facts.guessed)
        for node in source.proto.graph.node:
            if any(name in guessed for name in reads_of(node)):
                guessed.update(node.output)
        return [replace(value, name=name, type=None if name in guessed else value.type) for name, value in walker.values.items()]


@contextmanager
def _explained(model: Any) -> Iterator[None]:
    """Turn whatever is wrong with a model into one error that names it."""
    try:
        yield
    except OptionError:
        raise
    except FlopscopeError as error:
        raise InputError(f"{_place(model)}: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{_place(model)}: the file is damaged: a name in it is no text ({error.reason})") from error
    except RecursionError as error:
        raise InputError(f"{_place(model)}: its graphs are nested too deeply") from error
    except _CONFUSED as error:
        raise InputError(f"{_place(model)}: it makes no sense here ({type(error).__name__}: {error}); is the file damaged?") from error


def _place(model: Any) -> str:
    if isinstance(model, Source):
        model = model.path
    return f"cannot analyse {str(model)!r}" if isinstance(model, str) or hasattr(model, "__fspath__") else "cannot analyse the ONNX model"


Walked = tuple[Walker, Block, Sequence[Value], Sequence[Value]]


def _fitting(
    source: Source, inputs: Sequence[Any], named: Mapping[str, Any], dims: Mapping[str, int], branch: Branch, price: Price
) -> Walked:
    """The walk with the first choice of open sizes that fits the model, or else with the one that fits best."""
    proto = source.proto
    opsets = check_model(proto)
    best = None
    for choice in CHOICES:
        walked = _walked(proto, opsets, Inputs(proto.graph, inputs, named, dims, choice), branch, price)
        if not walked[0].facts.misfits or not walked[0].inputs.defaults:
            return walked
        if best is None or _misfit(walked) < _misfit(best):
            best = walked
    assert best is not None
    return best


def _misfit(walked: Walked) -> tuple[int, int]:
    facts = walked[0].facts
    return len(facts.misfits), len(facts.unknown)


def _walked(proto: onnx.ModelProto, opsets: Mapping[str, int], given: Inputs, branch: Branch, price: Price) -> Walked:
    walker = Walker(proto, given, branch, price)
    walker.constants.standings.origins.learn(proto)
    walker.scopes.learn(proto.graph)
    walker.constants.standings.learn(proto.graph.node)
    env: dict[str, Value] = walker.constants.initialisers(proto.graph)
    outside = given.values()
    for value in outside:
        for element in (value,) if value.items is None else value.items:
            if element.type is not None:
                element.tensor = walker.tensor(element.type, role="input", name=element.name)
        env[value.name] = value
    block = Block()
    context = Context(opsets, Declared([*proto.graph.value_info, *proto.graph.output]))
    walker.walk(proto.graph.node, env, block, context)
    results = [_result(env, value.name) for value in proto.graph.output]
    walker.values = env
    return walker, block, outside, results


def _result(env: Mapping[str, Value], name: str) -> Value:
    if name not in env:
        raise InputError(f"the graph returns {name!r}, which no node makes")
    return env[name]


def _graph(source: Source, walker: Walker, block: Block, inputs: Sequence[Value], outputs: Sequence[Value]) -> Graph:
    graph = Graph(source.name)
    ordered = []
    for pending, times in flattened(block):
        ordered.append(pending)
        index = len(graph.ops)
        for value in pending.outputs:
            value.producer = index
        graph.ops.append(Op(index, pending.signature, pending.inputs, pending.outputs, pending.scope, times, pending.name))
        for value in pending.inputs:
            if value.role in ("parameter", "buffer"):
                walker.constants.place(value.name or "", pending.scope)
    graph.inputs = _tensors(inputs, walker)
    graph.outputs = _tensors(outputs, walker)
    place(graph, ordered, walker.drafts)
    constants = walker.constants
    graph.weights = {name: constants.tensors[name] for name in (*constants.parameters, *constants.buffers)}
    graph.list_parameters = lambda: list(constants.parameters.values())
    graph.list_buffers = lambda: list(constants.buffers.values())
    graph.list_modules = walker.scopes.modules
    graph.notes = _notes(walker)
    graph.data_dependent = list(dict.fromkeys(walker.facts.data_dependent))
    return graph


def _tensors(values: Sequence[Value], walker: Walker) -> list[Tensor]:
    """The tensors among values whose types are known; of a sequence its elements."""
    found: list[Tensor] = []
    for value in values:
        if value.items is not None:
            found += _tensors(value.items, walker)
        elif value.type is not None:
            found.append(walker.place_of(value))
    return found


def _notes(walker: Walker) -> list[str]:
    notes = []
    if walker.inputs.defaults:
        chosen = ", ".join(f"{name} = {size}" for name, size in walker.inputs.defaults.items())
        notes.append(
            f"the file leaves sizes open, which were chosen here: {chosen}; choose others with --dim NAME=SIZE or --input NAME:SHAPE"
        )
    if walker.facts.misfits:
        notes.append(f"sizes that were chosen or bounded here do not fit everywhere; the first place is {walker.facts.misfits[0]}")
    if walker.facts.unknown:
        listed = ", ".join(walker.facts.unknown[:3])
        more = f" and {len(walker.facts.unknown) - 3} more" if len(walker.facts.unknown) > 3 else ""
        notes.append(f"shapes around {listed}{more} are not known, so these ops are not counted; give the inputs' shapes with --input")
    if walker.facts.repeated:
        listed = ", ".join(map(repr, walker.facts.repeated[:3]))
        notes.append(
            f"{len(walker.facts.repeated)} constants are in the file twice, with different values ({listed}); the later ones are used"
        )
    return [*notes, *walker.facts.notes, *walker.constants.standings.origins.notes()]
