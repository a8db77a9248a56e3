"""The cost of a network as a function of its widths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import lcm
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from flopscope.analyses.totals import total
from flopscope.cost import METRICS, ZERO
from flopscope.errors import InputError, OptionError
from flopscope.frontends.torch.inputs import dtype_of, tensors_from_text
from flopscope.frontends.torch.trace import trace
from flopscope.graph import Graph
from flopscope.relax.channels.dims import value_of
from flopscope.relax.channels.groups import Frozen, Group, structure_of
from flopscope.relax.channels.sizes_of import solve_sizes
from flopscope.relax.numbers import numbers_from
from flopscope.rules import module_classes


def widths(model: nn.Module, *args: Any, **kwargs: Any) -> Widths:
    """Find the independent channel groups of a network, and its cost as a function of their sizes.

    The network is traced once. The dimensions of its weights are sent through the graph by travel rules, and the rules of the analyzer
    then price the ops on shapes made of groups. What cannot be relaxed is frozen at its size, and listed with its reason in
    `Widths.frozen`.

    Args:
        model: a module in the mode in which it is to be counted.
        *args: its inputs, as `flopscope.analyze` takes them.
        **kwargs: named inputs.

    Raises:
        InputError: the inputs cannot be read or do not fit the model.
        TraceError: the model raised.

    Examples:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(8, 4, 1, bias=False))
        >>> w = widths(model, "1x3x10x10")
        >>> [(group.name, group.size) for group in w.groups]
        [('0', 8)]
        >>> int(w.cost("macs", [6])) == 10 * 10 * (3 * 6 * 9 + 6 * 4)
        True
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"widths are those of a torch.nn.Module, but a {type(model).__name__} was given")
    with _disable_current_modes():
        args, kwargs = tensors_from_text((args, kwargs), dtype_of(model))

    def graph_of(other: nn.Module) -> Graph:
        return trace(other, args, kwargs, opaque=module_classes())

    return Widths(graph_of(model), graph_of)


_LARGEST = 2**31
_SURELY_SMALL = 2**12
"""Sizes up to this one give counts that fit into 64 bits."""


class Widths:
    """The channel groups of a network, and its cost at any sizes of them; `flopscope.relax.widths` finds them.

    Attributes:
        name: the class of the network.
        groups: what can change, in the order in which sizes are given.
        frozen: what cannot, with the reasons.
        notes: what a reader of any cost must know.
        partial: whether ops were not counted, so that all costs are lower bounds.
    """

    def __init__(self, graph: Graph, graph_of: Callable[[nn.Module], Graph]) -> None:
        structure = structure_of(graph)
        self.name = graph.name
        self.groups: tuple[Group, ...] = structure.groups
        self.frozen: tuple[Frozen, ...] = structure.frozen
        self.notes = [*graph.notes, *_guessed(structure.guesses)]
        self._structure = structure
        self._kinds = [op.kind for op in graph.ops]
        self._graph_of = graph_of
        counted = Counter(structure.ops)
        self._constant = sum((op.price(()) * count for op, count in counted.items() if op.is_constant), ZERO)
        self._changing = {op: count for op, count in counted.items() if not op.is_constant}
        self.partial = total(graph).partial

    @property
    def sizes(self) -> Tensor:
        """The sizes of the groups in the traced model: int64 of shape ``[G]``."""
        return torch.tensor([group.size for group in self.groups], dtype=torch.int64)

    # -- cost -----------------------------------------------------------------------------------------------

    def cost(self, metric: str = "macs", sizes: Tensor | Sequence[float] | None = None) -> Tensor:
        """The cost of the network with other widths.

        Args:
            metric: ``"macs"``, ``"flops"``, ``"params"``, ``"access"`` or ``"access_bytes"``.
            sizes: of shape ``[G]`` or ``[N, G]``, one size for each of `groups`; by default those of the traced model. Whole numbers must
                be multiples of the granularity of their group. Floating-point sizes may lie in between; then the cost has a derivative.

        Returns:
            Of shape ``[]`` or ``[N]``: int64 for whole sizes, equal to the analyzer's count of the network built so; else float64.

        Raises:
            OptionError: there is no such metric.
            InputError: the sizes have a wrong shape, are not positive, or are no multiples of their granularity.
        """
        if metric not in METRICS:
            raise OptionError(f"there is no metric {metric!r}; there are {', '.join(METRICS)}")
        given = self._checked(sizes)
        units = self._unit_sizes(given)
        self._refuse_other_layouts(metric, units)
        zero = torch.zeros(given.shape[:-1], dtype=given.dtype, device=given.device)
        if metric == "params":
            found: Tensor = zero + self._structure.parameters_at(units)
        else:
            found = zero + sum(getattr(op.price(units), metric) * count for op, count in self._changing.items())
            found = found + getattr(self._constant, metric)
        self._refuse_overflow(metric, given)
        return found

    def _refuse_overflow(self, metric: str, given: Tensor) -> None:
        if given.is_floating_point() or not given.numel() or int(given.max()) <= _SURELY_SMALL:
            return
        if bool((self.cost(metric, given.double()) >= 2.0**62).any()):
            sizes = f"sizes of up to {int(given.max())}"
            raise InputError(f"with {sizes}, {metric} do not fit into 64 bits; give sizes as floating-point numbers")

    def _refuse_other_layouts(self, metric: str, units: Mapping[int, Tensor]) -> None:
        """A tensor that a reshape copies because of its layout may not need it at a size of one, so what it moves is known from two on."""
        if metric not in ("access", "access_bytes"):
            return
        for unit, group in zip(self._structure.units, self.groups, strict=True):
            if unit in self._structure.copies and bool((units[unit] == 1).any()):
                least = 2 * group.granularity
                raise InputError(
                    f"with a size of {group.granularity}, group {group.name} would be laid out in memory in another way, so what is read "
                    f"and written is not known; it is from {least} on"
                )

    def _unit_sizes(self, given: Tensor) -> dict[int, Tensor]:
        columns = given.unbind(-1)
        whole = not given.is_floating_point()
        return {
            unit: column // group.granularity if whole else column / group.granularity
            for unit, group, column in zip(self._structure.units, self.groups, columns, strict=True)
        }

    def _checked(self, sizes: Tensor | Sequence[float] | None) -> Tensor:
        count = len(self.groups)
        given = self.sizes if sizes is None else numbers_from(sizes, "sizes")
        if given.dim() not in (1, 2) or given.shape[-1] != count or given.dtype == torch.bool or given.is_complex():
            found = f"{str(given.dtype).removeprefix('torch.')}{list(given.shape)}"
            raise InputError(
                f"{self.name} has {count} channel groups, so sizes must have the shape [{count}] or [N, {count}], but are {found}"
            )
        steps = torch.tensor([group.granularity for group in self.groups], device=given.device)
        wrong = ~((given > 0) & (given <= _LARGEST))
        if not given.is_floating_point():
            wrong |= given % steps != 0
        if bool(wrong.any()):
            position = int(wrong.view(-1, count).nonzero()[0, 1])
            group, wrong_size = self.groups[position], given[wrong][0].item()
            must = f"a positive multiple of {group.granularity}" if group.granularity > 1 else f"positive and at most {_LARGEST}"
            raise InputError(f"the size of group {position} ({group.name}, {group.size} in the model) must be {must}, but is {wrong_size}")
        return given.to(torch.float64) if given.is_floating_point() else given.long()

    def shapes(self, sizes: Tensor | Sequence[int] | None = None) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter at whole sizes ``[G]``. Raises as `cost` does."""
        given = self._checked(sizes)
        if given.dim() != 1 or given.is_floating_point():
            raise InputError("shapes are those of one network, so sizes must be one row of whole numbers")
        units = {unit: int(size) for unit, size in self._unit_sizes(given).items()}
        return {name: tuple(int(value_of(dim, units)) for dim in dims) for name, dims in self._structure.weights.items()}

    # -- choosing sizes -------------------------------------------------------------------------------------

    def scaled(self, multiplier: float, multiple_of: int = 1) -> Tensor:
        """The sizes of the whole network made wider or narrower, each group by itself.

        A family of networks may have other rules, such as a last layer that stays as it is: `sizes_of` reads those off a network.

        Args:
            multiplier: what every size is multiplied by.
            multiple_of: what sizes are rounded to, besides the granularity of each group. The rule is that of MobileNetV2 (Sandler et al.
                2018, official code): to the nearest multiple, at least one, and one more where more than a tenth would be lost.

        Returns:
            int64 of shape ``[G]``.

        Raises:
            OptionError: the multiplier or the multiple is not positive.
        """
        if not isinstance(multiplier, (int, float)) or not 0 < multiplier < _LARGEST:
            raise OptionError(f"a multiplier must be a positive number, but is {multiplier!r}")
        _check_multiple(multiple_of)
        rounded = [round_to_multiple(group.size * multiplier, lcm(group.granularity, multiple_of)) for group in self.groups]
        return torch.tensor(rounded, dtype=torch.int64)

    def pruned(self, keep: Mapping[str | int, float], multiple_of: int = 1) -> Tensor:
        """The sizes with some layers made narrower, and everything that depends on them.

        Args:
            keep: by layer (the path of a module, or the index of a group), either the share of its channels that stays, such as 0.7, or
                how many stay, as a whole number. The channels of a layer are its outputs.
            multiple_of: as in `scaled`.

        Returns:
            int64 of shape ``[G]``.

        Raises:
            InputError: there is no such layer or group, its outputs are frozen or are made by several groups, or a share is not within
                0 and 1.
        """
        _check_multiple(multiple_of)
        if not isinstance(keep, Mapping):
            raise InputError(f"what to keep is given by layer, as in {{'layer1.0.conv1': 0.7}}, but {keep!r} was given")
        sizes, named = self.sizes, dict[int, str | int]()
        for layer, share in keep.items():
            position = layer if isinstance(layer, int) else self._structure.position_of(layer)
            if not 0 <= position < len(self.groups):
                raise InputError(f"there are the groups 0 to {len(self.groups) - 1}, but {layer} was asked for")
            if position in named:
                raise InputError(f"{layer!r} and {named[position]!r} are one group, so only one of them can be given")
            named[position] = layer
            group = self.groups[position]
            if isinstance(share, int) and not isinstance(share, bool):
                sizes[position] = share
            elif isinstance(share, float) and 0 < share <= 1:
                sizes[position] = round_to_multiple(group.size * share, lcm(group.granularity, multiple_of))
            else:
                raise InputError(
                    f"{layer!r} can keep a share above 0 and up to 1 of its channels, or a whole number of them, but not {share!r}"
                )
        return self._checked(sizes)

    def sizes_of(self, variant: nn.Module) -> Tensor:
        """The sizes of the groups in another network of the same structure, read off its weights.

        Returns:
            int64 of shape ``[G]``.

        Raises:
            InputError: the other network has other weights or runs other ops.
        """
        if not isinstance(variant, nn.Module):
            raise InputError(f"sizes are those of a torch.nn.Module, but a {type(variant).__name__} was given")
        graph = self._graph_of(variant)
        kinds = [op.kind for op in graph.ops]
        if kinds != self._kinds:
            first = next(
                (index for index, (one, two) in enumerate(zip(self._kinds, kinds, strict=False)) if one != two),
                min(len(kinds), len(self._kinds)),
            )
            found = f"{kinds[first]} in {graph.ops[first].scope!r}" if first < len(kinds) else "nothing"
            raise InputError(
                f"{graph.name} is no variant of {self.name} with other widths: it runs other ops (op {first} is {found}, where "
                f"{self._kinds[first] if first < len(self._kinds) else 'nothing'} is needed)"
            )
        shapes = {weight.name: weight.type.shape for weight in graph.parameters}
        units = solve_sizes(self._structure.weights, self._structure.units, shapes)
        sizes = torch.tensor([units[unit] * group.granularity for unit, group in zip(self._structure.units, self.groups, strict=True)])
        counted = total(graph)
        for metric in METRICS:
            if int(self.cost(metric, sizes)) != getattr(counted, metric):
                raise InputError(
                    f"{graph.name} differs from {self.name} in more than its widths: with its widths alone, {metric} would be "
                    f"{int(self.cost(metric, sizes))}, but it has {getattr(counted, metric)} (other strides or heads, say)"
                )
        return sizes

    # -- text -----------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        rows = [[index, group.name, group.size, group.granularity, len(group.layers)] for index, group in enumerate(self.groups)]
        lines = [f"{self.name}: {len(self.groups)} channel groups", tabulate(rows, ["group", "made by", "size", "multiple of", "layers"])]
        lines += [f"frozen: {_listed(entry.weights)}: {entry.reason}" for entry in self.frozen]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def __repr__(self) -> str:
        return f"<Widths of {self.name}: {len(self.groups)} groups>"


def round_to_multiple(size: float, multiple: int) -> int:
    """The nearest multiple, at least one, and one more where more than a tenth would be lost."""
    rounded = max(multiple, int(size + multiple / 2) // multiple * multiple)
    return rounded + multiple if rounded < 0.9 * size else rounded


def _guessed(places: Sequence[str]) -> list[str]:
    if not places:
        return []
    more = f" and {len(places) - 2} more places" if len(places) > 2 else ""
    listed = "; ".join(place.partition("(")[2].rstrip(")") for place in places[:2])
    where = f"channels are taken apart without saying which part is fixed ({listed}{more})"
    return [f"{where}: heads or groups are taken to come and go as a whole"]


def _check_multiple(multiple_of: int) -> None:
    if not isinstance(multiple_of, int) or multiple_of < 1:
        raise OptionError(f"what to round to must be a positive whole number, but is {multiple_of!r}")


def _listed(weights: Sequence[tuple[str, int]]) -> str:
    first = ", ".join(f"{name}[{axis}]" for name, axis in weights[:3])
    return f"{first} and {len(weights) - 3} more" if len(weights) > 3 else first
