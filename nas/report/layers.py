"""A layered layout: where the boxes of a small acyclic graph stand so that no label lies on another, or on an edge.

The method is that of Sugiyama et al. 1981. Vertices stand in even layers, the labels of edges in odd ones, and an edge that
passes a layer has a box of its own there, so that everything in a layer is kept apart in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from nas.report.order import ordered

Size = tuple[float, float]
_GAP = 0.14
_BEND = 0.24
_ROUNDS = 60
_STRAIGHT = 6.0
"""How much more a bend between two boxes that only pass an edge on weighs than another."""


@dataclass(slots=True)
class Box:
    """A vertex, a label, or the place where an edge passes a layer; x and y are its centre, in the unit of its size."""

    layer: int
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0


@dataclass(slots=True)
class Layout:
    """What was placed: the vertices first, then for each link the boxes from its source to its target.

    Attributes:
        boxes: all boxes.
        chains: for each link the indices of the boxes it passes, ends included.
        labels: for each link the index of its label's box, if it has one.
        columns: for each layer its left and right end.
    """

    boxes: list[Box]
    chains: list[list[int]] = field(default_factory=list)
    labels: list[int | None] = field(default_factory=list)
    columns: list[Size] = field(default_factory=list)


def lay_out(vertices: Sequence[Size], links: Sequence[tuple[int, int, Size | None]]) -> Layout:
    """Place vertices of these sizes, and the labels of links ``(source, target, size of the label)`` with source < target."""
    ranks = _ranks(len(vertices), [(source, target) for source, target, _ in links])
    found = Layout([Box(2 * rank, *size) for rank, size in zip(ranks, vertices, strict=True)])
    for source, target, size in links:
        _add_chain(found, source, target, size)
    pairs = [pair for chain in found.chains for pair in pairwise(chain)]
    layers = ordered([box.layer for box in found.boxes], pairs)
    _place_rows(found.boxes, layers, pairs)
    for chain in found.chains:
        _straighten(found.boxes, layers, chain[1:-1])
    lowest = min(box.y - box.height / 2 for box in found.boxes)
    for box in found.boxes:
        box.y -= lowest
    _place_columns(found, layers, pairs)
    return found


def _ranks(count: int, links: Sequence[tuple[int, int]]) -> list[int]:
    """The longest way to each vertex; the last one, the output, stands behind all others."""
    ranks = [0] * count
    for source, target in sorted(links, key=lambda link: link[1]):
        ranks[target] = max(ranks[target], ranks[source] + 1)
    ranks[-1] = max(ranks[-1], *(rank + 1 for rank in ranks[:-1]))
    return ranks


def _add_chain(found: Layout, source: int, target: int, size: Size | None) -> None:
    boxes, first, last = found.boxes, found.boxes[source].layer, found.boxes[target].layer
    passed = list(range(len(boxes), len(boxes) + last - first - 1))
    boxes += [Box(layer, 0.0, 0.0) for layer in range(first + 1, last)]
    if size is not None:  # next to the target, so that what a node adds up is read in one place
        boxes[-1].width, boxes[-1].height = size
    found.chains.append([source, *passed, target])
    found.labels.append(None if size is None else passed[-1])


def _place_rows(boxes: list[Box], layers: list[list[int]], pairs: Sequence[tuple[int, int]]) -> None:
    """Move every box towards its neighbours, layer by layer, as far as the boxes above and below let it."""
    near: list[list[tuple[int, float]]] = [[] for _ in boxes]
    for left, right in pairs:
        weight = _STRAIGHT if boxes[left].height == boxes[right].height == 0 else 1.0
        near[left].append((right, weight))
        near[right].append((left, weight))
    for layer in layers:
        _spread(boxes, layer, [float(place) for place in range(len(layer))])
    for turn in range(_ROUNDS):
        for layer in layers if turn % 2 else layers[::-1]:
            wanted = [
                sum(boxes[other].y * weight for other, weight in near[box]) / sum(weight for _, weight in near[box])
                if near[box]
                else boxes[box].y
                for box in layer
            ]
            _spread(boxes, layer, wanted)


def _spread(boxes: list[Box], layer: Sequence[int], wanted: Sequence[float]) -> None:
    """The rows nearest to the wanted ones (in the sum of squares) that keep the order and the gaps: pool adjacent violators."""
    offsets = [0.0]
    for above, below in pairwise(layer):
        offsets.append(offsets[-1] + (boxes[above].height + boxes[below].height) / 2 + _GAP)
    pools: list[tuple[float, int]] = []  # mean of what the members want, number of members
    for want, offset in zip(wanted, offsets, strict=True):
        mean, count = want - offset, 1
        while pools and pools[-1][0] > mean:
            other, members = pools.pop()
            mean, count = (mean * count + other * members) / (count + members), count + members
        pools.append((mean, count))
    means = [mean for mean, count in pools for _ in range(count)]
    for box, mean, offset in zip(layer, means, offsets, strict=True):
        boxes[box].y = mean + offset


def _straighten(boxes: list[Box], layers: list[list[int]], passed: Sequence[int]) -> None:
    """Bring the boxes of one link into one row where their neighbours leave a row free in all layers."""
    if not passed:
        return
    lows, highs = [float("-inf")], [float("inf")]
    for index in passed:
        box, layer = boxes[index], layers[boxes[index].layer]
        place = layer.index(index)
        lows += [boxes[other].y + (boxes[other].height + box.height) / 2 + _GAP for other in layer[:place][-1:]]
        highs += [boxes[other].y - (boxes[other].height + box.height) / 2 - _GAP for other in layer[place + 1 :][:1]]
    low, high = max(lows), min(highs)
    if low <= high:
        row = min(max(sum(boxes[index].y for index in passed) / len(passed), low), high)
        for index in passed:
            boxes[index].y = row


def _place_columns(found: Layout, layers: list[list[int]], pairs: Sequence[tuple[int, int]]) -> None:
    """Layers from left to right, further apart where an edge between them has far to climb."""
    boxes, left = found.boxes, 0.0
    for place, layer in enumerate(layers):
        width = max((boxes[box].width for box in layer), default=0.0)
        found.columns.append((left, left + width))
        for box in layer:
            boxes[box].x = left + width / 2
        climbs = [abs(boxes[one].y - boxes[two].y) for one, two in pairs if boxes[one].layer == place]
        left += width + min(max(0.3, _BEND * max(climbs, default=0.0)), 0.9)
