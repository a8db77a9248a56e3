"""A PyTorch model or function -> a `Graph`."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten

from flopscope.errors import FlopscopeError, InputError, NeedsDataError, OptionError, TraceError
from flopscope.frontends.torch.adoption import adopt_inputs, data_of_weight, elements_with_values, small_integers
from flopscope.frontends.torch.cells import NESTED_INSIDE
from flopscope.frontends.torch.census import Census, take_census
from flopscope.frontends.torch.flattened import scope_by_weights
from flopscope.frontends.torch.guard import untouched
from flopscope.frontends.torch.higher_order import Weigh
from flopscope.frontends.torch.inside import inner_of
from flopscope.frontends.torch.masks import MOST_MASK_ELEMENTS, MaskCounter
from flopscope.frontends.torch.memo import current_memo
from flopscope.frontends.torch.programs import unwrapped
from flopscope.frontends.torch.recorder import Recorder
from flopscope.frontends.torch.scopes import ScopeListener, listening
from flopscope.frontends.torch.surroundings import as_written, autograd, compiler_is_loaded, without_collection
from flopscope.frontends.torch.tracer import MOST_CONCRETE_ELEMENTS, DataNeeded, Tracer
from flopscope.graph import Graph

Execute = Literal["auto", "never", "always"]
Attention = Literal["dense", "effective"]
MOST_BYTES_TO_EXECUTE = 16 * 2**30
"""A model whose weights would have to be made up is not run for real if they take more than this."""


def trace(
    model: Callable[..., Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    execute: Execute = "auto",
    attention: Attention = "dense",
    opaque: Sequence[type[nn.Module]] = (),
    watch: Callable[[Tracer, Recorder], ScopeListener] | None = None,
    readable: Collection[int] = (),
    weigh: Weigh | None = None,
) -> Graph:
    """Trace one call of a model on the shapes of its inputs.

    Nothing is computed on the floating-point data and no weight is read, copied or moved. Integer and boolean inputs, and small tensors
    that the model makes itself, keep their values, so that arithmetic on shapes, positions and masks works. Where the model reads
    other values, the whole call runs once for real on the CPU, and the graph's notes say so.

    Args:
        model: a module in the mode in which it is to be counted, or any function of tensors.
        args: positional inputs of the model, nested as it wants them.
        kwargs: named inputs of the model.
        execute: when to run for real: ``"auto"`` (where values are needed), ``"never"`` or ``"always"``.
        attention: whether fused attention is counted ``"dense"`` (every query meets every key) or ``"effective"`` (only the pairs that its
            mask allows, where the mask's values are known).
        opaque: module classes that become one op each, whatever is inside them.
        watch: makes the listener that is told about modules in place of the recorder, which it must tell in turn.
        readable: the ids of weights whose values the model may read.
        weigh: tells how many of some ops have no known cost, and the FLOPs of the others, so that the costlier branch of a condition is
            known; by default branches are compared by the elements that they move.

    Raises:
        InputError: the inputs do not fit the model's signature.
        TraceError: the model raised; the cause is chained.
        NeedsDataError: the model reads values, and may or can not be run for real.
    """
    if execute not in ("auto", "never", "always"):
        raise OptionError(f"execute must be 'auto', 'never' or 'always', but is {execute!r}")
    if attention not in get_args(Attention):
        raise OptionError(f"attention must be 'dense' or 'effective', but is {attention!r}")
    with _disable_current_modes():  # an analysis inside a traced model is none of its ops
        model, args, kwargs = unwrapped(model, args, kwargs or {})
        owner = getattr(model, "__self__", model)  # a bound method of a module belongs to the module
        census = take_census(owner) if isinstance(owner, nn.Module) else Census.of_function(name_of(model))
        call = _Call(model, args, dict(kwargs or {}), census, tuple(opaque), watch, readable, attention, weigh)
        why, notes = "execute='always' was asked for", []
        if execute != "always":
            found = _from_shapes(call)
            if isinstance(found, Graph):
                return found
            if execute == "never":
                raise found.error
            why = f"it reads values ({found.where})"
            cause = f"{found.where} reads values, so the model was run for real on the CPU"
            notes = [f"cost depends on data: {cause}; other inputs may cost more or less"]
        _check_size(census, why)
        return _attempt(call, True, notes)


@dataclasses.dataclass(frozen=True, slots=True)
class _Call:
    """What is traced."""

    model: Callable[..., Any]
    args: Sequence[Any]
    kwargs: dict[str, Any]
    census: Census
    opaque: tuple[type, ...]
    watch: Callable[[Tracer, Recorder], ScopeListener] | None
    readable: Collection[int]
    attention: Attention
    weigh: Weigh | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Obstacle:
    """Why shapes alone do not do: the place, and the error for those who forbid a real run."""

    where: str
    error: TraceError


def _from_shapes(call: _Call) -> Graph | _Obstacle:
    try:
        with without_collection():
            return _attempt(call, False, [])
    except DataNeeded as need:
        where = f"{need.target} in {need.scope or 'the model itself'}"
        message = (
            f"the model reads the values of tensors ({where}), so its cost is not a matter of shapes alone. Allow it to be run for real "
            "on the CPU (execute='auto')."
        )
        return _Obstacle(where, NeedsDataError(message))
    except TraceError as error:
        if not _BLAMES_SHAPES.search(str(error)):
            raise
        # What the model did after this op may only be impossible without data.
        return _Obstacle(f"what follows {error.last_op or 'the start'}", error)


_BLAMES_SHAPES = re.compile(
    "meta|fake impl|numpy|autocast|scalarType|data pointer|unallocated storage|format string|"
    "Input type .* and (?:bias|weight) type|TorchScript",
    re.IGNORECASE,
)


def name_of(model: Any) -> str:
    """What to call a model: its class, or the function's own name."""
    return type(model).__name__ if isinstance(model, nn.Module) else str(getattr(model, "__name__", "function"))


def _check_size(census: Census, why: str) -> None:
    weights = [tensor for module in census.modules for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))]
    made_up = sum(tensor.nbytes for tensor in weights if tensor.device.type == "meta")
    if made_up > MOST_BYTES_TO_EXECUTE:
        raise NeedsDataError(
            f"the model would have to be run for real, because {why}, but its weights have no data and would take "
            f"{made_up / 2**30:.1f} GiB. Analyse a smaller variant, or a model with real weights."
        )


_WANTS_GRADIENTS = re.compile("not require grad|nference tensor|requires_grad|nference mode|view_as inference")


def _attempt(call: _Call, execute: bool, notes: list[str]) -> Graph:
    """Trace as often as it takes to know how: again with autograd if the forward takes gradients, again if it loaded torch's compiler."""
    gradients = False
    while True:
        had_compiler = compiler_is_loaded()
        try:
            graph = _once(call, execute, gradients, list(notes))
        except (TraceError, DataNeeded) as problem:
            if not gradients and isinstance(problem, TraceError) and _WANTS_GRADIENTS.search(str(problem)):
                gradients = True
            elif compiler_is_loaded() == had_compiler:
                raise
        else:
            if compiler_is_loaded() == had_compiler:
                return graph


def _once(call: _Call, execute: bool, gradients: bool, notes: list[str]) -> Graph:
    model, census = call.model, call.census
    graph = Graph(name=name_of(model), notes=notes)
    counts_masks = call.attention == "effective"
    limit = max([MOST_MASK_ELEMENTS if counts_masks else MOST_CONCRETE_ELEMENTS, *elements_with_values((call.args, call.kwargs))])
    tracer = (MaskCounter if counts_masks else Tracer)(
        census.inventory,
        data_of_weight if execute else small_integers,
        execute=execute,
        most_concrete=limit,
        readable=call.readable,
        weigh=call.weigh,
    )
    recorder = Recorder(tracer, census, call.opaque)
    listener = recorder if call.watch is None else call.watch(tracer, recorder)
    twins = adopt_inputs(tracer, call.args, call.kwargs, graph, execute)
    with untouched(census.modules, gradients=gradients), listening(listener), as_written(any(census.programs.values())):
        try:
            with autograd(gradients), tracer:
                output = model(*twins[0], **twins[1])
                if inspect.isgenerator(output):
                    output = list(output)  # nothing has run until then
        except (FlopscopeError, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:
            raise explained(error, tracer, recorder, graph, hint_on((call.args, call.kwargs))) from error
        else:
            graph.outputs = [tracer.value_of(leaf) for leaf in tensors_in(output)]
            graph.deaths = tracer.deaths
        finally:
            tracer.close()
    complete(graph, tracer, recorder, census, execute)
    return graph


def complete(graph: Graph, tracer: Tracer, recorder: Recorder, census: Census, execute: bool) -> None:
    """Hand over what was recorded."""
    graph.ops = tracer.ops
    graph.weights = tracer.weights
    graph.inner = inner_of(current_memo())
    if census.programs:
        left = scope_by_weights(graph.ops, census.programs, census.inventory)
        if left:
            graph.notes.append(
                f"{left} op{'s' * (left > 1)} of a scripted, exported or fx program, which read no weight of a submodule, are listed with "
                "the program itself: not all of its submodules run one by one"
            )
    graph.list_parameters = partial(census.inventory.weight_list, True)
    graph.list_buffers = partial(census.inventory.weight_list, False)
    graph.list_modules = recorder.module_list()
    graph.notes += tracer.notes
    graph.data_dependent = list(dict.fromkeys(tracer.data_dependent))
    if graph.data_dependent and not execute:
        listed = ", ".join(f"{target} in {scope or 'the model itself'}" for target, scope in graph.data_dependent[:3])
        graph.notes.append(f"cost depends on the values of the integer or boolean inputs, which the model reads ({listed})")


def tensors_in(output: Any) -> list[Tensor]:
    """The tensors that a model returned; of nested ones the values, all in a row."""
    leaves: list[Any] = [leaf for leaf in tree_flatten(_as_plain(output))[0] if isinstance(leaf, Tensor)]
    return [leaf._values if leaf.is_nested and leaf.layout is torch.jagged else leaf for leaf in leaves]


def _as_plain(output: Any) -> Any:
    """Mappings and dataclasses that pytree does not know (model outputs of libraries) as plain dicts."""
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    return dict(output) if isinstance(output, Mapping) else output


def hint_on(inputs: Any) -> str:
    """A sentence on what is unusual among the inputs: a text that may have been meant as a shape, or a nested tensor."""
    for leaf in tree_flatten(inputs)[0]:
        if isinstance(leaf, str):
            return f" The text {leaf!r} went to the model as it is; a shape is written as in '1x3x224x224' or '1x128:int64'."
        if isinstance(leaf, Tensor) and leaf.is_nested:
            return (
                " Nested inputs are taken as jagged ones: where torch knows no op for these, give a padded tensor, with a mask if need be."
            )
    return ""


def _of_script(lines: Sequence[str]) -> str:
    """What the interpreter of scripted code says, and the line of the model where it does; its first line says neither."""
    marks = [number for number, line in enumerate(lines) if "<--- HERE" in line and number]
    where = f" at `{lines[marks[-1] - 1].strip()}`" if marks else ""
    return f"TorchScript: {lines[-1].strip().rstrip(':')}{where}"


def explained(
    error: BaseException, tracer: Tracer, recorder: Recorder, graph: Graph, hint: str, where: str | None = None
) -> FlopscopeError:
    """The error of a model, with where it happened (unless told, in the deepest module that ran) and on which inputs."""
    kinds = Counter(str(value.type) for value in graph.inputs)
    inputs = ", ".join(kind if count == 1 else f"{count} x {kind}" for kind, count in kinds.items()) or "no tensors"
    lines = str(error).strip().splitlines() or [""]
    first_line = _of_script(lines) if "TorchScript interpreter" in lines[0] else lines[0]
    if isinstance(error, TypeError) and "forward()" in first_line and not tracer.ops:
        return InputError(f"{graph.name} cannot be called with these inputs ({inputs}): {first_line}{hint and '.'}{hint}")
    if "NestedTensorImpl" in first_line:
        return TraceError(NESTED_INSIDE)
    if "more than 1 value per channel" in first_line:
        hint += " A batch norm in training mode needs a larger batch than this (--batch 2)."
    where = where or (f"in {recorder.deepest}" if recorder.deepest else "in its own forward")
    last = f" after {tracer.ops[-1].target}" if tracer.ops else ""
    return TraceError(
        f"{graph.name} raised {type(error).__name__} {where}{last}, on inputs ({inputs}): {first_line.rstrip('.') or 'no message'}. "
        f"Check that the shapes, dtypes and number of the inputs are what the model expects.{hint}",
        last_op=tracer.ops[-1].target if tracer.ops else None,
    )
