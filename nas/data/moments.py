"""Mean and standard deviation of images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# One grey level. A channel that is the same everywhere has no deviation, and would be divided by zero.
_LEAST_STD = 1 / 255


def mean_and_std(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, in [0, 1], over all pixels of uint8 batches ``[B, channels, height, width]``.

    Returns:
        Two float32 tensors ``[channels]``.
    """
    # Counts of grey levels are whole numbers, so the result does not depend on how the images are divided into batches.
    counts = sum(torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in batch.unbind(1)]) for batch in batches)
    weights = torch.as_tensor(counts).to(torch.float64)
    weights = weights / weights.sum(1, keepdim=True)
    levels = torch.arange(256, dtype=torch.float64) / 255
    mean = weights @ levels
    variance = (weights * (levels - mean[:, None]).square()).sum(1)
    return mean.to(torch.float32), variance.sqrt().clamp_min(_LEAST_STD).to(torch.float32)
