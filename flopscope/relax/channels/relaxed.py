"""An op whose dimensions are made of channel groups, priced by its own rule at any sizes of these groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import flopscope.relax.numbers  # noqa: F401 - teaches the rules about sizes that are tensors
from flopscope.analyses.totals import UNCOUNTED
from flopscope.cost import Cost
from flopscope.errors import RuleError
from flopscope.graph import Signature, TensorType
from flopscope.relax.channels.dims import Dim, Dims, is_fixed, value_of
from flopscope.rules.registry import rule_for


@dataclass(frozen=True, slots=True)
class RelaxedOp:
    """A signature with a dim in the place of every size."""

    signature: Signature
    operands: tuple[Dims, ...]
    outputs: tuple[Dims, ...]
    arguments: tuple[tuple[str, Dim], ...]
    """Whole-number arguments that change too."""

    @property
    def is_constant(self) -> bool:
        """Whether no size changes."""
        return all(is_fixed(dim) for dims in (*self.operands, *self.outputs) for dim in dims)

    def price(self, sizes: Mapping[int, Any] | Sequence[Any]) -> Cost:
        """The cost at the sizes of the units: ints, tensors or symbols.

        Raises:
            RuleError: the rule of the op cannot be used on sizes of this kind.
        """
        found = rule_for(self.signature)
        if found is None:
            return UNCOUNTED
        try:
            cost = found.formula(self.at(sizes))
        except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError) as error:
            raise RuleError(
                f"the rule for {self.signature.target} ({found.formula.__qualname__}) cannot be used on relaxed sizes: "
                f"{type(error).__name__}: {error}. A rule may use + - * and the operations in flopscope.rules.sizes."
            ) from error
        return UNCOUNTED if cost is None else cost

    def at(self, sizes: Mapping[int, Any] | Sequence[Any]) -> Signature:
        """The signature at the sizes of the units."""
        shapes = (tuple(value_of(dim, sizes) for dim in dims) for dims in self.operands)
        arguments = {name: _with_shapes(value, shapes) for name, value in self.signature.arguments.items()}
        arguments |= {name: value_of(dim, sizes) for name, dim in self.arguments}
        outputs = [
            _typed(type, tuple(value_of(dim, sizes) for dim in dims))
            for type, dims in zip(self.signature.outputs, self.outputs, strict=True)
        ]
        return replace(self.signature, arguments=arguments, outputs=tuple(outputs))


def _with_shapes(value: Any, shapes: Iterator[tuple[Any, ...]]) -> Any:
    if isinstance(value, TensorType):
        return _typed(value, next(shapes))
    if isinstance(value, tuple) and any(isinstance(item, TensorType) for item in value):
        return tuple(None if item is None else _with_shapes(item, shapes) for item in value)
    return value


def _typed(type: TensorType, shape: tuple[Any, ...]) -> TensorType:
    """The type with another shape. Of the strides only those of expanded dimensions (0) matter to rules."""
    expanded = type.strides is not None and 0 in type.strides
    return TensorType(shape, type.dtype, tuple(min(stride, 1) for stride in type.strides or ()) if expanded else None)
