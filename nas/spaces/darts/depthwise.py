"""Depthwise convolution."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def depthwise(x: Tensor, weight: Tensor, like: nn.Conv2d) -> Tensor:
    """The convolution of each channel with its own filter, with the stride, padding and dilation of a layer."""
    return F.conv2d(x, weight, None, like.stride, like.padding, like.dilation, x.shape[1])
