"""The operations of cells (Zoph et al. 2018, arXiv:1707.07012; Liu et al. 2019, arXiv:1806.09055), each written once.

Those with weights do ReLU, convolution, batch normalisation, in this order. A supernet and the network that is trained use the same
modules: in a supernet batch normalisation has no weights (``affine=False``), and pooling is followed by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import GenotypeError

GROUPS = 4
"""Groups of the grouped convolution, or as many of them as divide the channels."""


class Zero(nn.Module):
    """No connection."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Zeros in the resolution of the output."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class Skip(nn.Identity):
    """The state itself."""


class Pool(nn.Module):
    """Maximum or average pooling over 3x3 pixels; in a supernet batch normalisation follows."""

    def __init__(self, kind: str, channels: int, stride: int, *, norm: bool) -> None:
        super().__init__()
        self.kind, self.stride = kind, stride
        self.norm = nn.BatchNorm2d(channels, affine=False) if norm else nn.Identity()

    def pooled(self, x: Tensor) -> Tensor:
        """The pooled state, before any batch normalisation. An average is over the pixels of the image, not over the border."""
        if self.kind == "max":
            return F.max_pool2d(x, 3, self.stride, 1)
        return F.avg_pool2d(x, 3, self.stride, 1, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """The pooled state."""
        out: Tensor = self.norm(self.pooled(x))
        return out


class Separable(nn.Sequential):
    """ReLU, depthwise convolution, pointwise convolution, batch normalisation."""

    def __init__(self, channels: int, kernel: int, stride: int, dilation: int, *, affine: bool) -> None:
        padding = dilation * (kernel - 1) // 2
        depthwise = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)
        pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        super().__init__(nn.ReLU(), depthwise, pointwise, nn.BatchNorm2d(channels, affine=affine))

    @property
    def parts(self) -> tuple[nn.Conv2d, nn.Conv2d, nn.BatchNorm2d]:
        """The layers with weights."""
        _, depthwise, pointwise, norm = self
        return depthwise, pointwise, norm  # type: ignore[return-value]


class SeparableChain(nn.Sequential):
    """One (dilated) or two (plain) separable convolutions; the first has the stride."""

    def __init__(self, channels: int, kernel: int, strides: Sequence[int], dilation: int = 1, *, affine: bool) -> None:
        super().__init__(*(Separable(channels, kernel, stride, dilation, affine=affine) for stride in strides))
        self.stride, self.dilation = strides[0], dilation


class ReLUConvBN(nn.Sequential):
    """ReLU, convolutions, batch normalisation."""

    def __init__(self, channels_in: int, channels: int, *convolutions: nn.Conv2d, affine: bool) -> None:
        layers = convolutions or (nn.Conv2d(channels_in, channels, 1, bias=False),)
        super().__init__(nn.ReLU(), *layers, nn.BatchNorm2d(channels, affine=affine))


class FactorizedReduce(nn.Module):
    """Halve the resolution without losing pixels: half of the channels come from the even ones, half from the odd ones."""

    def __init__(self, channels_in: int, channels: int, *, affine: bool) -> None:
        super().__init__()
        self.even = nn.Conv2d(channels_in, channels // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(channels_in, channels - channels // 2, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(channels, affine=affine)

    def reduced(self, rectified: Tensor) -> Tensor:
        """The two convolutions side by side, given the rectified state."""
        height, width = rectified.shape[-2:]
        odd = rectified[:, :, 1:, 1:]
        if height % 2 or width % 2:  # the odd pixels of an odd size are one row short
            odd = F.pad(odd, (0, width % 2, 0, height % 2))
        return torch.cat([self.even(rectified), self.odd(odd)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """The state at half the resolution (rounded up)."""
        out: Tensor = self.norm(self.reduced(F.relu(x)))
        return out


def _separable(kernel: int) -> Callable[[int, int, bool], nn.Module]:
    return lambda channels, stride, affine: SeparableChain(channels, kernel, (stride, 1), affine=affine)


def _dilated(kernel: int) -> Callable[[int, int, bool], nn.Module]:
    return lambda channels, stride, affine: SeparableChain(channels, kernel, (stride,), dilation=2, affine=affine)


def _row_and_column(length: int) -> Callable[[int, int, bool], nn.Module]:
    def build(channels: int, stride: int, affine: bool) -> nn.Module:
        row = nn.Conv2d(channels, channels, (1, length), (1, stride), (0, length // 2), bias=False)
        column = nn.Conv2d(channels, channels, (length, 1), (stride, 1), (length // 2, 0), bias=False)
        return ReLUConvBN(channels, channels, row, column, affine=affine)

    return build


def _grouped(groups_of: Callable[[int], int]) -> Callable[[int, int, bool], nn.Module]:
    def build(channels: int, stride: int, affine: bool) -> nn.Module:
        layer = nn.Conv2d(channels, channels, 3, stride, 1, groups=groups_of(channels), bias=False)
        return ReLUConvBN(channels, channels, layer, affine=affine)

    return build


_LAYERS: dict[str, Callable[[int, int, bool], nn.Module]] = {
    "none": lambda channels, stride, affine: Zero(stride),  # noqa: ARG005
    "skip_connect": lambda channels, stride, affine: Skip() if stride == 1 else FactorizedReduce(channels, channels, affine=affine),
    "sep_conv_3x3": _separable(3),
    "sep_conv_5x5": _separable(5),
    "sep_conv_7x7": _separable(7),
    "dil_conv_3x3": _dilated(3),
    "dil_conv_5x5": _dilated(5),
    "conv_7x1_1x7": _row_and_column(7),
    "conv_3x1_1x3": _row_and_column(3),
    "group_conv_3x3": _grouped(lambda channels: gcd(channels, GROUPS)),
    "depthwise_conv_3x3": _grouped(lambda channels: channels),
}
_POOLS = {"max_pool_3x3": "max", "avg_pool_3x3": "avg"}
OPERATIONS = tuple(sorted((*_LAYERS, *_POOLS)))
DARTS_OPERATIONS = (
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
)  # fmt: skip
"""The eight of DARTS, in its order."""


def operation(name: str, channels: int, stride: int, *, search: bool) -> nn.Module:
    """The operation of that name on a state of ``channels`` channels.

    Args:
        name: one of `OPERATIONS`.
        channels: of its input and its output.
        stride: 1, or 2 to halve the resolution.
        search: whether it is a candidate in a supernet, where batch normalisation has no weights.

    Raises:
        GenotypeError: there is no such operation.
    """
    if name in _POOLS:
        return Pool(_POOLS[name], channels, stride, norm=search)
    if name not in _LAYERS:
        raise GenotypeError(f"there is no operation {name!r}; there are {', '.join(OPERATIONS)}")
    return _LAYERS[name](channels, stride, not search)
