"""MobileNetV2, a chain of inverted residual blocks with linear bottlenecks (Sandler 2018, arXiv:1801.04381)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from nas.models.layers import check_positive, conv_bn, depthwise_bn, init_weights, make_divisible, pooled_classifier


class Stage(NamedTuple):
    """Blocks that share their expansion and their output channels; the first of them has the stride."""

    expansion: int
    channels: int
    repeats: int
    stride: int


_STEM, _HEAD = 32, 1280
_STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """Expand the channels, filter each on its own, project them without activation; added to the input where the shapes are equal."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, expand: bool) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers = [conv_bn(inputs, hidden, activation=nn.ReLU6)] if expand else []
        layers += [depthwise_bn(hidden, stride, nn.ReLU6), conv_bn(hidden, outputs, activation=None)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps ``(N, outputs, H / stride, W / stride)``."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """MobileNetV2 of the given stages between a first convolution of ``stem`` and a last one of ``head`` channels."""

    def __init__(
        self,
        stem: int,
        stages: Sequence[Stage],
        head: int,
        classes: int,
        channels_in: int,
        small_input: bool,
        expand_first: bool,
        bias: bool,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_bn(channels_in, stem, 3, 1 if small_input else 2, activation=nn.ReLU6)]
        inputs = stem
        for stage in stages:
            for repeat in range(stage.repeats):
                expand = expand_first or stage.expansion > 1
                layers.append(InvertedResidual(inputs, stage.channels, 1 if repeat else stage.stride, stage.expansion, expand))
                inputs = stage.channels
        self.features = nn.Sequential(*layers, conv_bn(inputs, head, activation=nn.ReLU6))
        self.classifier = pooled_classifier(head, classes, bias, dropout=0.2)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, channels_in, H, W)``."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


def mobilenet_v2(
    width: float = 1.0,
    classes: int = 1000,
    channels_in: int = 3,
    small_input: bool = False,
    *,
    depth: float = 1.0,
    fixed_ends: bool = False,
    divisor: int = 8,
    expand_first: bool = False,
    bias: bool = True,
) -> MobileNetV2:
    """MobileNetV2 with all channels times ``width`` (Sandler 2018, arXiv:1801.04381), by default equal to torchvision's.

    ``small_input``: the first convolution and the first block with stride 2 (16 to 24 channels) get stride 1; the total stride is 8
    instead of 32.

    Args:
        width: Factor of the channels; the last convolution never has fewer than 1280.
        classes: Number of logits.
        channels_in: Channels of the image.
        small_input: Keep the resolution of small images for longer, as said above.
        depth: Factor of the repeats of the stages, rounded up, but for the first and the last stage of one block each. timm's
            ``mobilenetv2_110d`` has width 1.1 and depth 1.2, its ``mobilenetv2_120d`` 1.2 and 1.4, both with ``fixed_ends``.
        fixed_ends: The first and the last convolution keep 32 and 1280 channels at any width.
        divisor: Channels are rounded to a multiple of it. The official code, torchvision and timm have 8, pytorchcv has 1.
        expand_first: Whether the block whose factor is 1 has an expanding convolution all the same, as in pytorchcv's ``mobilenetv2``
            (its ``mobilenetv2b`` has none).
        bias: Whether the classifier has a bias; pytorchcv's has none.
    """
    check_positive(width=width, classes=classes, channels_in=channels_in, depth=depth, divisor=divisor)
    stem, head = (
        (_STEM, _HEAD) if fixed_ends else (make_divisible(_STEM * width, divisor), make_divisible(_HEAD * max(1.0, width), divisor))
    )
    stages = []
    for index, (expansion, channels, repeats, stride) in enumerate(_STAGES):
        inner = 0 < index < len(_STAGES) - 1
        repeats = math.ceil(repeats * depth) if inner else repeats
        stride = 1 if small_input and index == 1 else stride
        stages.append(Stage(expansion, make_divisible(channels * width, divisor), repeats, stride))
    return MobileNetV2(stem, stages, head, classes, channels_in, small_input, expand_first, bias)
