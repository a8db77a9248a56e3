"""Communication between processes: what this process reads, computes and writes. What travels over wires is another matter.

Source of the counts: Thakur, Rabenseifner & Gropp 2005, "Optimization of Collective Communication Operations in MPICH", ring algorithms.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature, TensorType
from flopscope.rules.registry import count, rule

_SOURCE = "Thakur, Rabenseifner & Gropp 2005, ring algorithms"
_SPACES = ("_c10d_functional", "c10d_functional")


def _named(*names: str) -> list[str]:
    return [f"{space}::{name}" for space in _SPACES for name in names]


def _data(op: Signature) -> list[TensorType]:
    given = next(iter(op.arguments.values()))
    return [type for type in given if type is not None] if isinstance(given, tuple) else [given]


@rule(
    *_named("all_gather_into_tensor", "all_gather_into_tensor_coalesced", "all_to_all_single", "broadcast", "isend", "irecv", "batch_p2p_ops"),
    "_c10d_functional::all_gather_into_tensor_out", "_c10d_functional::_wrap_tensor_autograd",
    flops="none: elements are moved, not computed", source=_SOURCE,
)  # fmt: skip
def move(op: Signature) -> Cost:
    """``[p n] = all_gather([n])``."""
    return count(op)


@rule(
    *_named("all_reduce", "all_reduce_coalesced"),
    flops="1 per element: an upper bound of (p - 1) / p, as the number p of processes is not known",
    source=_SOURCE,
)
def all_reduce(op: Signature) -> Cost:
    """``[n] = all_reduce([n])``: each process adds up its share of the sums of all."""
    return count(op, other=sum(type.elements for type in _data(op)))


@rule(
    *_named("reduce_scatter_tensor", "reduce_scatter_tensor_coalesced"), "_c10d_functional::reduce_scatter_tensor_out",
    flops="(p - 1) / p per element of p processes", source=_SOURCE,
)  # fmt: skip
def reduce_scatter(op: Signature) -> Cost:
    """``[n / p] = reduce_scatter([n])``: p - 1 additions per element of the share."""
    size = op["group_size"]
    return count(op, other=sum(type.elements // size * (size - 1) for type in _data(op)))


@rule("inductor::accumulate_grad_", flops="1 per element of the new gradient", source="a sum")
def accumulate(op: Signature) -> Cost:
    """``g = g + dg``."""
    return count(op, other=op.read[-1].elements if op.read else 0)
