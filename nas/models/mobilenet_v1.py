"""MobileNetV1, a chain of depthwise separable convolutions (Howard 2017, arXiv:1704.04861)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nas.models.layers import check_positive, conv_bn, depthwise_bn, init_weights, pooled_classifier

_STEM = 32
_CHANNELS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
_STRIDES_SMALL = (1, 1, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
_FEWEST_CHANNELS = 8


class MobileNetV1(nn.Module):
    """MobileNetV1 with the given channels: those of the first convolution, then those of each of the 13 blocks."""

    def __init__(self, channels: Sequence[int], classes: int, channels_in: int, small_input: bool) -> None:
        super().__init__()
        layers = [conv_bn(channels_in, channels[0], 3, 1 if small_input else 2)]
        strides = _STRIDES_SMALL if small_input else _STRIDES
        for inputs, outputs, stride in zip(channels, channels[1:], strides, strict=False):
            layers += [depthwise_bn(inputs, stride), conv_bn(inputs, outputs)]
        self.features = nn.Sequential(*layers)
        self.classifier = pooled_classifier(channels[-1], classes)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, channels_in, H, W)``."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


def mobilenet_v1(width: float = 1.0, classes: int = 1000, channels_in: int = 3, small_input: bool = False) -> MobileNetV1:
    """MobileNetV1 with all channels times ``width`` (Howard 2017, arXiv:1704.04861).

    Channels are rounded down, to no fewer than 8, as in the official code (tensorflow/models, slim). ``small_input``: the first
    convolution and the first block with stride 2 (64 to 128 channels) get stride 1; the total stride is 8 instead of 32.
    """
    check_positive(width=width, classes=classes, channels_in=channels_in)
    channels = [max(int(count * width), _FEWEST_CHANNELS) for count in (_STEM, *_CHANNELS)]
    return MobileNetV1(channels, classes, channels_in, small_input)
