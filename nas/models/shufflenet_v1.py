"""ShuffleNetV1, bottlenecks of grouped pointwise convolutions with a shuffle in between (Zhang 2017, arXiv:1707.01083)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flopscope.errors import OptionError
from nas.models.layers import channel_shuffle, check_positive, conv_bn, depthwise_bn, init_weights, make_divisible, pooled_classifier

_STEM = 24
_STAGE_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # of the first stage by groups; each later stage has twice as many
_REPEATS = (4, 8, 4)


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1; added to the input, or beside its average pooling where the stride is 2."""

    def __init__(self, inputs: int, outputs: int, groups: int, stride: int, first_groups: int) -> None:
        super().__init__()
        hidden = outputs // 4
        self.groups, self.stride = groups, stride
        self.compress = conv_bn(inputs, hidden, groups=first_groups)
        self.depthwise = depthwise_bn(hidden, stride, activation=None)
        self.expand = conv_bn(hidden, outputs - inputs if stride == 2 else outputs, groups=groups, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps ``(N, outputs, H / stride, W / stride)``."""
        y: Tensor = self.expand(self.depthwise(channel_shuffle(self.compress(x), self.groups)))
        if self.stride == 1:
            return F.relu(x + y)
        return F.relu(torch.cat([F.avg_pool2d(x, 3, 2, 1), y], dim=1))


class ShuffleNetV1(nn.Module):
    """ShuffleNetV1 with ``stem`` channels in the first convolution, ``stage`` in the first of three stages, doubled in each later one."""

    def __init__(self, groups: int, stem: int, stage: int, classes: int, channels_in: int, small_input: bool, bias: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_bn(channels_in, stem, 3, 1 if small_input else 2)]
        if not small_input:
            layers.append(nn.MaxPool2d(3, 2, 1))
        inputs = stem
        for index, repeats in enumerate(_REPEATS):
            outputs = stage * 2**index
            # the paper does not group the very first one, as its inputs are few
            layers.append(ShuffleUnit(inputs, outputs, groups, 2, groups if index else 1))
            layers += [ShuffleUnit(outputs, outputs, groups, 1, groups) for _ in range(repeats - 1)]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = pooled_classifier(inputs, classes, bias)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, channels_in, H, W)``."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


def shufflenet_v1(
    groups: int = 3, width: float = 1.0, classes: int = 1000, channels_in: int = 3, small_input: bool = False, *, bias: bool = False
) -> ShuffleNetV1:
    """ShuffleNetV1 with convolutions of 1, 2, 3, 4 or 8 groups and all channels times ``width`` (Zhang 2017, arXiv:1707.01083).

    The channels of the first convolution are those of the official code (megvii-model/ShuffleNet-Series): 24, fewer below width 1, 48
    from width 2 on; those of the stages are rounded to what the groups can divide. ``small_input``: the first convolution gets stride
    1 and the max pooling after it is left out; the total stride is 8 instead of 32.

    Args:
        groups: Groups of the pointwise convolutions.
        width: Factor of the channels.
        classes: Number of logits.
        channels_in: Channels of the image.
        small_input: Keep the resolution of small images for longer, as said above.
        bias: Whether the classifier has a bias. The official code has none, pytorchcv has one.
    """
    check_positive(width=width, classes=classes, channels_in=channels_in)
    if groups not in _STAGE_CHANNELS:
        raise OptionError(f"ShuffleNetV1 with groups={groups} was asked; give one of {', '.join(map(str, _STAGE_CHANNELS))}")
    stem = _STEM * int(width) if width >= 1 else math.ceil(_STEM * width / groups) * groups
    stage = make_divisible(_STAGE_CHANNELS[groups] * width, 4 * groups)
    return ShuffleNetV1(groups, stem, stage, classes, channels_in, small_input, bias)
