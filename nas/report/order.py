"""In which order the boxes of each layer stand, so that few edges cross."""

from __future__ import annotations

from collections.abc import Sequence

_SWEEPS = 12


def ordered(layer_of: Sequence[int], pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Sort the boxes of each layer by the middle of their neighbours, to and fro, then swap what still crosses.

    Args:
        layer_of: the layer of each box.
        pairs: which boxes of adjacent layers are joined, the earlier layer first.
    """
    layers: list[list[int]] = [[] for _ in range(max(layer_of) + 1)]
    for box, layer in enumerate(layer_of):
        layers[layer].append(box)
    before: list[list[int]] = [[] for _ in layer_of]
    after: list[list[int]] = [[] for _ in layer_of]
    between: list[list[tuple[int, int]]] = [[] for _ in layers]
    for left, right in pairs:
        before[right].append(left)
        after[left].append(right)
        between[layer_of[left]].append((left, right))
    best, fewest = layers, _crossings(layers, between)
    for sweep in range(_SWEEPS):
        layers = _swept(layers, before if sweep % 2 == 0 else after, sweep % 2 == 1)
        _swap(layers, between)
        crossings = _crossings(layers, between)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _swept(layers: list[list[int]], near: list[list[int]], is_backward: bool) -> list[list[int]]:
    places = _places(layers)
    result: list[list[int]] = []
    for layer in layers[::-1] if is_backward else layers:
        middles = {box: _mean([places[other] for other in near[box]], places[box]) for box in layer}
        result.append(sorted(layer, key=middles.__getitem__))
        places.update({box: float(place) for place, box in enumerate(result[-1])})
    return result[::-1] if is_backward else result


def _swap(layers: list[list[int]], between: list[list[tuple[int, int]]]) -> None:
    """Exchange two neighbours wherever that saves a crossing, until it nowhere does."""
    is_better = True
    while is_better:
        is_better = False
        for number, layer in enumerate(layers):
            touched = between[max(number - 1, 0) : number + 1]
            for place in range(len(layer) - 1):
                count = _crossings(layers, touched)
                layer[place], layer[place + 1] = layer[place + 1], layer[place]
                if _crossings(layers, touched) < count:
                    is_better = True
                else:
                    layer[place], layer[place + 1] = layer[place + 1], layer[place]


def _crossings(layers: list[list[int]], between: list[list[tuple[int, int]]]) -> int:
    places = _places(layers)
    count = 0
    for pairs in between:
        ends = sorted((places[left], places[right]) for left, right in pairs)
        count += sum(first[0] < second[0] and first[1] > second[1] for index, first in enumerate(ends) for second in ends[index + 1 :])
    return count


def _places(layers: list[list[int]]) -> dict[int, float]:
    return {box: float(place) for layer in layers for place, box in enumerate(layer)}


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
