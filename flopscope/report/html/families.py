"""The families that a page draws ops in: the files of the rules, put into the few groups that an eye can tell apart."""

from __future__ import annotations

from typing import Final

from flopscope.graph import Signature
from flopscope.rules import rule_for

FAMILIES: Final = {
    "convolution": "Convolution",
    "matmul": "Matrix product",
    "attention": "Attention",
    "normalisation": "Normalisation",
    "elementwise": "Elementwise",
    "reduction": "Reduction, pooling",
    "movement": "Movement, views",
    "other": "Other",
    "uncounted": "Not counted",
}
"""Their names for people, by key, in the order in which they are listed."""

_GROUPS: Final = {
    "convolution": "convolution contraction_backward",
    "matmul": "matmul einsum packed_weights linalg sparse recurrent recurrent_kernels fourier quantized",
    "attention": "attention attention_kernels linear_attention",
    "normalisation": "normalisation normalisation_backward statistics",
    "elementwise": "activation activation_backward elementwise foreach loss loss_backward quantization complex_numbers",
    "reduction": "reduction pooling softmax resampling sorting",
    "movement": "movement movement_backward layouts costless registry draw regions communication",
}
_GROUP_OF: Final = {file: group for group, files in _GROUPS.items() for file in files.split()}


def family_of(signature: Signature) -> str:
    """The key of the family that an op belongs to, by the rule that prices it."""
    rule = rule_for(signature)
    return "uncounted" if rule is None else _GROUP_OF.get(rule.family, "other")
