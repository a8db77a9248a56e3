"""Where travel rules live: how the dimensions of its operands become those of the results of an op.

A travel rule reads the dims of the operands of one call, says which of them are equal, and returns the dims of the results. It is the
second dictionary of rules: the first, in `flopscope.rules`, prices the op, and is used on relaxed shapes as it is. An op without a travel
rule freezes what it touches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flopscope.graph import Op, TensorType
from flopscope.relax.channels.dims import Dim, Dims, Units, fixed, is_fixed

TravelRule = Callable[["Call"], Sequence[Dims]]
AnyRule = TypeVar("AnyRule", bound=Callable[..., Any])

_rules: dict[str, TravelRule] = {}


def travels(*kinds: str) -> Callable[[AnyRule], AnyRule]:
    """Register a travel rule for kinds of ops."""

    def register(rule: AnyRule) -> AnyRule:
        for kind in kinds:
            if kind in _rules:
                raise ValueError(f"{kind!r} already has a travel rule: {_rules[kind].__module__}.{_rules[kind].__qualname__}")
            _rules[kind] = rule
        return rule

    return register


def travel_rule(kind: str) -> TravelRule | None:
    """The travel rule of a kind of op."""
    return _rules.get(kind)


class Call:
    """One op, with the dims of its operands."""

    def __init__(self, op: Op, operands: Sequence[Dims], units: Units) -> None:
        self.op = op
        self.units = units
        self.operands = list(operands)
        """The dims of all tensor operands, in order."""
        self.relaxed: dict[str, Dim] = {}
        """Whole-number arguments that change with the dims, such as the groups of a depthwise convolution."""
        remaining = iter(operands)
        self._by_name = {name: _with_dims(value, remaining) for name, value in op.signature.arguments.items()}

    def __getitem__(self, name: str) -> Any:
        """The dims of the tensor argument of that name (a list for several), or ``None`` where there is none."""
        return self._by_name.get(name)

    def argument(self, name: str, default: Any = None) -> Any:
        """The plain argument of that name."""
        return self.op.signature.get(name, default)

    @property
    def first(self) -> Dims:
        """The dims of the first operand."""
        return self.operands[0]

    @property
    def reason(self) -> str:
        """The place of the op, to say why something is frozen."""
        return f"{self.op.kind} in {self.op.scope or 'the model itself'}"

    def shape(self, output: int = 0) -> tuple[int, ...]:
        """The base sizes of an output."""
        return self.op.signature.outputs[output].shape

    def same(self, one: Dim, other: Dim) -> None:
        """These dims must be equal."""
        meets_fixed = any(is_fixed(self.units.resolve(dim)) for dim in (one, other))
        met = "something of a fixed size" if meets_fixed else "channels that are arranged in another way"
        self.units.equate(one, other, f"it meets {met} ({self.reason})")

    def freeze(self, *dims: Dim, why: str | None = None) -> None:
        """These dims cannot change."""
        for dim in dims:
            self.units.freeze(dim, f"its size is part of the model ({self.reason})" if why is None else why)

    def give_up(self) -> list[Dims]:
        """Freeze everything: the outputs are as they were traced."""
        for dims in self.operands:
            self.freeze(*dims, why=f"no rule says how it travels ({self.reason})")
        return [tuple(fixed(size) for size in type.shape) for type in self.op.signature.outputs]

    def vector(self, name: str, dim: Dim) -> None:
        """A weight of one number per channel, where it is given."""
        if self[name] is not None:
            self.same(self[name][-1], dim)


def _with_dims(value: Any, remaining: Any) -> Any:
    if isinstance(value, TensorType):
        return next(remaining)
    if isinstance(value, tuple) and any(isinstance(item, TensorType) for item in value):
        return [None if item is None else next(remaining) for item in value]
    return None


def broadcast(call: Call, operands: Sequence[Dims]) -> Dims:
    """The dims of operands that are broadcast together: aligned at the right, sizes of one give way."""
    rank = max((len(dims) for dims in operands), default=0)
    found: list[Dim] = []
    for position in range(-rank, 0):
        wide = [dims[position] for dims in operands if len(dims) >= -position and dims[position] != fixed(1)]
        for other in wide[1:]:
            call.same(wide[0], other)
        found.append(wide[0] if wide else fixed(1))
    return tuple(found)
