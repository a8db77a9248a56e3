"""Networks as the configurations that ProxylessNAS and Once-for-All publish -> their blocks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flopscope.errors import FlopscopeError, InputError, OptionError
from flopscope.latency.block import BOTTLENECK, Block

_NETWORKS = ("ProxylessNASNets", "MobileNetV3")


def blocks_of_config(path: str | os.PathLike[str], image_size: int = 224, *, middle: bool | None = None) -> list[Block]:
    """The blocks of a published network, at a size of its image.

    Args:
        path: a ``.config`` file: JSON with a first convolution, inverted bottlenecks and a classifier.
        image_size: height and width of the image.
        middle: whether keys are written as Once-for-All's tables do, with the channels in the middle and ``se`` and ``hs``. By default for
            ``MobileNetV3`` only.

    Raises:
        OptionError: the file cannot be read, or is no such configuration.
    """
    if image_size < 1:
        raise OptionError(f"an image has a size of at least 1, but {image_size} was given")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("name") not in _NETWORKS:
            found = content.get("name") if isinstance(content, dict) else type(content).__name__
            raise InputError(f"it describes {found!r}, where one of {', '.join(_NETWORKS)} is needed")
        written = content["name"] == "MobileNetV3" if middle is None else middle
        return list(_blocks(content, image_size, written))
    except OSError as error:
        raise OptionError(f"cannot read a network from {path}: {error.strerror or error}") from error
    except (FlopscopeError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise OptionError(f"{path} is no network of inverted bottlenecks: {why}") from error


def image_size_of(path: str | os.PathLike[str]) -> int:
    """The size of the image in the ``.run.config`` that lies beside a network of Once-for-All.

    Raises:
        OptionError: the file cannot be read, or names no size.
    """
    try:
        size = json.loads(Path(path).read_text(encoding="utf-8"))["image_size"]
        if type(size) is not int:
            raise TypeError(f"the image size is {size!r}")
        return size
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(f"{path} names no image size: {type(error).__name__}: {error}") from error


def _blocks(content: Mapping[str, Any], image: int, middle: bool) -> Iterator[Block]:
    first = content["first_conv"]
    size = _halved(image, first["stride"])
    channels = _whole(first["out_channels"])
    yield Block("Conv", (image, image, _whole(first["in_channels"])), (size, size, channels))
    for entry in content["blocks"]:
        layer = entry["mobile_inverted_conv"]
        if layer["name"] == "ZeroLayer":  # a block that was skipped: its input is its output
            continue
        _expect(layer["in_channels"], channels)
        block = _bottleneck(layer, size, middle, skips=entry["shortcut"] is not None)
        size, channels = block.output[0], block.output[2]
        yield block
    yield from _tail(content, size, channels)


def _bottleneck(layer: Mapping[str, Any], size: int, middle: bool, *, skips: bool) -> Block:
    channels, stride = _whole(layer["in_channels"]), _whole(layer["stride"])
    wide = layer.get("mid_channels")
    expand = layer["expand_ratio"]
    if middle:
        expand = round(channels * expand) if wide is None else wide
    elif wide not in (None, channels * expand):
        raise InputError(f"{wide} channels in the middle are not {expand} times {channels}, and this table names blocks by the ratio")
    after = _halved(size, stride)
    inside = {"se": int(bool(layer.get("use_se"))), "hs": int(layer.get("act_func") == "h_swish")} if middle else {}
    source, target = (size, size, channels), (after, after, _whole(layer["out_channels"]))
    return Block(BOTTLENECK, source, target, _whole(expand), _whole(layer["kernel_size"]), stride, int(skips), **inside)


def _tail(content: Mapping[str, Any], size: int, channels: int) -> Iterator[Block]:
    """What follows the bottlenecks. Once-for-All's third version pools before its last convolution, which its tables list apart."""
    expansion = content.get("final_expand_layer")
    mixing, classes = content["feature_mix_layer"], _whole(content["classifier"]["out_features"])
    final = (expansion or mixing)["in_channels"]
    _expect(final, channels)
    if expansion is None:
        channels = _whole(mixing["out_channels"])
        yield Block("Conv_1", (size, size, final), (size, size, channels))
        yield Block("Logits", (size, size, channels), (classes,))
        return
    wide, channels = _whole(expansion["out_channels"]), _whole(mixing["out_channels"])
    yield Block("Conv_1", (size, size, final), (size, size, wide))
    yield Block("AvgPool2D", (size, size, wide), (1, 1, wide))
    yield Block("Conv_2", (1, 1, wide), (1, 1, channels))
    yield Block("Logits", (1, 1, channels), (classes,))


def _halved(size: int, stride: Any) -> int:
    return -(-size // _whole(stride))


def _whole(value: Any) -> int:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if type(value) is not int or not 0 < value < 10**6:
        raise InputError(f"{value!r} is no size")
    return value


def _expect(given: Any, channels: int) -> None:
    if _whole(given) != channels:
        raise InputError(f"a layer takes {given!r} channels, where the one before it makes {channels}")
