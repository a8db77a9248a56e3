"""Primitive layers, and nothing else: the supernets and the plain networks share these definitions."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, *, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the resolution at stride one."""
    return nn.Conv2d(c_in, c_out, kernel, stride, dilation * (kernel - 1) // 2, dilation, groups, bias=False)


class ConvBN(nn.Sequential):
    """Convolution and batch norm."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(conv(c_in, c_out, kernel, stride), nn.BatchNorm2d(c_out))


class ConvBNReLU6(nn.Sequential):
    """Convolution, batch norm and ReLU6."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(conv(c_in, c_out, kernel, stride), nn.BatchNorm2d(c_out), nn.ReLU6(inplace=True))


class ReLUConvBN(nn.Sequential):
    """ReLU, convolution and batch norm."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, *, affine: bool = True) -> None:
        super().__init__(nn.ReLU(), conv(c_in, c_out, kernel, stride), nn.BatchNorm2d(c_out, affine=affine))


class DilConv(nn.Sequential):
    """A depthwise separable convolution with dilation two, as in DARTS."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        depthwise = conv(channels, channels, kernel, stride, groups=channels, dilation=2)
        super().__init__(nn.ReLU(), depthwise, conv(channels, channels, 1), nn.BatchNorm2d(channels, affine=False))


class SepConv(nn.Sequential):
    """Two depthwise separable convolutions, as in DARTS."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        layers: list[nn.Module] = []
        for step in (stride, 1):
            depthwise = conv(channels, channels, kernel, step, groups=channels)
            layers += [nn.ReLU(), depthwise, conv(channels, channels, 1), nn.BatchNorm2d(channels, affine=False)]
        super().__init__(*layers)


class FactorizedReduce(nn.Module):
    """Halves the resolution without losing pixels, as in DARTS."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.even = conv(c_in, c_out // 2, 1, 2)
        self.odd = conv(c_in, c_out // 2, 1, 2)
        self.norm = nn.BatchNorm2d(c_out, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x)
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], dim=1))


class Zero(nn.Module):
    """No connection: zeros in the resolution of the output."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x.mul(0.0) if self.stride == 1 else x[:, :, :: self.stride, :: self.stride].mul(0.0)


class MBConv(nn.Module):
    """The inverted residual of MobileNetV2, with a shortcut where input and output have one shape."""

    def __init__(self, c_in: int, c_out: int, kernel: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        self.expand = ConvBNReLU6(c_in, hidden, 1)
        self.depthwise = nn.Sequential(conv(hidden, hidden, kernel, stride, groups=hidden), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True))
        self.project = ConvBN(hidden, c_out, 1)
        self.shortcut = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class ResidualReduce(nn.Module):
    """The residual block between the stages of NAS-Bench-201, which halves the resolution."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.first = ReLUConvBN(c_in, c_out, 3, 2)
        self.second = ReLUConvBN(c_out, c_out, 3)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, 2), conv(c_in, c_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.second(self.first(x))


def steps(first: int, stages: tuple[tuple[int, int, int], ...]) -> list[tuple[int, int, int]]:
    """Input width, output width and stride of each layer of a chain of stages ``(width, layers, stride of the first)``."""
    widths = [first, *(width for width, layers, _ in stages for _ in range(layers))]
    strides = [stride if layer == 0 else 1 for _, layers, stride in stages for layer in range(layers)]
    return [(c_in, c_out, stride) for (c_in, c_out), stride in zip(pairwise(widths), strides, strict=True)]
