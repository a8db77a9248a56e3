"""Random changes of colour, for a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_GREY = (0.299, 0.587, 0.114)
"""How bright red, green and blue look (ITU-R BT.601)."""


def jitter(images: Tensor, by: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image, in an order that is drawn for the batch.

    The first three are multiplied by factors from ``1 - by`` to ``1 + by``; the hue is turned by up to ``by / 2`` of the circle each way.
    Images of one channel have neither saturation nor hue.

    Args:
        images: float ``[B, 3 or 1, height, width]`` in [0, 1]; stay as they are.
        by: At most 1.
        generator: Where the random numbers come from; may be on another device than the images.
    """
    changes: list[Callable[[Tensor, Tensor], Tensor]] = [_brightness, _contrast, _saturation, _hue]
    drawn = 2 * torch.rand(4, len(images), 1, 1, 1, generator=generator, device=generator.device).to(images) - 1
    for change in torch.randperm(4, generator=generator, device=generator.device).tolist():
        if images.shape[1] == 3 or change < 2:
            images = changes[change](images, by / 2 * drawn[change] if change == 3 else 1 + by * drawn[change])
    return images


def _brightness(images: Tensor, factor: Tensor) -> Tensor:
    return (images * factor).clamp(0, 1)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    return _blended(images, _grey(images).mean((2, 3), keepdim=True), factor)


def _saturation(images: Tensor, factor: Tensor) -> Tensor:
    return _blended(images, _grey(images), factor)


def _hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue; value (the largest channel) and saturation stay (Smith 1978, "Color gamut transform pairs")."""
    value, largest = images.max(1, keepdim=True)
    spread = value - images.amin(1, keepdim=True)
    red, green, blue = (images / spread.where(spread > 0, 1)).split(1, dim=1)
    sixths = torch.stack([green - blue, 2 + blue - red, 4 + red - green], 1).squeeze(2).gather(1, largest)
    # Each channel is the value, less what the hue takes of it: nothing within a sixth of the circle of its own colour, all from two on.
    own = torch.tensor([5.0, 3.0, 1.0], device=images.device)[:, None, None]
    distance = (sixths + 6 * turn + own) % 6
    return value - spread * torch.minimum(distance, 4 - distance).clamp(0, 1)


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    return (images * torch.tensor(_GREY, device=images.device)[:, None, None]).sum(1, keepdim=True)


def _blended(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (factor * images + (1 - factor) * other).clamp(0, 1)
