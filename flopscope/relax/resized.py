"""The inputs of a model at other batch sizes, lengths and resolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from flopscope.errors import InputError, OptionError
from flopscope.relax.closed.inputs import Places, read_inputs

Given = tuple[Sequence[Any], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Resized:
    """The inputs of a model as a function of one size."""

    base: int
    """The size in the inputs as they are given."""
    at: Callable[[int], Given]
    """The positional and named inputs at a size. Raises `InputError` where no tensor can be so large."""


def resized(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any], over: str) -> Resized:
    """See which dimensions of the inputs a size stands for.

    Args:
        model: whose inputs they are.
        args: the positional inputs.
        kwargs: the named inputs.
        over: ``"batch"`` (dimension 0 of every tensor, or the number of images in a list), ``"sequence"`` (dimension 1 of every integer
            input), ``"resolution"`` (dimensions 2 and 3 of every 4-d floating-point input), or ``"NAME:DIM"``, one dimension of an input
            by its name or position.

    Raises:
        InputError: the inputs have no such dimension, or several of different sizes.
        OptionError: it is none of these.
    """
    if over == "batch" and args and isinstance(args[0], list):
        images, rest = list(args[0]), list(args[1:])
        return Resized(len(images), lambda size: ([[images[i % len(images)] for i in range(size)], *rest], kwargs))
    inputs = read_inputs(model, args, kwargs, {over if over.isidentifier() else "size": _places(args, kwargs, over)})
    return Resized(inputs.base[0], lambda size: inputs.at([size]))


def _places(args: Sequence[Any], kwargs: Mapping[str, Any], over: str) -> Places:
    given: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    items = [(key, item) for key, item in given if isinstance(item, Tensor)]
    if over == "batch":
        return 0
    if over == "sequence":
        texts: dict[int | str, Any] = {key: 1 for key, item in items if item.dim() >= 2 and not item.is_floating_point()}
        return _some(texts, "sequence input: none of its inputs is a tensor of integers with two dimensions", items)
    if over == "resolution":
        images: dict[int | str, Any] = {key: (2, 3) for key, item in items if item.dim() == 4 and item.is_floating_point()}
        return _some(images, "image input: none of its inputs is a floating-point tensor with four dimensions", items)
    name, colon, dim = over.rpartition(":")
    if not colon or not name or not dim.lstrip("-").isdigit():
        raise OptionError(f"{over!r} is nothing that can grow: choose batch, sequence, resolution, or NAME:DIM, as in input_ids:1 or 0:2")
    return {int(name) if name.isdigit() else name: int(dim)}


def _some(places: dict[int | str, Any], missing: str, items: Sequence[tuple[int | str, Tensor]]) -> Places:
    if not places:
        listed = ", ".join(f"{key} of {'x'.join(map(str, item.shape))}" for key, item in items) or "none that is a tensor"
        raise InputError(f"the model has no {missing}. Its inputs: {listed}")
    return places
