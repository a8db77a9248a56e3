"""Where symbols occur in the inputs of a model, and the same inputs at other sizes."""

from __future__ import annotations

import inspect
import keyword
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from flopscope.errors import InputError, OptionError

Dims = int | tuple[int, ...]
Places = Dims | Mapping[int | str, Dims] | str
"""A dimension (or several) of every tensor input, or of those inputs that are named, by position or name; or a layer, for its channels."""

_MOST_ELEMENTS, _MOST_ELEMENTS_WITH_DATA = 2**60, 2**26
_TAKEN = ("floor", "ceil", "max", "min", "gcd", "log2_ceil")
_FORM = "as in symbols={'B': 0, 'R': (2, 3)} or symbols={'S': {'input_ids': 1}}"


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a model and the symbols in their shapes."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    names: tuple[str, ...]
    base: tuple[int, ...]
    """The size that each symbol has in the given inputs."""
    axis_of: Mapping[tuple[int, int], int]
    """Which symbol stands at a leaf and dimension."""

    def at(self, sizes: Sequence[int]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same inputs with other sizes for the symbols.

        Floating-point tensors have no data; integers and booleans keep their values, repeated along a dimension that grows.
        """
        leaves, structure = tree_flatten((self.args, self.kwargs))
        made: dict[tuple[int, tuple[int, ...]], Tensor] = {}
        for position, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                axes = [self.axis_of.get((position, dim)) for dim in range(leaf.dim())]
                shape = tuple(size if axis is None else sizes[axis] for size, axis in zip(leaf.shape, axes, strict=True))
                key = (id(leaf), shape)  # an input that is given twice stays one tensor
                made[key] = made[key] if key in made else _resized(leaf, shape)
                leaves[position] = made[key]
        args, kwargs = tree_unflatten(leaves, structure)
        return args, kwargs


def _resized(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(tensor.shape) == shape:
        return tensor
    elements = math.prod(shape)
    if elements >= _MOST_ELEMENTS:
        raise InputError(f"an input of {'x'.join(map(str, shape))} has {elements:,} elements, which no tensor can have")
    has_values = not (tensor.is_floating_point() or tensor.is_complex() or tensor.device.type == "meta")
    if not has_values or elements > _MOST_ELEMENTS_WITH_DATA:
        strides = tensor.stride()
        order = sorted(range(tensor.dim()), key=lambda dim: -strides[dim])
        return torch.empty_permuted(shape, order, dtype=tensor.dtype, device="meta")
    for dim, size in enumerate(shape):
        if size != tensor.shape[dim]:
            tensor = tensor.index_select(dim, torch.arange(size) % tensor.shape[dim])
    return tensor


def read_inputs(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any], symbols: Mapping[str, Places]) -> Inputs:
    """Find the symbols in the inputs.

    Raises:
        OptionError: the symbols are none, or have no proper names.
        InputError: a symbol names no dimension of the inputs, or dimensions of different sizes, or one that is taken.
    """
    if not isinstance(symbols, Mapping) or not symbols:
        raise OptionError(f"symbols must say which dimensions of the inputs may vary, {_FORM}, but is {symbols!r}")
    for name in symbols:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name in _TAKEN:
            raise OptionError(
                f"{name!r} cannot name a symbol: expected an identifier such as 'B' that is no Python keyword and none of "
                f"{', '.join(_TAKEN)}"
            )
    leaves = _leaves(model, args, kwargs)
    symbols = {name: places for name, places in symbols.items() if not isinstance(places, str)}  # those of layers occur in no input
    axis_of: dict[tuple[int, int], int] = {}
    base = []
    for axis, (name, places) in enumerate(symbols.items()):
        found = _dimensions(name, places, leaves)
        sizes = {tensor.shape[dim] for _, tensor, dim, _ in found}
        if len(sizes) > 1:
            listed = ", ".join(f"dimension {dim} of {label} is {tensor.shape[dim]}" for _, tensor, dim, label in found)
            raise InputError(f"the dimensions under the symbol {name} must be equal, but {listed}. Say which inputs are meant, {_FORM}")
        for position, _, dim, label in found:
            other = axis_of.setdefault((position, dim), axis)
            if other != axis:
                raise InputError(f"dimension {dim} of {label} has two symbols, {tuple(symbols)[other]} and {name}; one dimension takes one")
        if 0 in sizes:
            raise InputError(f"the dimensions under the symbol {name} have the size 0; give inputs with at least one element")
        base.append(sizes.pop())
    return Inputs(tuple(args), dict(kwargs), tuple(symbols), tuple(base), axis_of)


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A tensor among the inputs, with the names by which it can be called."""

    position: int
    tensor: Tensor
    keys: tuple[int | str, ...]

    @property
    def label(self) -> str:
        return f"input {self.keys[-1]!r}" if self.keys else "the input"


def _leaves(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[_Leaf]:
    names = _positional_names(model)
    owners: list[tuple[int | str, ...]] = []
    for position, item in enumerate(args):
        keys: tuple[int | str, ...] = (position, names[position]) if position < len(names) else (position,)
        owners += [keys] * len(tree_flatten(item)[0])
    for name, item in kwargs.items():
        owners += [(name,)] * len(tree_flatten(item)[0])
    flat = tree_flatten((tuple(args), dict(kwargs)))[0]
    return [_Leaf(i, leaf, keys) for i, (leaf, keys) in enumerate(zip(flat, owners, strict=True)) if isinstance(leaf, Tensor)]


def _positional_names(model: Any) -> list[str]:
    try:
        parameters = inspect.signature(getattr(model, "forward", model)).parameters.values()
    except (TypeError, ValueError):  # a function written in C
        return []
    kinds: tuple[Any, ...] = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def _dimensions(name: str, places: Any, leaves: Sequence[_Leaf]) -> list[tuple[int, Tensor, int, str]]:
    """The position and tensor of each leaf in which a symbol occurs, the dimension, and what to call it."""
    found: list[tuple[int, Tensor, int, str]] = []
    if not isinstance(places, Mapping):
        dims = _dims(name, places)
        for leaf in leaves:
            found += [(leaf.position, leaf.tensor, dim % leaf.tensor.dim(), leaf.label) for dim in dims if _has(leaf.tensor, dim)]
        missing = [dim for dim in dims if not any(_has(leaf.tensor, dim) for leaf in leaves)]
        if missing:
            raise InputError(f"the symbol {name} stands for dimension {missing[0]}, which no input has: {_listed(leaves)}")
        return found
    if not places:
        raise InputError(f"the symbol {name} occurs nowhere; say in which inputs, {_FORM}")
    for key, wanted in places.items():
        named = [leaf for leaf in leaves if key in leaf.keys]
        if not named:
            raise InputError(f"the symbol {name} names the input {key!r}, which is no tensor among them: {_listed(leaves)}")
        for leaf in named:
            for dim in _dims(name, wanted):
                if not _has(leaf.tensor, dim):
                    raise InputError(f"the symbol {name} stands for dimension {dim} of {leaf.label}, which has {leaf.tensor.dim()}")
                found.append((leaf.position, leaf.tensor, dim % leaf.tensor.dim(), leaf.label))
    return found


def _dims(name: str, places: Any) -> tuple[int, ...]:
    dims = (places,) if isinstance(places, int) else places
    if not isinstance(dims, tuple) or not dims or any(isinstance(dim, bool) or not isinstance(dim, int) for dim in dims):
        raise OptionError(f"the symbol {name} must stand for a dimension or a tuple of them, {_FORM}, but {places!r} was given")
    return dims


def _has(tensor: Tensor, dim: int) -> bool:
    return -tensor.dim() <= dim < tensor.dim()


def _listed(leaves: Sequence[_Leaf]) -> str:
    shapes = (f"{leaf.label} of {'x'.join(map(str, leaf.tensor.shape)) or '()'}" for leaf in leaves)
    return ", ".join(shapes) or "there are no tensors"
