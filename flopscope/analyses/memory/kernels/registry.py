"""Where the rules live: a rule is the growth of live bytes while one kind of op runs on the CPU, as a function of its signature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

from flopscope.analyses.memory.kernels.host import Host
from flopscope.graph import Signature, TensorType

Growth = Callable[[Signature, Host], "int | None"]
"""The most bytes that are alive during the op over what was alive before, its fresh outputs included; ``None``: not known here."""

_kernels: dict[str, Growth] = {}


def kernel(*keys: str) -> Callable[[Growth], Growth]:
    """Register a rule for ops by their names (``"aten::roll"``), which go first, or by their kinds (``"conv"``)."""

    def register(rule: Growth) -> Growth:
        for key in keys:
            assert key not in _kernels, key
            _kernels[key] = rule
        return rule

    return register


def growth_bytes(signature: Signature, host: Host) -> int | None:
    """What the rule of an op says, or ``None`` where it has none, or its rule does not know this call."""
    rule = _kernels.get(signature.target) or _kernels.get(signature.kind)
    return None if rule is None else rule(signature, host)


def peak(*events: int) -> int:
    """The most that is alive in a sequence of allocations (bytes) and frees (minus bytes)."""
    return max(accumulate(events), default=0)


def bytes_of(type: TensorType) -> int:
    """The bytes that a tensor takes if it lies by itself without gaps."""
    return type.bytes(type.elements)


def outputs_bytes(signature: Signature) -> int:
    """The bytes of all outputs."""
    return sum(bytes_of(type) for type in signature.outputs)


def is_contiguous(type: TensorType) -> bool:
    """Whether the elements lie in the order of the dimensions, without gaps."""
    return _lies_in_order(type, range(len(type.shape) - 1, -1, -1))


def is_channels_last(type: TensorType) -> bool:
    """Whether torch takes a 4- or 5-dimensional tensor for one in the channels-last format.

    As ``is_channels_last_strides_2d`` in c10/core/MemoryFormat.h: where sizes of 1 leave it open, it does not.
    """
    rank = len(type.shape)
    strides = type.strides
    if rank not in (4, 5) or strides is None or strides[1] == 0:
        return False
    least = 0
    for dim in (1, *range(rank - 1, 1, -1), 0):
        size = type.shape[dim]
        if size == 0 or strides[dim] < least or (dim == 0 and least == strides[1]):
            return False
        least = strides[dim] * (size if size > 1 else 1)
    return True


def copy_bytes(type: TensorType) -> int:
    """What ``tensor.contiguous()`` takes: a copy, or nothing."""
    return 0 if is_contiguous(type) else bytes_of(type)


def copy_as_suggested(type: TensorType) -> int:
    """What ``tensor.contiguous(tensor.suggest_memory_format())`` takes: a copy, or nothing."""
    return 0 if is_contiguous(type) or (is_channels_last(type) and lies_channels_last(type)) else bytes_of(type)


def lies_channels_last(type: TensorType) -> bool:
    """Whether the elements lie channels last, without gaps; where sizes of 1 leave it open, they do."""
    rank = len(type.shape)
    if rank < 3 or type.strides is None:
        return False
    return _lies_in_order(type, (1, *range(rank - 1, 1, -1), 0))


def _lies_in_order(type: TensorType, dims: Iterator[int] | range | tuple[int, ...]) -> bool:
    if type.strides is None:
        return True
    if 0 in type.shape:
        return True
    expected = 1
    for dim in dims:
        size = type.shape[dim]
        if size != 1:
            if type.strides[dim] != expected:
                return False
            expected *= size
    return True
