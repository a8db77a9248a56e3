"""Recipes: everything that decides how a search or a training goes, as a TOML file.

A recipe may say ``extends = "NAME"`` to begin with another one. What no file says has the default that the classes here give, which are
the settings of Liu et al. 2019 (arXiv:1806.09055), section 3 and appendix A.
"""

from __future__ import annotations

import difflib
import math
import sys
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from nas.errors import RecipeError
from nas.limits import check
from nas.spaces.darts.operations import DARTS_OPERATIONS


@dataclass(frozen=True)
class SpaceSettings:
    """What can be chosen, and how the supernet is stacked."""

    operations: tuple[str, ...] = DARTS_OPERATIONS
    nodes: int = 4
    channels: int = 16
    layers: int = 8
    init_scale: float = 1e-3


@dataclass(frozen=True)
class NetworkSettings:
    """The network that is trained in the end; a budget is about it.

    ``size`` is the side of the images that it is trained on, ``classes`` how many its cost is for (a training has those of its images); 0
    takes those of the data.
    """

    channels: int = 36
    layers: int = 20
    stem: str = "cifar"
    size: int = 0
    classes: int = 0


@dataclass(frozen=True)
class DataSettings:
    """The images. ``size`` resizes those of a search; 0 leaves them as they are, ``limit`` takes so many training images, 0 all."""

    name: str = "digits"
    root: str = ""
    size: int = 0
    limit: int = 0


@dataclass(frozen=True)
class SearchSettings:
    """How architecture parameters and weights move."""

    order: int = 1
    epochs: int = 50
    warmup_epochs: int = 0
    batch_size: int = 64
    train_share: float = 0.5
    weight_lr: float = 0.025
    weight_lr_min: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    gradient_clip: float = 5.0
    alpha_lr: float = 3e-4
    alpha_betas: tuple[float, ...] = (0.5, 0.999)
    alpha_weight_decay: float = 1e-3
    augment: bool = True
    cutout: int = 0


@dataclass(frozen=True)
class ObjectiveSettings:
    """How a cost enters the loss; each form reads the settings that it needs.

    ``of`` is what costs: ``"cells"`` (the candidates in the supernet's cells, as Song & Li count), ``"supernet"``, or ``"network"`` (the
    network that will be trained). Costs have the unit of their metric; that of ``"latency"`` is the nanosecond.
    """

    form: str = "none"
    metric: str = "flops"
    of: str = "network"
    k1: float = 1.0
    k2: float = 1.0
    k3: float = 0.0
    weight: float = 0.0
    reference: float = 0.0
    target: float = 0.0
    exponent: float = -0.07
    only_above: bool = False
    rate: float = 0.1
    table: str = ""


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained from scratch.

    ``schedule`` is ``"cosine"``, from ``lr`` down to ``lr_min``, or ``"exponential"``: times ``decay`` after each epoch, down to ``lr_min``
    at the least. With a ``crop_area`` below 1, each image is a random part of at least that share of itself, resized to the whole, instead
    of shifted by a few pixels. ``jitter`` is by how much brightness, contrast and saturation change; the hue turns by half as much.
    """

    epochs: int = 600
    batch_size: int = 96
    schedule: str = "cosine"
    lr: float = 0.025
    lr_min: float = 0.0
    decay: float = 0.97
    momentum: float = 0.9
    weight_decay: float = 3e-4
    gradient_clip: float = 5.0
    augment: bool = True
    crop_area: float = 1.0
    jitter: float = 0.0
    cutout: int = 16
    drop_path: float = 0.2
    auxiliary: float = 0.4
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class MachineSettings:
    """What changes how fast it goes, and not what comes out, up to rounding."""

    device: str = "auto"
    threads: int = 0
    channels_last: bool = True
    compile: bool = False
    amp: bool = False


@dataclass(frozen=True)
class Recipe:
    """All settings of a search, and of the training of what it finds."""

    name: str = "darts"
    source: str = ""
    seed: int = 0
    space: SpaceSettings = field(default_factory=SpaceSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    data: DataSettings = field(default_factory=DataSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def to_toml(self) -> str:
        """The recipe as a TOML file that says everything."""
        import tomli_w

        return tomli_w.dumps(self.to_dict())


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(entry.name.removesuffix(".toml") for entry in resources.files("nas.recipes").iterdir() if entry.name.endswith(".toml"))


def load(name: str, settings: Sequence[tuple[str, Any]] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name: of a recipe of the package, or the path of a TOML file.
        settings: changes, as keys such as ``"search.epochs"`` (or ``"epochs"``, where only one section has it) and values.

    Raises:
        RecipeError: there is no such recipe, it cannot be read, or a setting is unknown or of another type.
    """
    data = _data(name, [])
    _filled(Recipe, data, "")  # so that no setting hides what is wrong in the file
    for key, value in settings:
        section, setting = _place(key)
        data = _merged(data, {setting: value} if section is None else {section: {setting: value}})
    recipe: Recipe = _filled(Recipe, data, "")
    check(recipe.to_dict())
    return recipe


def _data(name: str, seen: list[str]) -> dict[str, Any]:
    if name in seen:
        raise RecipeError(f"the recipe {name!r} extends itself: {' -> '.join([*seen, name])}")
    try:
        data = tomllib.loads(_text(name))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"the recipe {name!r} is no TOML: {error}") from error
    base = data.pop("extends", None)
    if base is None:
        return data
    if not isinstance(base, str):
        raise RecipeError(f"the recipe {name!r} extends {base!r}, which is no name of a recipe")
    if base.endswith(".toml"):
        base = str(Path(name).parent / base)  # beside the file that says so
    return _merged(_data(base, [*seen, name]), data)


def _text(name: str) -> str:
    path = Path(name)
    bundled = resources.files("nas.recipes") / f"{name}.toml"
    try:
        if path.suffix == ".toml":
            return path.read_text(encoding="utf-8")
        if "/" not in name and bundled.is_file():
            return bundled.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {name}: {error}") from error
    raise RecipeError(f"there is no recipe {name!r}. Give the path of a .toml file, or one of: {', '.join(names())}")


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for key, value in over.items():
        before = found.get(key, {})
        found[key] = _merged(before, value) if isinstance(value, Mapping) and isinstance(before, Mapping) else value
    return found


def _sections() -> dict[str, list[str]]:
    return {item.name: [inner.name for inner in fields(item.type)] for item in _fields(Recipe) if is_dataclass(item.type)}


def _place(key: str) -> tuple[str | None, str]:
    """The section and the name of a setting."""
    if "." in key:
        section, _, setting = key.partition(".")
        return section, setting
    if key in {item.name for item in fields(Recipe)} - set(_sections()):
        return None, key
    having = [section for section, settings in _sections().items() if key in settings]
    if len(having) == 1:
        return having[0], key
    known = [f"{section}.{setting}" for section, settings in _sections().items() for setting in settings]
    where = [f"{section}.{key}" for section in having] or difflib.get_close_matches(key, known, 4, 0.4) or known
    raise RecipeError(
        f"which setting is {key!r}? {'Say one of' if having else 'There is none of that name. Close ones are'}: {', '.join(where)}"
    )


def _filled(kind: type[Any], data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise RecipeError(f"{where or 'a recipe'} must be a table of settings, but is {data!r}")
    known = {item.name: item for item in _fields(kind)}
    values = {}
    for key, value in data.items():
        place = f"{where}.{key}" if where else key
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
            raise RecipeError(f"a recipe has no setting {place!r}{hint}")
        wanted = known[key].type
        values[key] = _filled(wanted, value, place) if isinstance(wanted, type) and is_dataclass(wanted) else _value(wanted, value, place)
    return kind(**values)


@dataclass(frozen=True)
class _Field:
    name: str
    type: Any


def _fields(kind: type[Any]) -> list[_Field]:
    hints = typing.get_type_hints(kind)
    return [_Field(item.name, hints[item.name]) for item in fields(kind)]


def _value(wanted: Any, value: Any, place: str) -> Any:
    if isinstance(wanted, types.GenericAlias):
        inner = wanted.__args__[0]
        if isinstance(value, str) and inner is str:
            value = [part.strip() for part in value.split(",")]
        if not isinstance(value, (list, tuple)):
            raise RecipeError(f"{place} must be a list, but is {value!r}")
        return tuple(_value(inner, item, place) for item in value)
    if wanted is float and type(value) is int:
        return float(value) if abs(value) < sys.float_info.max else math.inf
    if wanted is int and type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not wanted:
        raise RecipeError(f"{place} must be {_WORDS[wanted]}, but is {value!r}")
    return value


_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
