"""Building a narrower or wider network from an existing one: the weights get other shapes, and the layers the attributes that go with them.

It knows nothing of channel groups. If the shapes do not fit together, the network does not run.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd


def resized(model: nn.Module, shapes: Mapping[str, Sequence[int]]) -> nn.Module:
    """A copy of a network whose parameters have other shapes, without data."""
    copied = copy.deepcopy(model).to("meta")
    for name, shape in shapes.items():
        path, _, attribute = name.rpartition(".")
        module = copied.get_submodule(path)
        old = module._parameters[attribute]
        assert old is not None
        module._parameters[attribute] = nn.Parameter(torch.empty(tuple(shape), dtype=old.dtype, device="meta"))
    for module in copied.modules():
        _adjust(module)
    return copied


def _adjust(module: nn.Module) -> None:
    if isinstance(module, _ConvNd) and module.groups > 1 and module.groups == module.in_channels and not module.transposed:
        module.groups = module.weight.shape[0] // (module.out_channels // module.in_channels)
    elif isinstance(module, _BatchNorm) and module.running_mean is not None:
        module.num_features = module.weight.shape[0]
        for name in ("running_mean", "running_var"):
            module._buffers[name] = torch.empty(module.num_features, device="meta")
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = module.weight.shape[0]
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(module.weight.shape)
