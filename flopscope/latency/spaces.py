"""Features of whole networks of published search spaces, for `flopscope.latency.predictor.NetworkPredictor`.

A network is a choice at each place. Its features are each choice (a one for the candidate that was taken), how often each candidate was
taken in all, and what the choices do together: in a cell, which operations lie on a path from the input to the output, and how long the
longest path is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from flopscope.errors import InputError

NASBENCH201_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""Dong & Yang 2020, arXiv:2001.00326, section 2.1."""
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""The edges of a cell of NAS-Bench-201, in the order in which its name lists them."""
FBNET_OPERATIONS = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
"""Wu et al. 2019, arXiv:1812.03443, table 2."""
_CELL = re.compile(r"\|(\w+)~0\|\+\|(\w+)~0\|(\w+)~1\|\+\|(\w+)~0\|(\w+)~1\|(\w+)~2\|")


def choice_features(choices: Sequence[int], names: Sequence[str]) -> dict[str, float]:
    """The features of a network that takes a candidate at each place, by the index of the candidate.

    Raises:
        InputError: there is no such candidate.
    """
    found: dict[str, float] = {f"count={name}": 0 for name in names}
    for place, choice in enumerate(choices):
        if not 0 <= choice < len(names):
            raise InputError(f"place {place} takes candidate {choice}, where there are 0 to {len(names) - 1}")
        found[f"{place}={names[choice]}"] = 1
        found[f"count={names[choice]}"] += 1
    return found


def cell_of(name: str) -> tuple[int, ...]:
    """The operation of each of the `EDGES` of a cell of NAS-Bench-201, as indices, from its name.

    Raises:
        InputError: it is no such name.
    """
    match = _CELL.fullmatch(name)
    if match is None or not set(match.groups()) <= set(NASBENCH201_OPERATIONS):
        raise InputError(f"{name!r} is no cell of NAS-Bench-201, such as '|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|'")
    return tuple(NASBENCH201_OPERATIONS.index(operation) for operation in match.groups())


def mirrored(cell: Sequence[int]) -> tuple[int, ...] | None:
    """The same cell with its two inner nodes exchanged, which runs the same operations; ``None`` where an operation joins the two."""
    first, second, between, direct, from_first, from_second = cell
    return (second, first, 0, direct, from_second, from_first) if between == 0 else None


def cell_features(cell: Sequence[int]) -> dict[str, float]:
    """The features of a cell of NAS-Bench-201."""
    found = choice_features(cell, NASBENCH201_OPERATIONS)
    alive = _alive(cell)
    for position, operation in enumerate(cell):
        if position in alive:
            name = NASBENCH201_OPERATIONS[operation]
            found[f"alive {position}={name}"] = 1
            found[f"alive count={name}"] = found.get(f"alive count={name}", 0) + 1
    joined = [sum(1 for position in alive if EDGES[position][1] == node) for node in (1, 2, 3)]
    found["alive additions"] = sum(max(0, count - 1) for count in joined)
    found["alive nodes"] = sum(count > 0 for count in joined)
    for name, counted in (("convolutions", (2, 3)), ("3x3 convolutions", (3,)), ("operations", (1, 2, 3, 4))):
        found[f"depth in {name}"] = _longest(cell, alive, counted)
    return found


def _alive(cell: Sequence[int]) -> set[int]:
    """The edges on a path from the input of a cell to its output, over edges that are not ``none``."""
    reached, needed = {0}, {3}
    for (source, target), operation in zip(EDGES, cell, strict=True):  # in an order in which sources come first
        if operation and source in reached:
            reached.add(target)
    for (source, target), operation in reversed(list(zip(EDGES, cell, strict=True))):
        if operation and target in needed:
            needed.add(source)
    edges = enumerate(zip(EDGES, cell, strict=True))
    return {position for position, ((source, target), operation) in edges if operation and source in reached and target in needed}


def _longest(cell: Sequence[int], alive: set[int], counted: Sequence[int]) -> int:
    depth = [0, 0, 0, 0]
    for position, (source, target) in enumerate(EDGES):
        if position in alive:
            depth[target] = max(depth[target], depth[source] + (cell[position] in counted))
    return depth[3]
