"""SqueezeNet, fire modules that squeeze the channels before they expand them (Iandola 2016, arXiv:1602.07360)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flopscope.errors import OptionError
from nas.models.layers import check_positive


class Version(NamedTuple):
    """What tells the published versions apart: the first convolution, and after how many fire modules the resolution is halved."""

    stem: int
    kernel: int
    pooled: tuple[int, ...]


_VERSIONS = {"1.0": Version(96, 7, (0, 3, 7)), "1.1": Version(64, 3, (0, 2, 4))}
_SQUEEZED = (16, 16, 32, 32, 48, 48, 64, 64)  # by fire module; each expands to four times as many twice, 1x1 beside 3x3


class Fire(nn.Module):
    """Squeeze with 1x1, expand with 1x1 and 3x3 side by side."""

    def __init__(self, inputs: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1 = nn.Conv2d(squeezed, 4 * squeezed, 1)
        self.expand3 = nn.Conv2d(squeezed, 4 * squeezed, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps ``(N, 8 * squeezed, H, W)``."""
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1(x), self.expand3(x)], dim=1))


class SqueezeNet(nn.Module):
    """SqueezeNet of one version."""

    def __init__(self, version: Version, classes: int, channels_in: int, small_input: bool) -> None:
        super().__init__()
        stride, padding = (1, version.kernel // 2) if small_input else (2, 0)
        layers: list[nn.Module] = [nn.Conv2d(channels_in, version.stem, version.kernel, stride, padding), nn.ReLU(inplace=True)]
        inputs = version.stem
        for index, squeezed in enumerate(_SQUEEZED):
            if index in version.pooled:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            layers.append(Fire(inputs, squeezed))
            inputs = 8 * squeezed
        self.features = nn.Sequential(*layers)
        self.last = nn.Conv2d(inputs, classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(0.5), self.last, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self._init_weights()

    def _init_weights(self) -> None:
        # by fan in, and not as elsewhere by fan out: without normalisation the signal itself must keep its size on its way forward
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.last.weight, 0.0, 0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, channels_in, H, W)``."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


def squeezenet(version: str = "1.1", classes: int = 1000, channels_in: int = 3, small_input: bool = False) -> SqueezeNet:
    """SqueezeNet 1.0 of the paper, or the cheaper 1.1 of its authors (Iandola 2016, arXiv:1602.07360).

    Parameters and MACs are torchvision's and pytorchcv's. The original also has a ReLU on the last convolution; it is left out, as it
    lets the logit of a class die for good when the network is trained from scratch.

    ``small_input``: the first convolution gets stride 1 and a padding that keeps the resolution. As SqueezeNet halves the resolution
    four times in all, the three max poolings stay; the total stride is 8 instead of 16.
    """
    check_positive(classes=classes, channels_in=channels_in)
    if version not in _VERSIONS:
        raise OptionError(f"SqueezeNet version {version!r} was asked; give one of {', '.join(map(repr, _VERSIONS))}")
    return SqueezeNet(_VERSIONS[version], classes, channels_in, small_input)
