"""Reading the sizes of channel groups off the weights of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flopscope.errors import InputError
from flopscope.relax.channels.dims import Dim, is_fixed, value_of

Equation = tuple[str, int, Dim, int]
"""The name of a weight, one of its dimensions, what this is made of, and its size."""


def solve_sizes(weights: Mapping[str, Sequence[Dim]], units: Sequence[int], shapes: Mapping[str, Sequence[int]]) -> dict[int, int]:
    """The sizes of the units for which all weights have the given shapes: each equation with one unknown unit gives its size.

    Raises:
        InputError: a weight is missing or has another number of dimensions, a size is no solution, or the shapes do not tell it.
    """
    if weights.keys() != shapes.keys():
        name = next(iter(weights.keys() ^ shapes.keys()))
        raise InputError(f"the networks have different weights: {name!r} is only in one of them")
    if odd := next((name for name, dims in weights.items() if len(dims) != len(shapes[name])), None):
        raise InputError(f"the weight {odd!r} has {len(shapes[odd])} dimensions, where {len(weights[odd])} are needed")
    equations = [
        (name, position, dim, size)
        for name, dims in weights.items()
        for position, (dim, size) in enumerate(zip(dims, shapes[name], strict=True))
    ]
    found: dict[int, int] = {}
    open_ = equations
    while open_:
        remaining = [equation for equation in open_ if not _solved(equation, found)]
        if len(remaining) == len(open_):
            break
        open_ = remaining
    for name, position, dim, size in equations:
        if all(unit in found for _, members in dim for unit in members) and value_of(dim, found) != size:
            why = "it is frozen at" if is_fixed(dim) else "the other weights ask for"
            raise InputError(f"dimension {position} of {name!r} is {size}, where {why} {value_of(dim, found)}")
    if len(found) < len(units):
        name, position, _, size = open_[0]
        raise InputError(
            f"the weights do not tell the sizes of {len(units) - len(found)} groups, such as those in dimension {position} of {name!r} "
            f"({size})"
        )
    return found


def _solved(equation: Equation, found: dict[int, int]) -> bool:
    """Solve an equation with at most one unknown unit, which occurs in linear terms only."""
    name, position, dim, size = equation
    unknown = {unit for _, members in dim for unit in members if unit not in found}
    if not unknown:
        return True
    if len(unknown) > 1 or any(sum(unit in unknown for unit in members) > 1 for _, members in dim):
        return False
    (unit,) = unknown
    rest = value_of(dim, {**found, unit: 0})
    slope = value_of(dim, {**found, unit: 1}) - rest
    if slope == 0 or (size - rest) % slope or size <= rest:
        raise InputError(f"dimension {position} of {name!r} is {size}, which no size of its channel group gives")
    found[unit] = (size - rest) // slope
    return True
