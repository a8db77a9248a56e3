"""Sizes that are tensors: what the rules need to know of them."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from flopscope.errors import InputError
from flopscope.rules.sizes import teach


def numbers_from(given: Any, what: str) -> Tensor:
    """A tensor of what a user gives as numbers.

    Raises:
        InputError: it is not made of numbers, or its rows differ in length.
    """
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} must be a tensor of numbers, or lists of them of one length, but are {given!r}") from error


def _tensor(size: Any, like: Tensor) -> Tensor:
    return size if isinstance(size, Tensor) else torch.as_tensor(size, dtype=like.dtype, device=like.device)


def _pairwise(function: Any) -> Any:
    def of(*sizes: Any) -> Tensor:
        like = next(size for size in sizes if isinstance(size, Tensor))
        found: Tensor = reduce(function, (_tensor(size, like) for size in sizes))
        return found

    return of


def _quotient(size: Any, divisor: Any) -> Any:
    """Whole sizes stay whole; others have a derivative."""
    tensors = [number for number in (size, divisor) if isinstance(number, Tensor)]
    return size / divisor if any(number.is_floating_point() for number in tensors) else size // divisor


def _common_divisor(size: Any, other: Any) -> Any:
    like = size if isinstance(size, Tensor) else other
    if like.is_floating_point():
        raise TypeError("the greatest common divisor is defined for whole sizes only")
    return torch.gcd(_tensor(size, like), _tensor(other, like))


def _log2_ceil(size: Tensor) -> Tensor:
    """Doubling until it is large enough: floating-point logarithms are not exact."""
    found, power = torch.zeros_like(size), torch.ones_like(size)
    while bool((power < size).any()):
        found = found + (power < size).to(found.dtype)
        power = torch.where(power < size, power * 2, power)
    return found


teach(
    Tensor,
    {
        "largest": _pairwise(torch.maximum),
        "smallest": _pairwise(torch.minimum),
        "quotient": _quotient,
        "common_divisor": _common_divisor,
        "log2_ceil": _log2_ceil,
    },
)
