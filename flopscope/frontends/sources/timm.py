"""Models of timm, without weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from flopscope.errors import MissingPackageError
from flopscope.frontends.sources.loaded import Loaded, built, no_such_name


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise MissingPackageError("models of timm need the package timm, which is not installed: pip install 'flopscope[timm]'") from error
    return timm


def names() -> list[str]:
    """The names of all models.

    Raises:
        MissingPackageError: timm is not installed.
    """
    return list(_timm().list_models())


def load(name: str, settings: Mapping[str, Any]) -> Loaded:
    """The model with its own input size.

    Raises:
        SpecError: there is no such model, or it does not take the settings.
        MissingPackageError: timm is not installed.
    """
    timm = _timm()
    if not timm.is_model(name.split(".", maxsplit=1)[0]):
        raise no_such_name("timm", name, timm.list_models())
    model = built(lambda: timm.create_model(name, pretrained=False, **settings), f"timm:{name}").eval()
    size = getattr(model, "pretrained_cfg", {}).get("input_size", (3, 224, 224))
    image_size = settings.get("img_size")
    if image_size is not None:
        size = (size[0], *((image_size, image_size) if isinstance(image_size, int) else image_size))
    return Loaded(f"timm:{name}", model, [torch.empty(1, *size, device="meta")])
