"""How the edges of a search cell are numbered: all into the first node, then all into the second, each by the state it comes from."""

from __future__ import annotations

from nas.genotype import INPUTS


def sources(nodes: int) -> list[int]:
    """The state that each edge of a cell comes from."""
    return [state for node in range(nodes) for state in range(INPUTS + node)]


def edge_between(state: int, node: int) -> int:
    """The number of the edge from a state to a node; nodes count from 0, and see 2, 3, 4, ... states.

    Examples:
        >>> [edge_between(0, node) for node in range(4)]
        [0, 2, 5, 9]
    """
    return node * (node + 3) // 2 + state
