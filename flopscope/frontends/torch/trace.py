"""A PyTorch model or function -> a `Graph`."""

from __future__ import annotations

import dataclasses
import gc
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

from flopscope.errors import FlopscopeError, InputError, NeedsDataError, OptionError, TraceError
from flopscope.frontends.torch.cells import meta_like, private_copy, type_of
from flopscope.frontends.torch.census import Census, take_census
from flopscope.frontends.torch.guard import untouched
from flopscope.frontends.torch.held import with_twins
from flopscope.frontends.torch.masks import MOST_MASK_ELEMENTS, MaskCounter
from flopscope.frontends.torch.recorder import Recorder
from flopscope.frontends.torch.scopes import ScopeListener, listening
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
        owner = getattr(model, "__self__", model)  # a bound method of a module belongs to the module
        census = take_census(owner) if isinstance(owner, nn.Module) else Census.of_function(_name_of(model))
        call = _Call(model, args, dict(kwargs or {}), census, tuple(opaque), watch, readable, attention)
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


@dataclasses.dataclass(frozen=True, slots=True)
class _Obstacle:
    """Why shapes alone do not do: the place, and the error for those who forbid a real run."""

    where: str
    error: TraceError


def _from_shapes(call: _Call) -> Graph | _Obstacle:
    try:
        with _without_collection():
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


_BLAMES_SHAPES = re.compile("meta|fake impl|numpy|autocast|scalarType|data pointer|unallocated storage|format string", re.IGNORECASE)


def _name_of(model: Any) -> str:
    return type(model).__name__ if isinstance(model, nn.Module) else str(getattr(model, "__name__", "function"))


def _check_size(census: Census, why: str) -> None:
    weights = [tensor for module in census.modules for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))]
    made_up = sum(tensor.nbytes for tensor in weights if tensor.device.type == "meta")
    if made_up > MOST_BYTES_TO_EXECUTE:
        raise NeedsDataError(
            f"the model would have to be run for real, because {why}, but its weights have no data and would take "
            f"{made_up / 2**30:.1f} GiB. Analyse a smaller variant, or a model with real weights."
        )


def _attempt(call: _Call, execute: bool, notes: list[str]) -> Graph:
    model, census = call.model, call.census
    leaves = tree_flatten((tuple(call.args), call.kwargs))[0]
    integers = [leaf.numel() for leaf in leaves if isinstance(leaf, Tensor) and _keeps_values(leaf)]
    graph = Graph(name=_name_of(model))
    graph.notes = notes
    data_of_weight = _data_of_weight if execute else _small_integers
    counts_masks = call.attention == "effective"
    limit = max([MOST_MASK_ELEMENTS if counts_masks else MOST_CONCRETE_ELEMENTS, *integers])
    tracer = (MaskCounter if counts_masks else Tracer)(
        census.inventory, data_of_weight, execute=execute, most_concrete=limit, readable=call.readable
    )
    recorder = Recorder(tracer, census, call.opaque)
    listener = recorder if call.watch is None else call.watch(tracer, recorder)
    twins = _adopt_inputs(tracer, call.args, call.kwargs, graph, execute)
    with untouched(census.modules), listening(listener):
        try:
            with torch.inference_mode(), tracer:
                output = model(*twins[0], **twins[1])
                if inspect.isgenerator(output):
                    output = list(output)  # nothing has run until then
        except (FlopscopeError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise _explained(error, tracer, recorder, graph) from error
        else:
            graph.outputs = [tracer.value_of(leaf) for leaf in tree_flatten(_as_plain(output))[0] if isinstance(leaf, Tensor)]
        finally:
            tracer.close()
    graph.ops = tracer.ops
    graph.weights = tracer.weights
    graph.list_parameters = partial(census.inventory.weight_list, True)
    graph.list_buffers = partial(census.inventory.weight_list, False)
    graph.list_modules = recorder.module_list()
    graph.data_dependent = list(dict.fromkeys(tracer.data_dependent))
    if graph.data_dependent and not execute:
        listed = ", ".join(f"{target} in {scope or 'the model itself'}" for target, scope in graph.data_dependent[:3])
        graph.notes.append(f"cost depends on the values of the integer or boolean inputs, which the model reads ({listed})")
    return graph


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the garbage collector from walking all of torch in the middle of a few milliseconds of work."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _as_plain(output: Any) -> Any:
    """Mappings and dataclasses that pytree does not know (model outputs of libraries) as plain dicts."""
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    return dict(output) if isinstance(output, Mapping) else output


def _keeps_values(tensor: Tensor) -> bool:
    """Integer and boolean inputs are positions, ids and masks; 8-bit integers are images or quantised data."""
    return tensor.dtype in (torch.int64, torch.int32, torch.int16, torch.bool) and tensor.device.type != "meta"


def _small_integers(tensor: Tensor, is_parameter: bool) -> Tensor | None:
    """A small buffer of positions or indices keeps its values. They are copied, because ops may write to them."""
    keeps = not tensor.is_floating_point() and tensor.device.type != "meta" and tensor.numel() <= MOST_CONCRETE_ELEMENTS
    return private_copy(tensor) if keeps and not is_parameter else None


def _data_of_weight(tensor: Tensor, is_parameter: bool) -> Tensor:
    """Data to run a model on: a parameter's own (copied before an op writes to it), a copy of a buffer's, or made-up values."""
    with torch.inference_mode(tensor.is_inference()):
        if tensor.device.type != "meta":
            return tensor.detach().to("cpu", copy=not is_parameter)
        if not tensor.is_floating_point():
            return torch.zeros(tensor.shape, dtype=tensor.dtype)
        if tensor.dim() < 2:
            return torch.ones(tensor.shape, dtype=tensor.dtype)
        spread = max(1, tensor[0].numel()) ** -0.5
        made: Tensor = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)) * spread
        return made.to(tensor.dtype)


def _adopt_inputs(tracer: Tracer, args: Sequence[Any], kwargs: Mapping[str, Any], graph: Graph, execute: bool) -> tuple[Any, Any]:
    seen: dict[int, Tensor] = {}

    def adopt(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return with_twins(leaf, adopt)
        if id(leaf) not in seen:
            if leaf.layout is not torch.strided or leaf.is_nested:
                layout = "nested" if leaf.is_nested else str(leaf.layout).removeprefix("torch.")
                raise InputError(f"an input has the layout {layout}, and only dense (strided) tensors can be analysed")
            keeps = _keeps_values(leaf) or execute
            twin = _data_of_input(leaf) if keeps else meta_like(leaf)
            value = tracer.new_value(type_of(twin), role="input")
            graph.inputs.append(value)
            tracer.adopt(twin, value, twin if keeps else None).from_input = True
            seen[id(leaf)] = twin
        return seen[id(leaf)]

    twins: tuple[Any, Any] = tree_map(adopt, (tuple(args), dict(kwargs)))
    return twins


def _data_of_input(tensor: Tensor) -> Tensor:
    if tensor.device.type != "meta":
        return private_copy(tensor)
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    return torch.rand(tensor.shape, generator=torch.Generator().manual_seed(0)).to(tensor.dtype)


def _explained(error: Exception, tracer: Tracer, recorder: Recorder, graph: Graph) -> FlopscopeError:
    """The error of a model, with where it happened and on which inputs."""
    inputs = ", ".join(str(value.type) for value in graph.inputs) or "no tensors"
    first_line = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, TypeError) and "forward()" in first_line and not tracer.ops:
        return InputError(f"{graph.name} cannot be called with these inputs ({inputs}): {first_line}")
    where = f"in {recorder.deepest}" if recorder.deepest else "in its own forward"
    last = f" after {tracer.ops[-1].target}" if tracer.ops else ""
    return TraceError(
        f"{graph.name} raised {type(error).__name__} {where}{last}, on inputs ({inputs}): {first_line.rstrip('.') or 'no message'}. "
        "Check that the shapes, dtypes and number of the inputs are what the model expects.",
        last_op=tracer.ops[-1].target if tracer.ops else None,
    )
