"""Families of ops that reach about the same part of a device's ceilings."""

from __future__ import annotations

import math
from typing import Final

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules import rule_for

FAMILIES: Final = (
    "conv", "conv1x1", "depthwise", "grouped", "matmul", "attention", "elementwise", "norm", "reduction", "pooling", "movement",
)  # fmt: skip
CONTRACTIONS: Final = ("conv", "conv1x1", "depthwise", "grouped", "matmul", "attention")
"""Those whose arithmetic can bind. The others are bound by memory on any device."""
FUSIBLE: Final = ("elementwise", "norm", "reduction", "movement")
"""What a compiler such as TorchInductor makes one kernel of, where one follows the other."""

_BY_RULE_FAMILY = {
    "attention": "attention", "attention_kernels": "attention", "linear_attention": "attention",
    "normalisation": "norm", "normalisation_backward": "norm",
    "pooling": "pooling", "resampling": "pooling",
    "movement": "movement", "movement_backward": "movement", "layouts": "movement", "sparse": "movement", "sorting": "movement",
    "reduction": "reduction", "softmax": "reduction", "statistics": "reduction", "loss": "reduction", "loss_backward": "reduction",
}  # fmt: skip


def family_of(signature: Signature, cost: Cost) -> str:
    """The family of an op with a known cost."""
    weight = signature.get("weight")
    if signature.kind.startswith("conv") and weight is not None and len(weight.shape) > 2:
        return _convolution(signature)
    rule = rule_for(signature)
    found = _BY_RULE_FAMILY.get(rule.family if rule else "")
    return found or ("matmul" if cost.macs else "elementwise")


def _convolution(signature: Signature) -> str:
    shape, groups = signature["weight"].shape, signature.get("groups", 1)
    if groups > 1:
        per_group = min(shape[1], max(1, shape[0] // groups))
        return "depthwise" if per_group == 1 else "grouped"
    return "conv1x1" if math.prod(shape[2:]) == 1 else "conv"
