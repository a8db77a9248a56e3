"""Measured times of the operations of cells, as a cost.

A table is a JSON file with one median time in milliseconds for each operation at each size that occurs, for one image. What surrounds the
cells' operations is measured too, as a network whose edges are all absent would run it. Adding up operations that were measured one by one
leaves out what a runtime does between them; the table is a model, not a measurement of a network.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from flopscope.errors import OptionError
from nas.amounts import LATENCY
from nas.genotype import INPUTS, Genotype
from nas.spaces.darts.cost import LEVELS, CellCost
from nas.spaces.darts.edges import sources
from nas.spaces.darts.network import CellNetwork, NetworkShape
from nas.spaces.darts.operations import operation

NANOSECONDS = 1_000_000
"""In a millisecond."""
LONGEST = 10**8
"""Milliseconds, a day and more: sums of such times are exact in nanoseconds."""


Measured = tuple[NetworkShape, tuple[int, int, int], int]
"""A network to measure: how cells are stacked, the shape of its images, how many classes."""


@dataclass(frozen=True)
class LatencyTable:
    """Times in milliseconds by operation and size."""

    milliseconds: Mapping[str, float]

    def cost(
        self, operations: tuple[str, ...], nodes: int, shape: NetworkShape, image: tuple[int, int, int], classes: int, *, derives: bool
    ) -> CellCost:
        """The times as a cost, in nanoseconds.

        Raises:
            OptionError: an operation, or what is around the operations, is not in the table.
        """
        edges = sources(nodes)
        tables = {level: torch.zeros(len(edges), len(operations), dtype=torch.int64) for level in LEVELS}
        for level, channels, size, reduces in _cells(shape, image):
            for row, state in enumerate(edges):
                halves = reduces and state < INPUTS
                inner = _half(size) if reduces and not halves else size
                for column, name in enumerate(operations):
                    tables[level][row, column] += self._of(operation_key(name, channels, inner, halves))
        return CellCost(LATENCY, self._of(rest_key(nodes, shape, image, classes)), tables, operations, nodes, derives)

    def _of(self, key: str) -> int:
        if key.startswith("none/"):
            return 0
        if key not in self.milliseconds:
            raise OptionError(
                f"the latency table has no time for {key!r}; measure one for this space, network, image size and number of "
                "classes: python -m nas latency RECIPE -o FILE"
            )
        return round(self.milliseconds[key] * NANOSECONDS)

    def save(self, path: Path) -> None:
        """Write the table as JSON.

        Raises:
            OptionError: the file cannot be written.
        """
        try:
            path.write_text(json.dumps({"milliseconds": self.milliseconds}, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise OptionError(f"cannot write the latency table to {path}: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path) -> LatencyTable:
        """Read a table.

        Raises:
            OptionError: the file cannot be read, or is no table of times.
        """
        try:
            times = dict(json.loads(path.read_text(encoding="utf-8"))["milliseconds"])
        except OSError as error:
            raise OptionError(f"cannot read a latency table from {path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise OptionError(f'{path} is no latency table, such as {{"milliseconds": {{"sep_conv_3x3/36x32x32/1": 0.4, ...}}}}') from error
        for key, value in times.items():
            if type(value) not in (int, float) or not 0 <= value <= LONGEST:
                raise OptionError(
                    f"the latency table {path} has the time {value!r} for {key!r}; a time is a number of milliseconds from 0 to {LONGEST}"
                )
        return cls(times)


def operation_key(name: str, channels: int, size: tuple[int, int], halves: bool) -> str:
    """How a table names an operation: what, the size of its input, its stride."""
    return f"{name}/{channels}x{size[0]}x{size[1]}/{1 + halves}"


def rest_key(nodes: int, shape: NetworkShape, image: tuple[int, int, int], classes: int) -> str:
    """How a table names everything around the operations of cells; how many nodes are concatenated, and how many classes, is part of it."""
    return f"rest/{shape.stem}-{shape.channels}-{shape.layers}-{nodes}/{'x'.join(map(str, image))}/{classes}"


def measure(operations: tuple[str, ...], nodes: int, networks: Iterable[Measured], repeats: int = 20) -> LatencyTable:
    """Measure every operation at every size that it has in some networks, on the CPU, for one image."""
    times: dict[str, float] = {}
    for shape, image, classes in networks:
        for _, channels, size, reduces in _cells(shape, image):
            for name in operations:
                for halves in (False, True) if reduces else (False,):
                    inner = size if halves or not reduces else _half(size)
                    key = operation_key(name, channels, inner, halves)
                    if name != "none" and key not in times:
                        layer = operation(name, channels, 1 + halves, search=False)
                        times[key] = milliseconds(layer, torch.randn(1, channels, *inner), repeats)
        times[rest_key(nodes, shape, image, classes)] = _rest(nodes, shape, image, classes, times, repeats)
    return LatencyTable(times)


def _rest(nodes: int, shape: NetworkShape, image: tuple[int, int, int], classes: int, times: dict[str, float], repeats: int) -> float:
    edges = tuple((("skip_connect", state)) for _ in range(nodes) for state in range(2))
    concat = tuple(range(INPUTS, INPUTS + nodes))
    network = CellNetwork(Genotype(edges, concat, edges, concat), shape, classes, image[0])
    whole = milliseconds(network, torch.randn(1, *image), repeats)
    for _, channels, size, reduces in _cells(shape, image):
        key = operation_key("skip_connect", channels, size, reduces)
        if key not in times:
            inputs = torch.randn(1, channels, *size)
            times[key] = milliseconds(operation("skip_connect", channels, 1 + reduces, search=False), inputs, repeats)
        whole -= len(edges) * times[key]
    return max(whole, 0.0)


def milliseconds(layer: nn.Module, x: Tensor, repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """The median time of a forward pass, after two that do not count."""
    layer.eval()
    found = []
    with torch.inference_mode():
        for repeat in range(repeats + 2):
            start = clock()
            layer(x)
            if repeat >= 2:
                found.append((clock() - start) * 1e3)
    return median(found)


def _cells(shape: NetworkShape, image: tuple[int, int, int]) -> Iterator[tuple[str, int, tuple[int, int], bool]]:
    """The kind of each cell, its channels, the size of its preprocessed inputs, and whether it halves it."""
    size = (image[1], image[2])
    if shape.stem == "imagenet":
        for _ in range(3):
            size = _half(size)
    for cell in shape.cells():
        yield "reduce" if cell.reduces else "normal", cell.channels, size, cell.reduces
        size = _half(size) if cell.reduces else size


def _half(size: tuple[int, int]) -> tuple[int, int]:
    return (size[0] + 1) // 2, (size[1] + 1) // 2
