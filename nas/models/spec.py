"""Networks by name: hand-made ones, published cells, and cells from files."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from flopscope.errors import OptionError
from nas import models
from nas.genotype import Genotype, published
from nas.spaces.darts.network import CellNetwork, NetworkShape

SMALL_SIDE = 64
"""Images up to this many pixels high and wide get the small stem of the hand-made networks."""


def build(spec: str, image: tuple[int, int, int], classes: int, shape: NetworkShape, *, auxiliary: bool = False) -> nn.Module:
    """The network of a SPEC.

    ======================================  ===============================================================
    ``mobilenet_v2``, ``shufflenet_v1``...   a hand-made network
    ``mobilenet_v2:width=0.5``               the same with options of its factory
    ``published:DARTS_V2``                   the cells of a published search
    ``path/to/genotype.json``, a run folder  the cells of a file, or those that a search found
    ======================================  ===============================================================

    Args:
        spec: which.
        image: channels, height and width.
        classes: how many.
        shape: how cells are stacked.
        auxiliary: whether a network of cells gets an auxiliary head.

    Raises:
        OptionError: the SPEC names nothing that can be built.
        GenotypeError: a genotype cannot be read.
    """
    genotype = genotype_of(spec)
    if genotype is not None:
        return CellNetwork(genotype, shape, classes, image[0], auxiliary=auxiliary)
    name, _, text = spec.partition(":")
    if name not in models.__all__:
        raise OptionError(
            f"{spec!r} names no network: expected one of {', '.join(models.__all__)}, as in mobilenet_v2:width=0.5; published:NAME; a "
            "genotype as a .json file; or the folder of a run"
        )
    factory: Callable[..., nn.Module] = getattr(models, name)
    options = {"classes": classes, "channels_in": image[0], "small_input": max(image[1:]) <= SMALL_SIDE, **_options(spec, text, factory)}
    try:
        return factory(**options)
    except TypeError as error:  # such as a text where a number is needed
        raise OptionError(f"{spec!r} cannot be built: {error}") from error


def genotype_of(spec: str) -> Genotype | None:
    """The genotype that a SPEC names, if it names one."""
    source, _, name = spec.partition(":")
    if source == "published":
        return published(name)[name] if name else None
    path = Path(spec)
    if path.suffix == ".json":
        return Genotype.load(path)
    if path.is_dir() and (path / "genotype.json").is_file():
        return Genotype.load(path / "genotype.json")
    return None


def _options(spec: str, text: str, factory: Callable[..., nn.Module]) -> dict[str, Any]:
    known = inspect.signature(factory).parameters
    found: dict[str, Any] = {}
    for part in text.split(",") if text else ():
        key, equals, value = part.partition("=")
        if not equals or key not in known:
            raise OptionError(f"{spec!r} has no option {part!r}; there are {', '.join(known)}, each as KEY=VALUE")
        if known[key].annotation == "str":
            found[key] = value
            continue
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError) as error:
            raise OptionError(f"{spec!r}: {value!r} is no value for {key}; write a number, or True or False") from error
    return found
