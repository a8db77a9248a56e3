"""The blocks of a chain."""

from __future__ import annotations

from torch import Tensor, nn

from nas.models.layers import channel_shuffle, conv_bn
from nas.spaces.chain.shape import IDENTITY, ZERO, Bottleneck, ChainShape, Slot

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6}


class Block(nn.Module):
    """An inverted bottleneck, added to its input where the chain has residuals and the shape is kept.

    Args:
        shape: of the chain.
        slot: its place.
        kind: what it is.
    """

    def __init__(self, shape: ChainShape, slot: Slot, kind: Bottleneck) -> None:
        super().__init__()
        act = ACTIVATIONS[shape.act]
        middle = slot.inputs * kind.expansion
        self.groups = kind.groups
        layers: list[nn.Module] = []
        if kind.expansion > 1 or kind.widens:
            layers.append(conv_bn(slot.inputs, middle, groups=kind.groups, activation=act))
        self.widen = nn.Sequential(*layers)
        self.filter = conv_bn(middle, middle, kind.kernel, slot.stride, middle, act)
        self.narrow = conv_bn(middle, slot.outputs, groups=kind.groups, activation=None)
        self.residual = shape.residuals and slot.keeps_shape

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps ``(N, outputs, H / stride, W / stride)``."""
        y: Tensor = self.narrow(self.filter(channel_shuffle(self.widen(x), self.groups)))
        return x + y if self.residual else y


def block(shape: ChainShape, slot: Slot, name: str) -> nn.Module:
    """The candidate of that name in a slot. A zero operation is what is left of its block: the residual.

    Raises:
        GenotypeError: there is none.
    """
    if name == ZERO and slot.keeps_shape:
        return nn.Identity()
    if name == IDENTITY and shape.rest == IDENTITY:
        return nn.Identity() if slot.keeps_shape else conv_bn(slot.inputs, slot.outputs, 1, slot.stride, activation=None)
    return Block(shape, slot, shape.bottleneck(name))


def stem(shape: ChainShape, channels_in: int) -> nn.Sequential:
    """What is before the slots."""
    act = ACTIVATIONS[shape.act]
    layers: list[nn.Module] = [conv_bn(channels_in, shape.stem, 3, shape.stem_stride, activation=act)]
    if shape.first:
        layers.append(Block(shape, Slot("first", shape.stem, shape.first, 1), Bottleneck(3, 1)))
    return nn.Sequential(*layers)


def head(shape: ChainShape, classes: int) -> nn.Sequential:
    """What is after the slots."""
    channels = shape.stages[-1].channels
    convolution = conv_bn(channels, shape.head, activation=ACTIVATIONS[shape.act])
    return nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(shape.head, classes))
