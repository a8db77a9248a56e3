"""What a search in a space of chains finds: the name of the block in each slot."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import GenotypeError
from nas.models.configured import save_config
from nas.spaces.chain.shape import ZERO, ChainShape


@dataclass(frozen=True)
class ChainArchitecture:
    """A chain.

    Attributes:
        shape: the space that it is of.
        blocks: the name of the candidate in each slot, in order.

    Raises:
        GenotypeError: there are not as many as slots, or one cannot stand where it does.
    """

    shape: ChainShape
    blocks: tuple[str, ...]

    def __post_init__(self) -> None:
        slots = list(self.shape.slots())
        if len(self.blocks) != len(slots):
            raise GenotypeError(f"a chain of {self.shape.name} has {len(slots)} blocks, but {len(self.blocks)} were given")
        for slot, name in zip(slots, self.blocks, strict=True):
            known = self.shape.candidates(slot)
            if name not in known:
                raise GenotypeError(f"the block {name!r} cannot stand in the slot {slot.name}; there can {', '.join(known)}")

    def count(self, name: str) -> int:
        """How often a candidate was taken."""
        return self.blocks.count(name)

    def __str__(self) -> str:
        return f"{self.shape.name}: {' '.join(self.blocks)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"space": self.shape.name, "blocks": list(self.blocks)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON.

        Raises:
            GenotypeError: the file cannot be written.
        """
        save_config(self.to_dict(), path)

    @classmethod
    def from_dict(cls, data: Any, shape: ChainShape) -> ChainArchitecture:
        """The chain that `to_dict` wrote, in a space.

        Raises:
            GenotypeError: it is none, or of another space.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("blocks"), list) or data.get("space") != shape.name:
            raise GenotypeError(f"a chain of {shape.name} is a table with space and blocks, but this is {str(data)[:60]}")
        return cls(shape, tuple(map(str, data["blocks"])))

    @classmethod
    def load(cls, path: str | os.PathLike[str], shape: ChainShape) -> ChainArchitecture:
        """Read what `save` wrote.

        Raises:
            GenotypeError: the file cannot be read, or holds none.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")), shape)
        except (OSError, ValueError, RecursionError) as error:
            raise GenotypeError(f"cannot read a chain from {path}: {error}") from error

    def to_net_config(self, classes: int, channels_in: int = 3) -> dict[str, Any]:
        """The network in the layout of ProxylessNAS's published ones, which `nas.models.configured` reads.

        Raises:
            GenotypeError: the layout has no form for groups, or for a 1x1 convolution as a block.
        """
        shape = self.shape
        if shape.rest != ZERO or any(each.groups > 1 or each.widens for each in shape.bottlenecks):
            raise GenotypeError(f"the layout of ProxylessNAS's networks has no form for the blocks of {shape.name}")
        blocks = []
        if shape.first:
            blocks.append(_block(shape.stem, shape.first, 3, 1, 1, shape.act, shortcut=shape.stem == shape.first))
        for slot, name in zip(shape.slots(), self.blocks, strict=True):
            if name == ZERO:
                blocks.append(
                    {"name": _RESIDUAL, "mobile_inverted_conv": {"name": "ZeroLayer", "stride": 1}, "shortcut": _shortcut(slot.inputs)}
                )
                continue
            kind = shape.bottleneck(name)
            blocks.append(
                _block(
                    slot.inputs,
                    slot.outputs,
                    kind.kernel,
                    slot.stride,
                    kind.expansion,
                    shape.act,
                    shortcut=shape.residuals and slot.keeps_shape,
                )
            )
        last = shape.stages[-1].channels
        return {
            "name": "ProxylessNASNets",
            "bn": {"momentum": 0.1, "eps": 1e-5},
            "first_conv": _conv(channels_in, shape.stem, 3, shape.stem_stride, shape.act),
            "feature_mix_layer": _conv(last, shape.head, 1, 1, shape.act),
            "classifier": {"name": "LinearLayer", "in_features": shape.head, "out_features": classes, "bias": True, "use_bn": False,
                           "act_func": None, "dropout_rate": 0, "ops_order": "weight_bn_act"},
            "blocks": blocks,
        }  # fmt: skip


_RESIDUAL = "MobileInvertedResidualBlock"


def _conv(inputs: int, outputs: int, kernel: int, stride: int, act: str) -> dict[str, Any]:
    return {"name": "ConvLayer", "kernel_size": kernel, "stride": stride, "dilation": 1, "groups": 1, "bias": False, "has_shuffle": False,
            "in_channels": inputs, "out_channels": outputs, "use_bn": True, "act_func": act, "dropout_rate": 0,
            "ops_order": "weight_bn_act"}  # fmt: skip


def _shortcut(channels: int) -> dict[str, Any]:
    plain = {"use_bn": False, "act_func": None, "dropout_rate": 0, "ops_order": "weight_bn_act"}
    return {"name": "IdentityLayer", "in_channels": channels, "out_channels": channels, **plain}


def _block(inputs: int, outputs: int, kernel: int, stride: int, expansion: int, act: str, *, shortcut: bool) -> dict[str, Any]:
    layer = {"name": "MBInvertedConvLayer", "in_channels": inputs, "out_channels": outputs, "kernel_size": kernel, "stride": stride,
             "expand_ratio": expansion, "act_func": act}  # fmt: skip
    return {"name": _RESIDUAL, "mobile_inverted_conv": layer, "shortcut": _shortcut(inputs) if shortcut else None}
