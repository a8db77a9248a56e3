"""Orders of dimensions that contrib ops allow, for their types and for what they are made of."""

from __future__ import annotations


def turned(shape: tuple[int, ...], batch_first: int, transposed: int) -> tuple[int, ...]:
    """The shape of a factor whose batch dimensions come after its rows, or that is transposed."""
    if batch_first and len(shape) > 2:
        shape = (*shape[1:-1], shape[0], shape[-1])
    return (*shape[:-2], shape[-1], shape[-2]) if transposed and len(shape) > 1 else shape


def kernel_last(channels: int, weight: tuple[int, ...], groups: int) -> bool:
    """Whether the input channels of a kernel come last, as its op's channels do, and not second."""
    return weight[-1] * groups == channels and not (weight[1] * groups == channels and weight[1] != weight[-1])


def channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``[n, c, *s]`` of ``[n, *s, c]``."""
    return (shape[0], shape[-1], *shape[1:-1])
