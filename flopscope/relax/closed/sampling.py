"""A model at many sizes: what it costs there, whether it accepts them, and along which sizes a symbol can be followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy

from flopscope.analyses.totals import total
from flopscope.cost import Cost
from flopscope.errors import InputError, TraceError
from flopscope.frontends.torch.trace import trace
from flopscope.graph import Graph
from flopscope.relax.closed.align import Calls
from flopscope.relax.closed.channels import Channels
from flopscope.relax.closed.fitting import Axis, Point
from flopscope.relax.closed.inputs import Inputs
from flopscope.rules import module_classes

_STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 14, 16, 24, 28, 32, 48, 56, 64, 96, 112, 128, 224, 256)
_REACH = 129
_FEWEST, _FURTHEST = 4, 9


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen of the model at one point."""

    name: str
    calls: Calls
    cost: Cost
    notes: tuple[str, ...]


class Sampler:
    """Traces a model at the sizes that it is asked for, each once."""

    def __init__(self, model: Any, inputs: Inputs, layers: Mapping[str, str]) -> None:
        """Sizes are those of the symbols in the inputs, then those of the channel groups of the layers.

        Raises:
            FlopscopeError: as `trace` does on the inputs as they are given, and as `Channels` does.
        """
        self._inputs = inputs
        self._model = model
        self._graphs: dict[Point, Graph] = {}
        """Kept where the same graph is wanted at many widths."""
        self._seen: dict[Point, Sample | str] = {}
        self.names = (*inputs.names, *layers)
        self.channels = Channels(layers, self._graph(inputs.base)) if layers else None
        self.base = (*inputs.base, *(self.channels.base if self.channels else ()))

    def at(self, point: Point) -> Sample | None:
        """The model at a point, or ``None`` where it refuses the sizes."""
        if point not in self._seen:
            try:
                self._seen[point] = self.trace(point)
            except (TraceError, InputError) as error:
                self._seen[point] = str(error)
        found = self._seen[point]
        return found if isinstance(found, Sample) else None

    def trace(self, point: Point) -> Sample:
        """The model at a point.

        Raises:
            FlopscopeError: as `trace` does.
        """
        inner = len(self._inputs.names)
        graph = self._graph(point[:inner])
        ops, cost = (graph.ops, total(graph)) if self.channels is None else self.channels.resized(graph, point[inner:])
        return Sample(graph.name, Calls.of(ops), cost, tuple(graph.notes))

    def _graph(self, sizes: Point) -> Graph:
        found = self._graphs.get(sizes)
        if found is None:
            args, kwargs = self._inputs.at(sizes)
            found = trace(self._model, args, kwargs, execute="never", opaque=module_classes())
            if self._inputs.names != self.names:
                self._graphs[sizes] = found
        return found

    def refusal(self) -> str:
        """What the model raised at the first point that it refused."""
        return next((found for found in self._seen.values() if isinstance(found, str)), "")

    def was_asked(self, point: Point) -> bool:
        """Whether the model was traced at a point before."""
        return point in self._seen

    @property
    def count(self) -> int:
        """How many points were asked for."""
        return len(self._seen)


@dataclass(frozen=True, slots=True)
class Line:
    """An axis, and the sizes on it that were asked for."""

    axis: Axis
    sizes: tuple[int, ...]


def follow(
    sample: Callable[[int], Sample | None], symbol: sympy.Symbol, start: int, beyond: int, suits: Callable[[Sample], bool]
) -> Line | None:
    """The sizes ``start + k * step`` that the model accepts, with the smallest step that is greater than ``beyond``.

    A few sizes next to the start tell powers apart, others at growing distances show the steps of floors. Upward is tried first: sizes
    below may be too small for the model. Where it has an upper limit, they are taken from below.
    """
    for step in (step for step in _STEPS if step > beyond):
        for sizes in _sides(start, step):
            if all((found := sample(size)) is not None and suits(found) for size in sizes):
                taken = tuple(sorted((start, *sizes)))
                return Line(Axis(symbol, start, step, taken[0], taken[-1]), taken)
    return None


def _sides(start: int, step: int) -> Iterator[Sequence[int]]:
    furthest = max(_FURTHEST, max(_REACH, start) // step)
    offsets = [1, 2]
    while 2 * offsets[-1] - 1 <= furthest:
        offsets.append(2 * offsets[-1] - 1)
    yield [start + step * offset for offset in offsets]
    below = [start - step * offset for offset in offsets if start - step * offset >= 2]
    if len(below) >= _FEWEST:
        yield below
