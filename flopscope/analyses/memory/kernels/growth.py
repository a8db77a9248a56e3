"""The growth of live bytes during each op of a graph: from the rules of kernels, and from the ops inside composite ones."""

from __future__ import annotations

from collections.abc import Callable

from flopscope.analyses.memory.kernels.host import Host, this_host
from flopscope.analyses.memory.kernels.registry import growth_bytes
from flopscope.analyses.memory.storages import storages
from flopscope.analyses.memory.timeline import timeline
from flopscope.graph import Graph, Signature

Inner = Callable[[Signature], "Graph | None"]


def growths(graph: Graph, host: Host | None = None) -> list[int]:
    """By op: the most bytes that are alive while it runs on eager CPU, over what was alive before. Fresh outputs may be all of it (0 here).

    Args:
        graph: a traced model.
        host: the machine; by default this one.
    """
    return _Growths(graph, host or this_host()).all()


class _Growths:
    """Growth by signature, each found once."""

    def __init__(self, graph: Graph, host: Host) -> None:
        self._graph = graph
        self._host = host
        self._known: dict[Signature, int] = {}

    def all(self) -> list[int]:
        return self._of_graph(self._graph)

    def _of_graph(self, graph: Graph) -> list[int]:
        return [self._of(op.signature, graph.inner) for op in graph.ops]

    def _of(self, signature: Signature, inner: Inner | None) -> int:
        found = self._known.get(signature)
        if found is None:
            self._known[signature] = 0  # an op that is inside itself takes nothing more
            found = self._known[signature] = self._find(signature, inner)
        return found

    def _find(self, signature: Signature, inner: Inner | None) -> int:
        if signature.effect == "view":
            return 0
        known = growth_bytes(signature, self._host)
        if known is not None:
            return known
        inside = None if inner is None else inner(signature)
        if inside is None:
            return 0
        line = timeline(storages(inside), len(inside.ops), self._of_graph(inside))
        return line.peak_bytes - line.before_bytes
