"""What a reader needs to run it again: versions, machine, images."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

import flopscope
from nas.checked import ADVICE, checked
from nas.data import NAMES, ImageData
from nas.errors import RunError
from nas.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Images:
    """What a run remembers of its data.

    Attributes:
        name: what they are called.
        shape: channels, height and width.
        classes: how many.
        train: how many images to learn from.
        test: how many to judge by.
        sha256: of all of them.
    """

    name: str
    shape: tuple[int, int, int]
    classes: int
    train: int
    test: int
    sha256: str

    @classmethod
    def of(cls, data: ImageData) -> Images:
        """What there is to remember."""
        return cls(data.name, data.shape, len(data.classes), len(data.train), len(data.test), data.fingerprint)

    @classmethod
    def from_dict(cls, data: Any, where: str) -> Images:
        """Read plain data.

        Raises:
            RunError: it is none of this.
        """
        found = checked(data, where, name=str, shape=list, classes=int, train=int, test=int, sha256=str)
        shape = found["shape"]
        if [type(size) for size in shape] != [int, int, int] or min(*shape, found["classes"]) < 1:
            raise RunError(f"in {where} images of shape {shape} and {found['classes']} classes are none. {ADVICE}")
        return cls(found["name"], (shape[0], shape[1], shape[2]), found["classes"], found["train"], found["test"], found["sha256"])

    def __str__(self) -> str:
        return f"{self.name} {'x'.join(map(str, self.shape))}, {self.classes} classes".lstrip()


def environment(data: ImageData) -> dict[str, Any]:
    """What a run writes into its folder."""
    return {
        "flopscope": flopscope.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "threads": torch.get_num_threads(),
        "data": asdict(Images.of(data)),
    }


def with_whole_paths(recipe: Recipe) -> Recipe:
    """The recipe with paths that mean the same from every folder."""
    data, objective = recipe.data, recipe.objective
    name = data.name if data.name in NAMES else _whole(data.name)
    data = replace(data, name=name, root=_whole(data.root))
    return replace(recipe, data=data, objective=replace(objective, table=_whole(objective.table)))


def _whole(text: str) -> str:
    path = Path(text).expanduser()
    return str(path.resolve()) if text and path.exists() else text
