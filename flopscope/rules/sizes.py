"""The few operations on sizes that ``+ - *`` do not give, for every kind of number that a size can be.

A size is an int in a report. In a relaxed shape it may be a tensor of many sizes, or a symbol; what is fixed stays an int. The package
that makes such sizes teaches these operations about them, so that the rules need only one way of writing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Operation = Callable[..., Any]

_INTS: Mapping[str, Operation] = {
    "largest": lambda *sizes: max(sizes),
    "smallest": lambda *sizes: min(sizes),
    "quotient": lambda size, divisor: size // divisor,
    "common_divisor": math.gcd,
    "log2_ceil": lambda size: max(size - 1, 0).bit_length(),
}
_taught: dict[type, Mapping[str, Operation]] = {}


def teach(kind: type, operations: Mapping[str, Operation]) -> None:
    """Give the operations for another kind of number. Each takes ints beside numbers of that kind."""
    missing = _INTS.keys() - operations.keys()
    if missing:
        raise TypeError(f"sizes of the kind {kind.__name__} need the operations {', '.join(sorted(missing))} too")
    _taught[kind] = operations


def _operation(name: str, sizes: tuple[Any, ...]) -> Operation:
    for size in sizes:
        if not isinstance(size, int):
            for kind, operations in _taught.items():
                if isinstance(size, kind):
                    return operations[name]
    return _INTS[name]


def largest(*sizes: Any) -> Any:
    """The maximum."""
    return _operation("largest", sizes)(*sizes)


def smallest(*sizes: Any) -> Any:
    """The minimum."""
    return _operation("smallest", sizes)(*sizes)


def quotient(size: Any, divisor: Any) -> Any:
    """``size / divisor`` where it is known to be whole. Unlike ``//`` it has a derivative."""
    return _operation("quotient", (size, divisor))(size, divisor)


def common_divisor(size: Any, other: Any) -> Any:
    """The greatest common divisor."""
    if is_one(size) or is_one(other):
        return 1
    return _operation("common_divisor", (size, other))(size, other)


def log2_ceil(size: Any) -> Any:
    """The logarithm to base two, rounded up; 0 for a size of 0."""
    return _operation("log2_ceil", (size,))(size)


def is_one(size: Any) -> bool:
    """Whether a size is fixed at one. A relaxed size never is."""
    return isinstance(size, int) and size == 1


def broadcast(*sizes: Any) -> Any:
    """The size of dimensions that are broadcast together: those of size one give way."""
    return next((size for size in sizes if not is_one(size)), 1)
