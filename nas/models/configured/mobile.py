"""Chains of inverted bottlenecks: ``ProxylessNASNets`` and Once-for-All's ``MobileNetV3``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import GenotypeError
from nas.models.configured.layers import Config, activation, layer_of, whole
from nas.models.layers import init_weights, make_divisible

ZERO, BOTTLENECK = "ZeroLayer", "MBInvertedConvLayer"
SQUEEZE = 4
"""Squeeze-and-excitation has this part of the channels in its middle (Howard et al. 2019, arXiv:1905.02244, 5.3)."""


class SqueezeExcite(nn.Module):
    """Scale channels by what their means say, through a bottleneck with biases (Hu et al. 2018, arXiv:1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = make_divisible(channels // SQUEEZE)
        self.reduce, self.expand = nn.Conv2d(channels, middle, 1), nn.Conv2d(middle, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The same channels, scaled."""
        scale: Tensor = F.hardsigmoid(self.expand(F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))))
        return x * scale


class InvertedBottleneck(nn.Sequential):
    """Widen by a 1x1 convolution, unless the ratio is one; filter each channel on its own; narrow by a 1x1 convolution.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel: of the convolution in the middle.
        stride: of the same.
        middle: channels in the middle.
        act: the activation, but for the last convolution, which has none.
        squeezes: whether the middle ends with squeeze-and-excitation.
        expands: whether there is the first convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        middle: int,
        act: str = "relu6",
        *,
        squeezes: bool = False,
        expands: bool = True,
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if expands:
            layers["widen"] = _normed(nn.Conv2d(inputs, middle, 1, bias=False), middle, act)
        spatial = nn.Conv2d(middle, middle, kernel, stride, kernel // 2, groups=middle, bias=False)
        layers["filter"] = _normed(spatial, middle, act)
        if squeezes:
            layers["squeeze"] = SqueezeExcite(middle)
        layers["narrow"] = _normed(nn.Conv2d(middle, outputs, 1, bias=False), outputs, None)
        super().__init__(layers)


def _normed(conv: nn.Module, channels: int, act: str | None) -> nn.Sequential:
    layers = [conv, nn.BatchNorm2d(channels)]
    return nn.Sequential(*layers) if act is None else nn.Sequential(*layers, activation(act))


def bottleneck_of(config: Config) -> nn.Module:
    """The inverted bottleneck that a table describes.

    Raises:
        GenotypeError: it describes none.
    """
    if config.get("name") != BOTTLENECK:
        raise GenotypeError(f"a block has the layer {config.get('name')!r}, where {BOTTLENECK} or {ZERO} is needed")
    inputs, ratio = whole(config, "in_channels"), config.get("expand_ratio")
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio < 10**3:
        raise GenotypeError(f"{BOTTLENECK} has the expansion {ratio!r}, where a number above zero is needed")
    middle = round(inputs * ratio) if config.get("mid_channels") is None else whole(config, "mid_channels")
    outputs, kernel, stride = (whole(config, key) for key in ("out_channels", "kernel_size", "stride"))
    act, squeezes = config.get("act_func", "relu6"), bool(config.get("use_se"))
    return InvertedBottleneck(inputs, outputs, kernel, stride, middle, act, squeezes=squeezes, expands=ratio != 1)


class Residual(nn.Module):
    """A block beside a shortcut."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """The input and what the block makes of it, added."""
        return x + self.body(x)  # type: ignore[no-any-return]


def block_of(config: Any) -> nn.Module | None:
    """The block of a ``MobileInvertedResidualBlock``; ``None`` where a zero operation leaves the shortcut alone.

    Raises:
        GenotypeError: it is none, or is a zero operation without a shortcut.
    """
    inner = config.get("mobile_inverted_conv") if isinstance(config, Mapping) else None
    if not isinstance(inner, Mapping):
        raise GenotypeError(f"a block must be a table with mobile_inverted_conv and shortcut, but is {str(config)[:60]}")
    shortcut = config.get("shortcut")
    if inner.get("name") == ZERO:
        if shortcut is None:
            raise GenotypeError("a block is a zero operation without a shortcut, so nothing would come out of it")
        return None
    body = bottleneck_of(inner)
    if shortcut is None:
        return body
    if whole(inner, "in_channels") != whole(inner, "out_channels") or whole(inner, "stride") != 1:
        raise GenotypeError("a block has a shortcut, but changes the channels or the size of what it is given")
    return Residual(body)


class MobileNetwork(nn.Module):
    """A first convolution, blocks, what widens them, pooling and a classifier.

    Attributes:
        config: what it was made from.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        blocks = config.get("blocks")
        if not isinstance(blocks, list):
            raise GenotypeError(f"blocks must be a list, but is {str(blocks)[:60]}")
        self.first = layer_of(config.get("first_conv"))
        self.blocks = nn.Sequential(*(block for entry in blocks if (block := block_of(entry)) is not None))
        self.widen = nn.Identity() if config.get("final_expand_layer") is None else layer_of(config["final_expand_layer"])
        self.pools_first = config.get("final_expand_layer") is not None
        self.mix = layer_of(config.get("feature_mix_layer"))
        self.classifier = layer_of(config.get("classifier"))
        init_weights(self)
        _set_norms(self, config.get("bn"))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, 3, H, W)``."""
        x = self.widen(self.blocks(self.first(x)))
        x = self.mix(F.adaptive_avg_pool2d(x, 1)) if self.pools_first else F.adaptive_avg_pool2d(self.mix(x), 1)
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits


def _set_norms(network: nn.Module, settings: Any) -> None:
    """The momentum and the epsilon of all normalisations."""
    if settings is None:
        return
    if not isinstance(settings, Mapping) or not all(_is_part(settings.get(key)) for key in ("momentum", "eps")):
        raise GenotypeError(f"bn must have a momentum and an eps between 0 and 1, but is {settings!r}")
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum, layer.eps = settings["momentum"], settings["eps"]


def _is_part(value: Any) -> bool:
    return isinstance(value, float) and 0 < value < 1
