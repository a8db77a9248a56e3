"""ShuffleNetV2, units that work on a part of the channels and shuffle it with the rest (Ma 2018, arXiv:1807.11164)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from nas.models.layers import channel_shuffle, check_positive, conv_bn, depthwise_bn, init_weights, make_divisible, pooled_classifier

_STEM = 24
_WIDTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
_STAGE_CHANNELS = (0, 48, 116, 176, 244)  # of the first stage by width; each later stage has twice as many
_REPEATS = (4, 8, 4)


def _branch(inputs: int, hidden: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(conv_bn(inputs, hidden), depthwise_bn(hidden, stride, activation=None), conv_bn(hidden, outputs))


class SplitUnit(nn.Module):
    """Half of the channels pass as they are, half through 1x1, depthwise 3x3 and 1x1; then both are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = _branch(half, half, half, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps of the shape of ``x``."""
        kept, worked = x.chunk(2, dim=1)
        return channel_shuffle(torch.cat([kept, self.branch(worked)], dim=1), 2)


class DownUnit(nn.Module):
    """Both branches see all channels and halve the resolution; ``projected`` of the outputs come from the shorter one."""

    def __init__(self, inputs: int, outputs: int, projected: int) -> None:
        super().__init__()
        self.projection = nn.Sequential(depthwise_bn(inputs, 2, activation=None), conv_bn(inputs, projected))
        self.branch = _branch(inputs, outputs // 2, outputs - projected, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps ``(N, outputs, H / 2, W / 2)``."""
        return channel_shuffle(torch.cat([self.projection(x), self.branch(x)], dim=1), 2)


class ShuffleNetV2(nn.Module):
    """ShuffleNetV2 with ``stage`` channels in the first of three stages, doubled in each later one; ``head`` in the last convolution."""

    def __init__(
        self, stem: int, stage: int, head: int, classes: int, channels_in: int, small_input: bool, halves: bool, bias: bool, dropout: float
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_bn(channels_in, stem, 3, 1 if small_input else 2)]
        if not small_input:
            layers.append(nn.MaxPool2d(3, 2, 1))
        inputs = stem
        for index, repeats in enumerate(_REPEATS):
            outputs = stage * 2**index
            layers.append(DownUnit(inputs, outputs, outputs // 2 if halves else inputs))
            layers += [SplitUnit(outputs) for _ in range(repeats - 1)]
            inputs = outputs
        self.features = nn.Sequential(*layers, conv_bn(inputs, head))
        self.classifier = pooled_classifier(head, classes, bias, dropout)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, channels_in, H, W)``."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


def shufflenet_v2(
    width: float = 1.0,
    classes: int = 1000,
    channels_in: int = 3,
    small_input: bool = False,
    *,
    halves: bool = False,
    head: int | None = None,
    bias: bool = False,
) -> ShuffleNetV2:
    """ShuffleNetV2 of the paper's widths 0.5, 1, 1.5 and 2, and of others in between by interpolation (Ma 2018, arXiv:1807.11164).

    By default the official network (megvii-model/ShuffleNet-Series). ``small_input``: the first convolution gets stride 1 and the max
    pooling after it is left out; the total stride is 8 instead of 32.

    Args:
        width: The paper's name of a list of channels; a name, and not quite a factor.
        classes: Number of logits.
        channels_in: Channels of the image.
        small_input: Keep the resolution of small images for longer, as said above.
        halves: How the two branches of a unit with stride 2 share the outputs: half and half, as in torchvision and pytorchcv's
            ``shufflenetv2``; or the projection keeps the number of its inputs, as in the official code (24 + 92 in the first stage of
            width 1) and pytorchcv's ``shufflenetv2b``.
        head: Channels of the last convolution. The paper has 1024, and 2048 from width 2 on; pytorchcv has 1553 at width 1.5 and 2153
            at width 2, which is 1024 times the channels of a stage over those of width 1, rounded down.
        bias: Whether the classifier has a bias. The official code has none, torchvision and pytorchcv have one.
    """
    check_positive(width=width, classes=classes, channels_in=channels_in)
    if head is None:
        head = 2048 if width >= 2 else 1024
    check_positive(head=head)
    stage = make_divisible(np.interp(width, _WIDTHS, _STAGE_CHANNELS) if width < 2 else _STAGE_CHANNELS[-1] * width / 2, 2)
    # below width 0.5 the projection must leave channels for the other branch
    stem = min(_STEM, stage // 2)
    dropout = 0.2 if width >= 2 else 0.0
    return ShuffleNetV2(stem, stage, head, classes, channels_in, small_input, halves, bias, dropout)
