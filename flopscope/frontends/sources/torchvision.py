"""Models of torchvision, without weights."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from flopscope.frontends.sources import detection
from flopscope.frontends.sources.loaded import Loaded, built, no_such_name

_DEFAULT_SIZE = 224


def names() -> list[str]:
    """The names of all models."""
    from torchvision.models import list_models

    return list(list_models())


def load(name: str, settings: Mapping[str, Any]) -> Loaded:
    """The model with the input that its default weights were made for.

    Raises:
        SpecError: there is no such model, or it does not take the settings.
    """
    from torchvision.models import get_model

    known = names()
    if name not in known:
        raise no_such_name("torchvision", name, known)
    arguments = {"weights": None, **_arguments(name), **settings}
    with _same_engine():
        model = built(lambda: get_model(name, **arguments), f"torchvision:{name}").eval()
    args, input_note = _inputs(name)
    return Loaded(f"torchvision:{name}", model, args, {}, _prepared(name, model), input_note)


@contextmanager
def _same_engine() -> Iterator[None]:
    """Leave torch's engine for quantised models as it was: their builders choose one for the whole process."""
    engine = torch.backends.quantized.engine
    try:
        yield
    finally:
        torch.backends.quantized.engine = engine


def _prepared(name: str, model: Any) -> tuple[str, ...]:
    """Make a detector what its published weights fit, and say what its second stage runs on."""
    from torchvision.models import get_model_builder

    if ".detection" not in get_model_builder(name).__module__:
        return ()
    if name in _FROZEN:
        detection.freeze_norms(model.backbone)
    found = detection.find_the_most(model)
    if found is None:
        return ()
    proposals, detections = found
    return (f"the second stage is counted on at most {proposals} proposals and {detections} detections, which is all that the model keeps",)


_FROZEN = frozenset(
    {
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "fasterrcnn_mobilenet_v3_large_fpn",
        "fasterrcnn_resnet50_fpn",
        "fcos_resnet50_fpn",
        "keypointrcnn_resnet50_fpn",
        "maskrcnn_resnet50_fpn",
        "retinanet_resnet50_fpn",
    }
)
"""The detectors whose builder freezes batch normalisation where it is given weights."""


def _arguments(name: str) -> dict[str, Any]:
    """What the builder must be told to make the network of the published default weights."""
    from torchvision.models import get_model_builder

    parameters = inspect.signature(get_model_builder(name)).parameters
    arguments: dict[str, Any] = {}
    if "weights_backbone" in parameters:
        arguments["weights_backbone"] = None
    if "aux_loss" in parameters:
        arguments["aux_loss"] = True  # the weights come with the auxiliary head
    if name.removeprefix("quantized_") == "googlenet":
        arguments |= {"aux_logits": False, "init_weights": False}  # its weights come without the auxiliary heads
    elif name.removeprefix("quantized_") == "inception_v3":
        arguments["init_weights"] = False
    elif name.startswith("vit_"):
        arguments["image_size"] = (_crop_size(name) or (_DEFAULT_SIZE, 0))[0]
    return arguments


def _inputs(name: str) -> tuple[list[Any], str | None]:
    from torchvision.models import get_model_builder

    module = get_model_builder(name).__module__
    size = _crop_size(name)
    if ".detection" in module:
        height, width = _DETECTION_SIZES.get(name.split("_", maxsplit=1)[0], (800, 800))
        return [[torch.empty(3, height, width, device="meta")]], f"input: one image of {height}x{width}"
    if ".optical_flow" in module:
        image = torch.empty(1, 3, 512, 512, device="meta")
        return [image, torch.empty_like(image)], "input: two images of 512x512"
    if ".video" in module:
        height, width = size or (112, 112)
        return [torch.empty(1, 3, 16, height, width, device="meta")], f"input: 16 frames of {height}x{width}"
    if ".segmentation" in module:
        return [torch.empty(1, 3, 520, 520, device="meta")], "input: one image of 520x520"
    if size is None:
        return [
            torch.empty(1, 3, _DEFAULT_SIZE, _DEFAULT_SIZE, device="meta")
        ], f"input: its own size is unknown, so 1x3x{_DEFAULT_SIZE}x{_DEFAULT_SIZE}"
    return [torch.empty(1, 3, *size, device="meta")], None


_DETECTION_SIZES = {"ssd300": (300, 300), "ssdlite320": (320, 320)}


def _crop_size(name: str) -> tuple[int, int] | None:
    """The size of the crop in the transforms of the default weights."""
    from torchvision.models import get_model_weights

    try:
        weights = get_model_weights(name).DEFAULT
    except (ValueError, AttributeError, KeyError):
        return None
    options = getattr(weights.transforms, "keywords", {})
    size = options.get("crop_size")
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[-1])) if size else None
