"""Symbols that stand for the size of a channel group: the ops of a trace as they are at other widths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from flopscope.analyses.totals import sum_of
from flopscope.cost import Cost
from flopscope.errors import InputError
from flopscope.graph import Graph, Op, Signature
from flopscope.relax.channels.groups import Structure, structure_of
from flopscope.relax.channels.relaxed import RelaxedOp


class Channels:
    """The channel groups that symbols stand for, each named by a layer whose outputs belong to it.

    Raises:
        InputError: a layer does not exist, its outputs cannot change or belong to several groups, or two symbols stand for one group.
    """

    def __init__(self, layers: Mapping[str, str], graph: Graph) -> None:
        """Find the groups of the layers, by the name of the symbol."""
        self._structures: dict[Graph, Structure] = {}
        structure = self._structure_of(graph)
        self.names = tuple(layers)
        self._positions = [structure.position_of(layer) for layer in layers.values()]
        self._groups = [structure.groups[position] for position in self._positions]
        if len(set(self._positions)) < len(self._positions):
            raise InputError(f"two of the symbols {', '.join(self.names)} stand for one channel group")
        self.base = tuple(group.size for group in self._groups)

    def notes(self) -> list[str]:
        """What the symbols stand for."""
        widths = "at other widths the cost is that of flopscope.relax.widths"
        return [
            f"{name} is the number of channels that {group.name} makes, which {len(group.layers)} layers share; {widths}"
            for name, group in zip(self.names, self._groups, strict=True)
        ]

    def resized(self, graph: Graph, sizes: Sequence[int]) -> tuple[list[Op], Cost]:
        """The ops of a graph with other sizes for the groups, and what they cost with the parameters.

        Raises:
            InputError: a size is no multiple of what its group must be divisible by.
        """
        structure = self._structure_of(graph)
        if [structure.groups[position].weights for position in self._positions] != [group.weights for group in self._groups]:
            raise InputError("the channel groups are others at other sizes of the inputs")
        units = self._units(structure, sizes)
        made: dict[RelaxedOp, Signature] = {}
        ops = []
        for op, relaxed in zip(graph.ops, structure.ops, strict=True):
            if relaxed not in made:
                made[relaxed] = op.signature if relaxed.is_constant else relaxed.at(units)
            ops.append(Op(op.index, made[relaxed], op.inputs, op.outputs, op.scope))
        cost = sum_of(Counter([op.signature for op in ops]))
        return ops, replace(cost, params=structure.parameters_at(units))

    def _structure_of(self, graph: Graph) -> Structure:
        """The same graph is asked for at many widths."""
        if graph not in self._structures:
            self._structures[graph] = structure_of(graph)
        return self._structures[graph]

    def _units(self, structure: Structure, sizes: Sequence[int]) -> dict[int, int]:
        wanted = dict(zip(self._positions, sizes, strict=True))
        units = {}
        for position, (unit, group) in enumerate(zip(structure.units, structure.groups, strict=True)):
            size = wanted.get(position, group.size)
            if size % group.granularity:
                raise InputError(f"the size of the channel group {group.name} must be a multiple of {group.granularity}, but is {size}")
            if unit in structure.copies and size == group.granularity < group.size:
                raise InputError(f"with a size of {size}, the channel group {group.name} would be laid out in memory in another way")
            units[unit] = size // group.granularity
        return units
