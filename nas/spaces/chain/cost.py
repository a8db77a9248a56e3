"""What chains cost: every metric of flopscope that adds up, and times.

A cost is a constant and a whole number for each candidate of each slot. The expected cost is exact for any probabilities, and at a vertex
it is the cost of that network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import flopscope
from flopscope.errors import OptionError
from flopscope.latency.block import BOTTLENECK, Block
from flopscope.latency.estimate import Estimate
from flopscope.latency.source import LatencySource
from flopscope.relax import cost_model
from nas.amounts import LATENCY
from nas.spaces.chain.architecture import ChainArchitecture
from nas.spaces.chain.blocks import block, head, stem
from nas.spaces.chain.shape import ZERO, ChainShape, Slot
from nas.spaces.chain.supernet import ChainNet, kinds_of

ADDITIVE = ("macs", "flops", "params", "access", "access_bytes")
NANOSECONDS = 10**9
Image = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ChainCost:
    """What the networks of a space cost in one metric.

    Attributes:
        metric: its name; ``"latency"`` is in nanoseconds.
        constant: what every network costs.
        tables: by kind of choice, what each candidate of each slot adds: int64 ``[choices, candidates]``.
        shape: the space.
    """

    metric: str
    constant: int
    tables: Mapping[str, Tensor]
    shape: ChainShape

    def __call__(self, weights: Mapping[str, Tensor]) -> Tensor:
        """``E[cost] = constant + sum over slots of sum_j p_j F(o_j)`` (Cai et al. 2019, eq. 5 and 6): a float64 scalar with a derivative.

        Args:
            weights: probabilities by kind of choice, each of shape ``[choices, candidates]``.
        """
        total = torch.full((), self.constant, dtype=torch.float64, device=next(iter(self.tables.values())).device)
        for kind, table in self.tables.items():
            total = total + (weights[kind].to(table.device, torch.float64) * table).sum()
        return total

    def to(self, device: torch.device) -> ChainCost:
        """The same cost on a device."""
        return replace(self, tables={kind: table.to(device) for kind, table in self.tables.items()})

    def by_slot(self) -> list[dict[str, int]]:
        """What each candidate adds, slot after slot."""
        places = {slot: (kind, row) for kind, slots in kinds_of(self.shape).items() for row, slot in enumerate(slots)}
        found = []
        for slot in self.shape.slots():
            kind, row = places[slot]
            found.append(dict(zip(self.shape.candidates(slot), self.tables[kind][row].tolist(), strict=True)))
        return found

    def of(self, architecture: ChainArchitecture) -> int:
        """The cost of a network, exactly."""
        return self.constant + sum(prices[name] for prices, name in zip(self.by_slot(), architecture.blocks, strict=True))


def counted(shape: ChainShape, metric: str, image: Image, classes: int) -> ChainCost:
    """A cost that flopscope counts, in evaluation mode, for one image.

    Raises:
        OptionError: the metric is none that adds up: the peak of memory is a maximum, and needs the network itself.
    """
    if metric not in ADDITIVE:
        raise OptionError(f"what chains cost adds up in {', '.join(ADDITIVE)} and {LATENCY}, but {metric!r} was asked for")
    with flopscope.building():
        supernet = ChainNet(shape, classes, image[0]).eval()
    for kind, alpha in supernet.alphas.items():  # probabilities must be numbers
        supernet.alphas[kind] = nn.Parameter(torch.zeros(alpha.shape))
    model = cost_model(supernet, "x".join(map(str, (1, *image))))
    slots = list(shape.slots())
    numbers = [int(decision.choices[0].rpartition(".")[2]) for decision in model.decisions]
    count = max(len(shape.candidates(slot)) for slot in slots)
    architectures = torch.zeros(len(slots), count, len(slots), dtype=torch.int64)
    for column, number in enumerate(numbers):
        architectures[number, :, column] = torch.arange(count).clamp(max=len(shape.candidates(slots[number])) - 1)
    costs = model(metric, architectures.flatten(0, 1)).reshape(len(slots), count)
    base = int(costs[0, 0])
    prices = [[int(cost) - base for cost in row[: len(shape.candidates(slot))]] for slot, row in zip(slots, costs, strict=True)]
    return tabulated(shape, metric, base, prices)


def tabulated(shape: ChainShape, metric: str, constant: int, prices: list[list[int]]) -> ChainCost:
    """A cost from what each candidate of each slot adds, slot after slot."""
    slots = list(shape.slots())
    tables = {kind: torch.tensor([prices[slots.index(slot)] for slot in rows]) for kind, rows in kinds_of(shape).items()}
    return ChainCost(metric, constant, tables, shape)


# -- times ------------------------------------------------------------------------------------------------------------


def timed_by_blocks(shape: ChainShape, of: Callable[[Block], Estimate], image: Image, classes: int) -> ChainCost:
    """Times from a table of blocks, such as ``BlockTable.load("mobile_trim.yaml").of``: ProxylessNAS's keys.

    Raises:
        OptionError: a block is not in the table, or the blocks of the chain have no name there.
    """
    if shape.rest != ZERO or any(kind.groups > 1 or kind.widens for kind in shape.bottlenecks):
        raise OptionError(f"tables of ProxylessNAS have no names for the blocks of {shape.name}")
    sizes = list(_sizes(shape, image))
    size = -(-image[1] // shape.stem_stride), -(-image[2] // shape.stem_stride)
    fixed = [Block("Conv", (image[1], image[2], image[0]), (*size, shape.stem))]
    if shape.first:
        fixed.append(Block(BOTTLENECK, (*size, shape.stem), (*size, shape.first), 1, 3, 1, int(shape.stem == shape.first)))
    last = sizes[-1][2]
    fixed.append(Block("Conv_1", (*last, shape.stages[-1].channels), (*last, shape.head)))
    fixed.append(Block("Logits", (*last, shape.head), (classes,)))
    prices = []
    for slot, before, after in sizes:
        row = []
        for name in shape.candidates(slot):
            if name == ZERO:
                row.append(0)
                continue
            kind = shape.bottleneck(name)
            ends = (*before, slot.inputs), (*after, slot.outputs)
            row.append(_nanoseconds(of(Block(BOTTLENECK, *ends, kind.expansion, kind.kernel, slot.stride, int(slot.keeps_shape)))))
        prices.append(row)
    return tabulated(shape, LATENCY, sum(_nanoseconds(of(each)) for each in fixed), prices)


def timed(shape: ChainShape, source: LatencySource, image: Image, classes: int) -> ChainCost:
    """Times from any source that knows ops: each candidate is traced at its size, and told by itself.

    Raises:
        OptionError: the source does not know some op of it.
    """
    sizes = list(_sizes(shape, image))
    last = (shape.stages[-1].channels, *sizes[-1][2])
    constant = _told(source, stem(shape, image[0]), image) + _told(source, head(shape, classes), last)
    prices = []
    for slot, before, _ in sizes:
        given = (slot.inputs, *before)
        prices.append([0 if name == ZERO else _told(source, block(shape, slot, name), given) for name in shape.candidates(slot)])
    return tabulated(shape, LATENCY, constant, prices)


def _told(source: LatencySource, module: nn.Module, given: Image) -> int:
    graph = flopscope.analyze(module.eval(), "x".join(map(str, (1, *given)))).graph
    total = source.total(graph)
    if total.partial:
        raise OptionError(f"{source.name} does not know all ops of a block of {'x'.join(map(str, given))}: measure them first")
    return _nanoseconds(total)


def _nanoseconds(estimate: Estimate) -> int:
    return round(estimate.seconds * NANOSECONDS)


def _sizes(shape: ChainShape, image: Image) -> Iterator[tuple[Slot, tuple[int, int], tuple[int, int]]]:
    """Each slot with the height and width of what it is given and of what it makes."""
    size = -(-image[1] // shape.stem_stride), -(-image[2] // shape.stem_stride)
    for slot in shape.slots():
        after = -(-size[0] // slot.stride), -(-size[1] // slot.stride)
        yield slot, size, after
        size = after
