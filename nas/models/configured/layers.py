"""The layers of a configuration.

Each is a weight (a convolution, a pooling, a linear layer, or none), with batch normalisation and an activation before or after it
(``ops_order``), as a table of plain data says. Source of the layout: Cai et al. 2019 (ProxylessNAS, arXiv:1812.00332) and their published
networks; what the tables leave open was settled by the published numbers of parameters and multiply-accumulates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from nas.errors import GenotypeError
from nas.models.layers import channel_shuffle

Config = Mapping[str, Any]
ACTIVATIONS: dict[str | None, Callable[[], nn.Module]] = {
    None: nn.Identity,
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "h_swish": lambda: nn.Hardswish(inplace=True),
}
ORDERS = ("weight_bn_act", "bn_act_weight")


class Shuffle(nn.Module):
    """Interleave the channels of groups."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """The same channels in another order."""
        return channel_shuffle(x, self.groups)


def whole(config: Config, key: str, default: int | None = None) -> int:
    """A positive whole number of a table; lists of one are what some files have.

    Raises:
        GenotypeError: it is none.
    """
    value = config.get(key, default)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if type(value) is not int or not 0 < value < 10**6:
        raise GenotypeError(f"{config.get('name', 'a layer')} has {key} = {value!r}, where a whole number above zero is needed")
    return value


def activation(name: Any) -> nn.Module:
    """The activation of that name.

    Raises:
        GenotypeError: there is none.
    """
    if name not in ACTIVATIONS:
        raise GenotypeError(f"there is no activation {name!r}; there are {', '.join(str(known) for known in ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def convolution(config: Config) -> nn.Module:
    """The weight of a ``ConvLayer``."""
    kernel, groups = whole(config, "kernel_size"), whole(config, "groups", 1)
    conv = _conv(config, whole(config, "in_channels"), whole(config, "out_channels"), kernel, groups, whole(config, "stride", 1))
    return nn.Sequential(conv, Shuffle(groups)) if config.get("has_shuffle") and groups > 1 else conv


def depthwise(config: Config) -> nn.Module:
    """The weight of a ``DepthConvLayer``: each channel on its own, then a 1x1 convolution."""
    inputs, outputs, kernel = (whole(config, key) for key in ("in_channels", "out_channels", "kernel_size"))
    spatial = _conv(config, inputs, inputs, kernel, inputs, whole(config, "stride", 1))
    return nn.Sequential(spatial, nn.Conv2d(inputs, outputs, 1, groups=whole(config, "groups", 1), bias=bool(config.get("bias"))))


def _conv(config: Config, inputs: int, outputs: int, kernel: int, groups: int, stride: int) -> nn.Conv2d:
    dilation = whole(config, "dilation", 1)
    if inputs % groups or outputs % groups:
        raise GenotypeError(f"{inputs} and {outputs} channels are no multiples of {groups} groups")
    padding = dilation * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=bool(config.get("bias")))


def pooling(config: Config) -> nn.Module:
    """The weight of a ``PoolingLayer``. With a stride of one it keeps the size."""
    kernel, stride = whole(config, "kernel_size"), whole(config, "stride", 1)
    padding = kernel // 2 if stride == 1 else 0
    match config.get("pool_type"):
        case "max":
            return nn.MaxPool2d(kernel, stride, padding)
        case "avg":
            return nn.AvgPool2d(kernel, stride, padding, count_include_pad=False)
    raise GenotypeError(f"there is no pooling {config.get('pool_type')!r}; there are max and avg")


def linear(config: Config) -> nn.Module:
    """The weight of a ``LinearLayer``."""
    return nn.Linear(whole(config, "in_features"), whole(config, "out_features"), bool(config.get("bias", True)))


_WEIGHTS: dict[str, Callable[[Config], nn.Module]] = {
    "ConvLayer": convolution,
    "DepthConvLayer": depthwise,
    "PoolingLayer": pooling,
    "LinearLayer": linear,
    "IdentityLayer": lambda _: nn.Identity(),
}


def layer_of(config: Any) -> nn.Module:
    """The layer that a table describes.

    Raises:
        GenotypeError: it describes none.
    """
    if not isinstance(config, Mapping) or config.get("name") not in _WEIGHTS:
        found = config.get("name") if isinstance(config, Mapping) else config
        raise GenotypeError(f"there is no layer {found!r}; there are {', '.join(_WEIGHTS)}")
    order = config.get("ops_order", ORDERS[0])
    if order not in ORDERS:
        raise GenotypeError(f"the order of a layer is {' or '.join(ORDERS)}, but {order!r} was found")
    is_linear = config["name"] == "LinearLayer"
    before = order == "bn_act_weight"
    channels = whole(config, ("in_" if before else "out_") + ("features" if is_linear else "channels"))
    parts: list[nn.Module] = []
    if config.get("use_bn"):
        parts.append((nn.BatchNorm1d if is_linear else nn.BatchNorm2d)(channels))
    if config.get("act_func") is not None:
        parts.append(activation(config["act_func"]))
    weight = _WEIGHTS[config["name"]](config)
    found = [*parts, weight] if before else [weight, *parts]
    return found[0] if len(found) == 1 else nn.Sequential(*found)
