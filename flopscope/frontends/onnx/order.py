"""The order of nodes: ONNX wants each node after those whose values it reads, and not every exporter obeys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flopscope.errors import InputError

if TYPE_CHECKING:
    import onnx

_GRAPH, _GRAPHS = 5, 10


def in_order(nodes: Sequence[onnx.NodeProto], known: Mapping[str, Any]) -> list[onnx.NodeProto]:
    """The nodes in an order in which they can run, as near to the given one as possible.

    Raises:
        InputError: there is no such order: a value is made by nobody, or nodes wait for each other.
    """
    maker = {name: position for position, node in enumerate(nodes) for name in node.output if name}
    waits: list[set[int]] = []
    for position, node in enumerate(nodes):
        read = [name for name in reads_of(node) if name and name not in known]
        waits.append({maker[name] for name in read if name in maker and maker[name] != position})
        if any(maker.get(name) == position for name in read):
            raise InputError(f"the node {node.name or node.op_type!r} reads its own output: a cycle")
    readers: dict[int, list[int]] = {}
    for position, awaited in enumerate(waits):
        for other in awaited:
            readers.setdefault(other, []).append(position)
    return [nodes[position] for position in _sorted(waits, readers, nodes)]


def _sorted(waits: list[set[int]], readers: Mapping[int, list[int]], nodes: Sequence[onnx.NodeProto]) -> list[int]:
    import heapq

    ready = [position for position, awaited in enumerate(waits) if not awaited]
    order: list[int] = []
    while ready:
        position = heapq.heappop(ready)
        order.append(position)
        for reader in readers.get(position, ()):
            waits[reader].discard(position)
            if not waits[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(waits):
        stuck = next(node for position, node in enumerate(nodes) if waits[position])
        raise InputError(f"its nodes wait for each other in a cycle, for instance {stuck.name or stuck.op_type!r}")
    return order


def reads_of(node: onnx.NodeProto) -> Iterator[str]:
    """The values that a node reads, those that graphs inside it take from outside among them."""
    yield from node.input
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.type == _GRAPH else attribute.graphs if attribute.type == _GRAPHS else ():
            own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            for inner in graph.node:
                own.update(inner.output)
            for inner in graph.node:
                yield from (name for name in reads_of(inner) if name not in own)
