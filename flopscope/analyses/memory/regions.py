"""Until when a node of a file holds what it reads, where several ops stand for it."""

from __future__ import annotations

from flopscope.graph import Graph, Region


class Held:
    """The regions of a graph, by the ops inside them."""

    def __init__(self, graph: Graph) -> None:
        self._around: dict[int, list[Region]] = {}
        for region in graph.regions:
            for index in range(region.first, region.last + 1):
                self._around.setdefault(index, []).append(region)

    def until(self, op: int, born: int) -> int:
        """The last op that runs before a piece of memory can be given back that an op uses and that was born with another.

        A kernel holds all that it reads and makes; a graph inside a node only what is from outside it.
        """
        regions = self._around.get(op, ())
        return max((region.last for region in regions if region.is_kernel or born < region.first), default=op)
