"""How dimensions travel through elementwise arithmetic, activations, reductions and softmax."""

from __future__ import annotations

from flopscope.relax.channels.dims import Dims, fixed
from flopscope.relax.channels.travel.registry import Call, broadcast, travels
from flopscope.rules import activation, elementwise


@travels(*elementwise.FLOPS_PER_ELEMENT.keys() - {"arange", "linspace", "logspace"})
def together(call: Call) -> list[Dims]:
    """``z = f(x, y, ...)`` with broadcasting."""
    return [broadcast(call, call.operands)] if call.operands else [tuple(fixed(size) for size in call.shape())]


@travels(
    *activation.FLOPS_PER_ELEMENT, "softmax", "log_softmax", "dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout",
    "native_dropout", "cumsum", "cumprod", "logcumsumexp", "cummax", "cummin",
)  # fmt: skip
def same(call: Call) -> list[Dims]:
    """``x = f(x)``, with a weight per channel where there is one."""
    if call["weight"] is not None and call["weight"] != (fixed(1),):
        call.vector("weight", call.first[1 if len(call.first) > 1 else 0])
    return [call.first] * len(call.op.outputs)


@travels("glu")
def glu(call: Call) -> list[Dims]:
    """``[*, d] = a * sigmoid(b)`` with ``[a, b] = [*, 2d]``."""
    x = call.first
    dim = call.argument("dim", -1) % len(x)
    return [(*x[:dim], call.units.divide_equally(x[dim], 2, f"it is cut in two ({call.reason})"), *x[dim + 1 :])]


@travels(
    "sum", "nansum", "prod", "mean", "nanmean", "max", "min", "amax", "amin", "argmax", "argmin", "any", "all", "var", "std",
    "var_mean", "std_mean", "logsumexp", "norm", "linalg_vector_norm", "count_nonzero",
)  # fmt: skip
def reduce(call: Call) -> list[Dims]:
    """``[*] = reduce([*, d], dim)``; with two tensors `max` and `min` are elementwise."""
    if call["other"] is not None:
        return [broadcast(call, call.operands)]
    x, dims = call.first, call.argument("dim")
    given = range(len(x)) if dims is None or dims == () else (dims,) if isinstance(dims, int) else dims
    reduced = {dim % len(x) for dim in given} if x else set()
    for dim in reduced:
        call.units.freeze_factor(x[dim])
    kept = call.argument("keepdim", False)
    found = tuple(fixed(1) if position in reduced else dim for position, dim in enumerate(x) if kept or position not in reduced)
    return [found] * len(call.op.outputs)
