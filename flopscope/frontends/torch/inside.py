"""What runs inside a composite op: in inference mode it arrives whole, and outside of it torch takes it apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import _disable_current_modes

from flopscope.errors import FlopscopeError
from flopscope.frontends.torch.adoption import adopt_inputs, small_integers
from flopscope.frontends.torch.cells import DTYPE_NAMES
from flopscope.frontends.torch.census import Census
from flopscope.frontends.torch.memo import Memo
from flopscope.frontends.torch.schema import flat_tensors, schema_of
from flopscope.frontends.torch.tracer import CLOSE, OPEN, DataNeeded, Tracer
from flopscope.graph import Graph, Signature, TensorType

_DTYPES = {name: dtype for dtype, name in DTYPE_NAMES.items()}


def inner_of(memo: Memo) -> Callable[[Signature], Graph | None]:
    """Tells what is inside an op that a memo remembers. Each answer is found once."""
    return partial(_inside, memo, {}, {})


def _inside(memo: Memo, keys: dict[Signature, Hashable], known: dict[Signature, Graph | None], signature: Signature) -> Graph | None:
    if signature in known:
        return known[signature]
    if signature not in keys:
        keys.update((entry.signature, key) for key, entry in memo.entries.items())
    key: Any = keys.get(signature)
    graph = None
    if key is not None and isinstance(key[0], OpOverload) and key[0]._can_decompose():
        graph = _traced(key, signature)
        if graph is not None:
            graph.inner = partial(_inside, memo, keys, known)
    known[signature] = graph
    return graph


def _traced(key: Sequence[Any], signature: Signature) -> Graph | None:
    """The ops inside a call, or ``None`` where they cannot be told from shapes."""
    func = key[0]
    with _disable_current_modes(), torch.inference_mode(False), torch.no_grad():
        call = _call_of(key)
        if call is None:
            return None
        graph = Graph(name=signature.target)
        tracer = Tracer(Census.of_function(signature.target).inventory, small_integers)
        args, kwargs = adopt_inputs(tracer, *call, graph, False)
        try:
            with tracer:
                result = func(*args, **kwargs)
        except (DataNeeded, FlopscopeError, RuntimeError, NotImplementedError, TypeError, ValueError, IndexError):
            return None
        else:
            graph.outputs = [tracer.value_of(leaf) for leaf in flat_tensors(result)]
            graph.ops, graph.deaths = tracer.ops, tracer.deaths
            if signature.target == "aten::linear":
                _add_in_place(graph)
        finally:
            tracer.close()
    return None if any(op.signature is signature for op in graph.ops) else graph


def _add_in_place(graph: Graph) -> None:
    """``linear`` adds its bias in place, but not under a dispatch mode (native/Linear.cpp)."""
    last = graph.ops[-1]
    if last.target == "aten::add" and last.signature.effect == "fresh":
        first = last.inputs[0]
        owner = first.id if first.storage is None else first.storage
        last.outputs[0].storage = owner
        (graph.deaths or {}).pop(owner, None)


def _call_of(key: Sequence[Any]) -> tuple[list[Any], dict[str, Any]] | None:
    """The arguments that a memo key was built from, on meta tensors. ``None`` where one of them has no strides."""
    try:
        items = list(_items(iter(key[1:])))
    except LookupError:
        return None
    names = schema_of(key[0]).names
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    rest = iter(items)
    for item in rest:
        if isinstance(item, str) and item in names[len(args) :]:
            kwargs[item] = next(rest)
        else:
            args.append(item)
    return args, kwargs


def _items(key: Iterator[Any]) -> Iterator[Any]:
    for item in key:
        if item is CLOSE:
            return
        if item is OPEN:
            yield list(_items(key))
        elif isinstance(item, TensorType):
            yield _meta(item)
        elif isinstance(item, tuple) and item and isinstance(item[0], type):
            yield item[1]
        elif isinstance(item, tuple):
            yield list(item)
        else:
            yield item


def _meta(type: TensorType) -> Tensor:
    if type.strides is None:
        raise LookupError(type)
    return torch.empty_strided(type.shape, type.strides, dtype=_DTYPES[type.dtype], device="meta")
