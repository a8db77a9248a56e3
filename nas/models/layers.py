"""What the hand-made networks share: layers, rounding of channels, initial weights, checks of arguments."""

from __future__ import annotations

import math

from torch import Tensor, nn

from flopscope.errors import OptionError


def conv_bn(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, activation: type[nn.Module] | None = nn.ReLU
) -> nn.Sequential:
    """A convolution without bias that keeps the resolution (up to its stride), batch normalisation, and an activation if there is one."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(outputs)]
    if activation is not None:
        layers.append(activation(inplace=True))
    return nn.Sequential(*layers)


def depthwise_bn(channels: int, stride: int = 1, activation: type[nn.Module] | None = nn.ReLU) -> nn.Sequential:
    """A 3x3 convolution of each channel on its own, batch normalisation, and an activation if there is one."""
    return conv_bn(channels, channels, 3, stride, channels, activation)


def pooled_classifier(channels: int, classes: int, bias: bool = True, dropout: float = 0.0) -> nn.Sequential:
    """The mean over all positions, whatever the resolution, dropout if asked for, and one linear layer."""
    layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(channels, classes, bias))


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave the channels of the groups, so that each group of the next convolution sees all of them (Zhang 2017, arXiv:1707.01083)."""
    return x if groups == 1 else x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of ``divisor``, or the next one where that would take more than a tenth of the channels away.

    The rule of the official MobileNetV2 code (Sandler 2018, arXiv:1801.04381), which torchvision and timm share.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def init_weights(model: nn.Module) -> None:
    """Give convolutions Kaiming's normal weights by fan out (He 2015, arXiv:1502.01852), linear layers small ones, and no bias."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            # torch's own fan of a grouped convolution counts the outputs of all groups, but an input feeds those of its group alone
            fan_out = math.prod(layer.kernel_size) * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / fan_out))
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def check_positive(**arguments: float) -> None:
    """Raise `flopscope.errors.OptionError` for the first argument that is not greater than zero."""
    for name, value in arguments.items():
        if not 0 < value < math.inf:
            raise OptionError(f"{name}={value} was asked; give a number greater than zero")
