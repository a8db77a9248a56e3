"""Networks by name: hand-made ones, published cells, and cells from files."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

import flopscope
from flopscope import Cost
from flopscope.errors import OptionError
from nas import models
from nas.genotype import Genotype, published
from nas.models.configured import load_config, network_of
from nas.spaces.darts.network import CellNetwork, NetworkShape

SMALL_SIDE = 64
"""Images up to this many pixels high and wide get the small stem of the hand-made networks."""
CONFIG = ".config"
"""How the files of `nas.models.configured` end."""
OF_DATA = ("classes", "channels_in")
"""Options of the factories that the images decide."""


def build(network: Genotype | str, image: tuple[int, int, int], classes: int, shape: NetworkShape, *, auxiliary: bool = False) -> nn.Module:
    """The network of a genotype or of a SPEC.

    ======================================  ===============================================================
    ``mobilenet_v2``, ``shufflenet_v1``...   a hand-made network
    ``mobilenet_v2:width=0.5``               the same with options of its factory
    ``published:DARTS_V2``                   the cells of a published search
    ``path/to/genotype.json``, a run folder  the cells of a file, or those that a search found
    ``path/to/net.config``                   a network of ProxylessNAS or Once-for-All, with a classifier for the classes at hand
    ======================================  ===============================================================

    Args:
        network: which.
        image: channels, height and width.
        classes: how many.
        shape: how cells are stacked.
        auxiliary: whether a network of cells gets an auxiliary head.

    Raises:
        OptionError: the SPEC names nothing that can be built.
        GenotypeError: a genotype cannot be read.
    """
    spec = network if isinstance(network, Genotype) else genotype_of(network) or network
    if isinstance(spec, Genotype):
        return CellNetwork(spec, shape, classes, image[0], auxiliary=auxiliary)
    if spec.endswith(CONFIG):
        return _configured(spec, image, classes)
    name, _, text = spec.partition(":")
    if name not in models.__all__:
        raise OptionError(
            f"{spec!r} names no network: expected one of {', '.join(models.__all__)}, as in mobilenet_v2:width=0.5; published:NAME; a "
            "genotype as a .json file; a net.config; or the folder of a run"
        )
    factory: Callable[..., nn.Module] = getattr(models, name)
    options = {"classes": classes, "channels_in": image[0], "small_input": max(image[1:]) <= SMALL_SIDE, **_options(spec, text, factory)}
    try:
        return factory(**options)
    except TypeError as error:  # such as a text where a number is needed
        raise OptionError(f"{spec!r} cannot be built: {error}") from error


def _configured(path: str, image: tuple[int, int, int], classes: int) -> nn.Module:
    config = load_config(path)
    classifier = config.get("classifier")
    if isinstance(classifier, dict):
        config = {**config, "classifier": {**classifier, "out_features": classes}}
    network = network_of(config)
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    if first.in_channels != image[0]:
        raise OptionError(f"{path} is a network for images of {first.in_channels} channels, but these have {image[0]}")
    return network


def genotype_of(spec: str) -> Genotype | None:
    """The genotype that a SPEC names, if it names one."""
    source, _, name = spec.partition(":")
    if source == "published":
        return published(name)[name] if name else None
    path = Path(spec)
    if path.is_dir():
        return Genotype.load(path / "genotype.json") if (path / "genotype.json").is_file() else None
    return Genotype.load(path) if path.suffix == ".json" else None


def cost_of(network: nn.Module, image: tuple[int, int, int]) -> Cost:
    """What a network costs for one image as it is used, which is without the auxiliary head of its training.

    Raises:
        FlopscopeError: the network cannot be run on such images.
    """
    was_training = network.training
    total = flopscope.analyze(network.eval(), "x".join(map(str, (1, *image)))).total
    network.train(was_training)
    if isinstance(network, CellNetwork) and network.auxiliary_head is not None:
        total = replace(total, params=total.params - sum(parameter.numel() for parameter in network.auxiliary_head.parameters()))
    return total


def _options(spec: str, text: str, factory: Callable[..., nn.Module]) -> dict[str, Any]:
    known = {name: option for name, option in inspect.signature(factory).parameters.items() if name not in OF_DATA}
    found: dict[str, Any] = {}
    for part in text.split(",") if text else ():
        key, equals, value = part.partition("=")
        if key in OF_DATA:
            raise OptionError(f"{spec!r} says {key}, which the images decide; leave it out")
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
