"""The device that a run uses, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from nas.errors import RecipeError
from nas.recipe import MachineSettings

Model = TypeVar("Model", bound=nn.Module)


def device_of(settings: MachineSettings) -> torch.device:
    """The device that the settings name; ``"auto"`` is a GPU if there is one. Sets the number of threads, where one is given.

    Raises:
        RecipeError: there is no such device, or it cannot compute.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.float64, device=device).item()  # what a run adds up in doubles is read in the end
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        raise RecipeError(f"machine.device is {name!r}, which cannot be used here: {str(error).splitlines()[0]}") from error
    return device


def placed(model: Model, settings: MachineSettings, device: torch.device) -> Model:
    """The model on its device, in the layout of the settings."""
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    return model.to(device=device, memory_format=layout)  # type: ignore[call-overload, no-any-return]


def autocast_of(settings: MachineSettings, device: torch.device) -> Callable[[], torch.autocast] | None:
    """The context of mixed precision (bfloat16), if it is wanted."""
    if not settings.amp:
        return None
    return lambda: torch.autocast(device.type, torch.bfloat16)


def seed_everything(*numbers: int) -> None:
    """Make what comes next depend on these numbers alone, so that a run can go on from any step."""
    from nas.data import generator_for

    torch.manual_seed(generator_for(*numbers).initial_seed())
