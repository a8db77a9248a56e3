"""The channel groups of a traced network: which dimensions of which weights change together, and which cannot change."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from flopscope.errors import InputError
from flopscope.graph import Graph, Op, Tensor
from flopscope.relax.channels.dims import Dim, Dims, Units, fixed, is_fixed, value_of
from flopscope.relax.channels.relaxed import RelaxedOp
from flopscope.relax.channels.travel import Call, travel_rule


@dataclass(frozen=True, slots=True)
class Group:
    """Channels that come and go together."""

    name: str
    """The first layer that makes them."""
    size: int
    """How many there are in the traced model."""
    granularity: int
    """What the size must be divisible by: the channels of a head, say."""
    layers: tuple[str, ...]
    """The paths of all modules whose weights have these channels."""
    weights: tuple[tuple[str, int], ...]
    """The same as names of weights and their dimensions."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """Dimensions of weights that cannot change, and why."""

    reason: str
    weights: tuple[tuple[str, int], ...]
    """Names of weights and their dimensions."""


@dataclass(frozen=True, slots=True)
class Structure:
    """A traced network in terms of its channel groups."""

    units: tuple[int, ...]
    """The unit of each group."""
    groups: tuple[Group, ...]
    frozen: tuple[Frozen, ...]
    weights: Mapping[str, Dims]
    """The dims of every parameter by name."""
    made: Mapping[str, Dim]
    """By the path of a layer with weights, the channels that it makes."""
    ops: tuple[RelaxedOp, ...]
    """The ops in the order in which they ran."""
    guesses: tuple[str, ...]
    """Where a reshape took channels apart without saying which part is fixed."""
    copies: frozenset[int]
    """Units in tensors that are copied because of their layout: at a size of one, they need not be."""

    def parameters_at(self, units: Mapping[int, Any]) -> Any:
        """The elements of all parameters at sizes of the units."""
        return sum(prod(value_of(dim, units) for dim in dims) for dims in self.weights.values())

    def position_of(self, layer: str) -> int:
        """The group of the outputs of a layer, by its place in `groups`.

        Raises:
            InputError: there is no such layer, or its outputs are frozen or belong to several groups.
        """
        dims = [dims[0] for name, dims in self.weights.items() if _layer(name) == layer and dims]
        if layer in self.made:
            dims = [self.made[layer]]
        if not dims:
            layers = dict.fromkeys((*(group.name for group in self.groups), *map(_layer, self.weights)))
            near = difflib.get_close_matches(layer, layers, n=3) or list(layers)[:8]
            raise InputError(
                f"no layer {layer!r} has weights; there are {', '.join(map(repr, near))}{', ...' if len(layers) > len(near) else ''}"
            )
        members = [self.units.index(unit) for unit in dict.fromkeys(unit for _, units in dims[0] for unit in units)]
        if len(members) == 1:
            return members[0]
        if members:
            listed = " and ".join(f"{position} ({self.groups[position].name})" for position in members)
            raise InputError(f"the outputs of {layer!r} belong to the groups {listed}; name one of them by its number")
        reasons = [entry.reason for entry in self.frozen if any(_layer(name) == layer and not axis for name, axis in entry.weights)]
        raise InputError(f"the outputs of {layer!r} cannot change: {'; '.join(reasons)}")


def structure_of(graph: Graph) -> Structure:
    """Send the dimensions of all weights through a graph."""
    units = Units()
    dims: dict[int, Dims] = {}
    calls = [_travel(op, dims, units) for op in graph.ops]
    for value in graph.outputs:
        for dim in _dims_of(value, dims, units):
            units.freeze(dim, "the model returns it")
    units.settle()
    weights = {weight.name: _weight_dims(weight.name, weight.type.shape, graph, dims) for weight in graph.parameters}
    free = units.free([dim for found in weights.values() for dim in found])
    _freeze_others(graph, dims, units, set(free))
    weights = {name: tuple(units.resolve(dim) for dim in found) for name, found in weights.items()}
    made: dict[str, Dim] = {}
    for call, outputs in calls:
        if (channels := _channels_made(call, outputs)) is not None:
            made.setdefault(call.op.scope, units.resolve(channels))
    groups = {unit: _group(unit, weights, made, units) for unit in free}
    ops = tuple(_relaxed(call, outputs, units) for call, outputs in calls)
    original = {name: dims[value.id] for name, value in graph.weights.items() if value.id in dims}
    frozen = _frozen(original, weights, units)
    guesses = tuple(dict.fromkeys(units.guesses))
    return Structure(tuple(groups), tuple(groups.values()), frozen, weights, made, ops, guesses, _copied(ops, units))


def _copied(ops: Sequence[RelaxedOp], units: Units) -> frozenset[int]:
    copies = [op for op in ops if op.signature.kind in ("reshape", "contiguous", "flatten") and op.signature.effect == "fresh"]
    dims = [dim for op in copies for found in op.operands for dim in found]
    return frozenset(units.free(dims))


def _dims_of(value: Tensor, dims: dict[int, Dims], units: Units) -> Dims:
    """What is known of a value. Every dimension of a weight begins as a unit of its own; other values from outside have fixed sizes.

    A buffer that is a vector has a number for each channel, such as a mean. Others are tables.
    """
    found = dims.get(value.id)
    if found is None:
        is_vector = sum(size > 1 for size in value.shape) == 1
        is_weight = value.role == "parameter" or (value.role == "buffer" and is_vector)
        found = dims[value.id] = tuple(units.new(size) if is_weight else fixed(size) for size in value.shape)
    return found


def _travel(op: Op, dims: dict[int, Dims], units: Units) -> tuple[Call, list[Dims]]:
    call = Call(op, [_dims_of(value, dims, units) for value in op.inputs], units)
    rule = travel_rule(op.kind) if not op.target.startswith("module::") else None
    try:
        outputs = list(rule(call)) if rule is not None else call.give_up()
        sizes = [tuple(units.size(dim) for dim in found) for found in outputs]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError):
        sizes = []  # a form of the op that the rule does not know
    if sizes != [value.shape for value in op.outputs]:
        call.relaxed.clear()
        outputs = call.give_up()
    dims.update({value.id: found for value, found in zip(op.outputs, outputs, strict=True)})
    return call, outputs


def _weight_dims(name: str, shape: Sequence[int], graph: Graph, dims: Mapping[int, Dims]) -> Dims:
    value = graph.weights.get(name)
    return dims[value.id] if value is not None and value.id in dims else tuple(fixed(size) for size in shape)


def _freeze_others(graph: Graph, dims: Mapping[int, Dims], units: Units, free: set[int]) -> None:
    """Units of buffers that no parameter has are sizes of tables."""
    for value in graph.weights.values():
        for dim in dims.get(value.id, ()):
            if free.isdisjoint(units.free([dim])):
                units.freeze(dim, "")


def _relaxed(call: Call, outputs: Sequence[Dims], units: Units) -> RelaxedOp:
    def resolved(dims: Dims) -> Dims:
        return tuple(units.resolve(dim) for dim in dims)

    arguments = tuple((name, units.resolve(dim)) for name, dim in call.relaxed.items())
    return RelaxedOp(call.op.signature, tuple(map(resolved, call.operands)), tuple(map(resolved, outputs)), arguments)


def _channels_made(call: Call, outputs: Sequence[Dims]) -> Dim | None:
    """The channels that an op makes with weights."""
    if call.op.kind in ("conv", "conv_transpose"):
        return outputs[0][1 - len(call["weight"])]
    makes = call.op.kind in ("linear", "addmm", "matmul") and any(value.role == "parameter" for value in call.op.inputs)
    return outputs[0][-1] if makes and outputs[0] else None


def _group(unit: int, weights: Mapping[str, Dims], made: Mapping[str, Dim], units: Units) -> Group:
    """The channels of a unit are counted where layers make them: weights may have one number for many channels."""
    found = [
        (name, position)
        for name, dims in weights.items()
        for position, dim in enumerate(dims)
        if any(unit in members for _, members in dim)
    ]
    makers = {layer: dim for layer, dim in made.items() if any(unit in members for _, members in dim)}
    where = list(makers.values()) or [weights[name][position] for name, position in found]
    granularity = min(sum(coefficient for coefficient, members in dim if unit in members) for dim in where)
    layers = tuple(dict.fromkeys(_layer(name) for name, _ in found))
    return Group(next(iter(makers), layers[0]), granularity * units.base(unit), granularity, layers, tuple(found))


def _layer(weight: str) -> str:
    return weight.rpartition(".")[0]


def _frozen(original: Mapping[str, Dims], weights: Mapping[str, Dims], units: Units) -> tuple[Frozen, ...]:
    found: dict[str, list[tuple[str, int]]] = {}
    for name, dims in weights.items():
        for position, dim in enumerate(dims):
            if is_fixed(dim) and dim != fixed(1):
                reasons = units.reasons(original[name][position]) if name in original else ["no op reads it"]
                for reason in reasons:
                    found.setdefault(reason, []).append((name, position))
    return tuple(Frozen(reason, tuple(members)) for reason, members in found.items())
