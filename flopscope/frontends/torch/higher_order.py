"""Ops whose arguments are functions: what is inside them is priced.

A branch that depends on data counts as the costlier one, a loop whose end depends on data as one turn; the report's notes say so.
Loops with a known number of turns (`scan`, `map`, a `while_loop` over true, small data) run their body that often.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch.utils._pytree import tree_flatten

from flopscope.frontends.torch.real import RealRuns
from flopscope.graph import Op

Weigh = Callable[[Sequence[Op]], tuple[int, int]]
"""How many of some ops have no known cost, and what the others cost, to compare branches by."""


_MOST_SCORES = 2**28


def call_higher_order(tracer: Any, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Answer a call of a higher-order op by tracing what is inside it.

    Raises:
        NotImplementedError: nothing is known of this op, and torch has no implementation of it that could be traced.
    """
    name = str(func.name())
    handler = _HANDLERS.get(name)
    with tracer:
        if handler is not None:
            return handler(tracer, *args, **kwargs)
        kernel = func.py_kernels.get(DispatchKey.CompositeExplicitAutograd)
        if kernel is not None:
            return kernel(*args, **kwargs)
    raise NotImplementedError(f"the higher-order op {name} has no implementation that could be traced; call what is inside it directly")


def _truth(tracer: RealRuns, name: str, condition: Any) -> Any:
    """The value of a condition or index, or ``None`` where it is not known."""
    if not isinstance(condition, Tensor):
        return condition
    data = tracer.data_of(condition)
    if data is None:
        return None
    if tracer.execute or tracer.cell_of(condition).root.from_input:
        tracer.data_dependent.append((f"higher_order::{name}", tracer.scope))
    with torch.utils._python_dispatch._disable_current_modes():
        return data.item()


def _cond(tracer: Any, pred: Any, true_fn: Any, false_fn: Any, operands: Any) -> Any:
    taken = _truth(tracer, "cond", pred)
    if taken is None:
        return _costliest(tracer, "cond", (true_fn, false_fn), operands)
    return (true_fn if taken else false_fn)(*operands)


def _switch(tracer: Any, index: Any, branches: Sequence[Any], operands: Any) -> Any:
    taken = _truth(tracer, "switch", index)
    if taken is None:
        return _costliest(tracer, "switch", branches, operands)
    return branches[min(max(int(taken), 0), len(branches) - 1)](*operands)


def _costliest(tracer: Any, name: str, branches: Sequence[Any], operands: Any) -> Any:
    """Trace all branches from the same point, and keep the costliest."""
    weigh: Weigh = tracer.weigh or _elements
    first = len(tracer.ops)
    kept: tuple[tuple[int, int], list[Op], Any] | None = None
    for branch in branches:
        result = branch(*operands)
        ops = tracer.ops[first:]
        del tracer.ops[first:]
        cost = weigh(ops)
        if kept is None or cost > kept[0]:
            kept = cost, ops, result
    assert kept is not None
    tracer.ops.extend(kept[1])
    which = f"which branch of {name} in {tracer.scope or 'the model itself'} runs depends on data"
    if tracer.weigh is None:
        tracer.note(f"{which}; the one that moves the most elements is taken")
    elif kept[0][0]:
        tracer.note(f"{which}; the one with ops that no rule prices is counted, which bounds nothing")
    else:
        tracer.note(
            f"upper bound: {which}; the one with the most FLOPs is counted, which bounds FLOPs alone: MACs, access and everything else "
            "are those of this branch, and another may have more of them"
        )
    return kept[2]


def _elements(ops: Sequence[Op]) -> tuple[int, int]:
    return 0, sum(type.elements for op in ops for type in (*op.signature.inputs, *op.signature.outputs))


def _while_loop(tracer: Any, cond_fn: Any, body_fn: Any, carried: Any, additional: Any = (), *_: Any, **__: Any) -> Any:
    values = tuple(carried)
    while True:
        goes_on = _truth(tracer, "while_loop", cond_fn(*values, *additional))
        if goes_on is None:
            values = tuple(body_fn(*values, *additional))
            where = tracer.scope or "the model itself"
            tracer.note(f"per iteration: how often while_loop in {where} runs depends on data; one turn is counted")
            return values
        if not goes_on:
            return tuple(value.clone() if isinstance(value, Tensor) else value for value in values)
        values = tuple(body_fn(*values, *additional))


def _scan(_: Any, combine_fn: Any, init: Any, xs: Any, additional_inputs: Any = (), *__: Any, **___: Any) -> Any:
    turns = len(xs[0])
    carry, ys = list(init), []
    for turn in range(turns):
        out = combine_fn(*carry, *(x.select(0, turn) for x in xs), *additional_inputs)
        flat = list(out)
        carry, made = flat[: len(carry)], flat[len(carry) :]
        ys.append(made)
    stacked = [None if y[0] is None else torch.stack(y) for y in zip(*ys, strict=True)]
    return (*carry, *stacked)


def _map(_: Any, function: Any, xs: Any, pos_args: Any = (), *__: Any, **___: Any) -> Any:
    results = [function(*(x.select(0, turn) for x in xs), *pos_args) for turn in range(len(xs[0]))]
    flat = [tree_flatten(result)[0] for result in results]
    return [None if column[0] is None else torch.stack(column) for column in zip(*flat, strict=True)]


def _associative_scan(_: Any, combine_fn: Any, xs: Any, additional_inputs: Any = ()) -> Any:
    from torch._higher_order_ops.associative_scan import generic_associative_scan

    return generic_associative_scan(combine_fn, xs, additional_inputs=additional_inputs)


def _flex_attention(
    tracer: Any, query: Tensor, key: Tensor, value: Tensor, score_mod: Any, block_mask: Any, scale: Any, *rest: Any, **__: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """One attention over all pairs of query and key, as the kernel of a dense attention computes it.

    What the caller's functions make of scores and positions comes first, as ops on all scores, and goes into the attention as its mask.
    """
    score_buffers, mask_buffers = rest[1:3] if len(rest) > 2 else ((), ())
    batch, heads, length, _ = query.shape
    bias = _modified_scores(query, key.shape[2], score_mod, block_mask[-1], score_buffers, mask_buffers)
    tensors = {"query": query, "key": key, "value": value} | ({} if bias is None else {"attn_mask": bias})
    out = query.new_empty((batch, heads, length, value.shape[-1]))
    # Allocated through the tracer so that they are known, then made results of the one op.
    lse, largest = (query.new_empty((batch, heads, length), dtype=torch.float32) for _ in range(2))
    tracer.replace_last(3, "higher_order::flex_attention", "attention", tensors, {"scale": scale})
    if tracer.execute:
        _fill(tracer, (out, lse, largest), (query, key, value, score_mod, block_mask, scale, *rest))
    return out, lse, largest


def _fill(tracer: Any, results: Sequence[Tensor], arguments: Sequence[Any]) -> None:
    """Compute true results, for a model that is run for real; zeros where the scores would take more than a gigabyte."""
    from torch._higher_order_ops.flex_attention import math_attention

    query, key = arguments[:2]
    with torch.utils._python_dispatch._disable_current_modes():
        if query.shape[:-1].numel() * key.shape[-2] > _MOST_SCORES:
            for result in results:
                result.zero_()
            return
        computed: Any = math_attention(*(tracer.data_of(item) if isinstance(item, Tensor) else item for item in arguments))
        for result, data in zip(results, computed, strict=False):
            result.copy_(data)


def _modified_scores(query: Tensor, keys: int, score_mod: Any, mask_mod: Any, score_buffers: Any, mask_buffers: Any) -> Tensor | None:
    from torch.nn.attention import flex_attention as flex

    over_pairs: Any = flex._vmap_for_bhqkv
    batch, heads, length, _ = query.shape
    positions = [torch.arange(size) for size in (batch, heads, length, keys)]
    mask = None
    if mask_mod is not flex.noop_mask:
        mask = over_pairs(mask_mod, prefix=(), suffix=(None,) * len(mask_buffers))(*positions, *mask_buffers)
    if getattr(score_mod, "__name__", "") == "_identity":
        return mask
    scores = query.new_empty((batch, heads, length, keys), dtype=torch.float32)
    changed: Tensor = over_pairs(score_mod, prefix=(0,), suffix=(None,) * len(score_buffers))(scores, *positions, *score_buffers)
    return changed if mask is None else torch.where(mask, changed, -float("inf"))


def _body_first(_: Any, body: Any, *operands: Any, **__: Any) -> Any:
    return body(*operands)


def _invoke_subgraph(_: Any, subgraph: Any, _identifier: Any, *operands: Any, **__: Any) -> Any:
    return subgraph(*operands)


def _hints_wrapper(_: Any, body: Any, args: Any, kwargs: Any, *__: Any, **___: Any) -> Any:
    return body(*args, **kwargs)


def _strict_mode(_: Any, body: Any, operands: Any, *__: Any) -> Any:
    return body(*operands)


_HANDLERS: dict[str, Callable[..., Any]] = {
    "cond": _cond,
    "switch": _switch,
    "while_loop": _while_loop,
    "scan": _scan,
    "map_impl": _map,
    "associative_scan": _associative_scan,
    "flex_attention": _flex_attention,
    "invoke_subgraph": _invoke_subgraph,
    "hints_wrapper": _hints_wrapper,
    "strict_mode": _strict_mode,
    "run_const_graph": _strict_mode,
    "tag_activation_checkpoint": _body_first,
    "wrap": _body_first,
    "wrap_activation_checkpoint": _body_first,
}
