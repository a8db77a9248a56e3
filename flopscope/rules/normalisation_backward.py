"""Gradients of normalisation layers.

With x' = (x - mean) / std, of 2 operations per element: the gradients of weight and bias are sums of g x' and of g, 2 and 1 per element, and the
gradient of x is w / std (g - mean(g) - x' mean(g x')), which needs the same two sums, and 4 per element after them.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, prod, rule

_NORMALISED, _SUM, _SUM_OF_PRODUCTS, _INPUT = 2, 1, 2, 4


def _wanted(op: Signature) -> tuple[bool, bool, bool]:
    """Which of the gradients of input, weight and bias are computed."""
    of_input, of_weight, *of_bias = op.get("output_mask", (True, True, True))
    return bool(of_input), bool(of_weight), any(of_bias)


_BATCH_SOURCE = "Ioffe & Szegedy 2015, arXiv:1502.03167, section 3, the chain rule"


@rule(
    "native_batch_norm_backward", "batch_norm_backward", "cudnn_batch_norm_backward", "miopen_batch_norm_backward", "_batch_norm_impl_index_backward",
    flops="with batch statistics 9 per element (5 for the sums alone), 4 per channel; else 1 for the input, 4 for the weight, 1 for the bias; 2 per channel",
    source=_BATCH_SOURCE,
)  # fmt: skip
def batch_norm_backward(op: Signature) -> Cost:
    """``[n, c, *], [c], [c] = batch_norm_backward([n, c, *], [n, c, *], [c])``."""
    x = op["input"]
    of_input, of_weight, of_bias = _wanted(op)
    if op.get("train", op.get("update", True)):
        per_element = _NORMALISED + _SUM_OF_PRODUCTS + _SUM + (_INPUT if of_input else 0)
        return count(op, other=per_element * x.elements + 4 * x.shape[1])
    per_element = of_input + (_NORMALISED + _SUM_OF_PRODUCTS if of_weight else 0) + of_bias
    return count(op, other=per_element * x.elements + 2 * x.shape[1])


@rule(
    "native_layer_norm_backward", "native_group_norm_backward",
    flops="9 per element, 1 for a weight; 2 more for the gradient of the weight, 1 for that of the bias; 4 per row or group",
    source="Ba et al. 2016, arXiv:1607.06450, eq. 3; Wu & He 2018, arXiv:1803.08494, eq. 2; derived",
)  # fmt: skip
def layer_norm_backward(op: Signature) -> Cost:
    """``[*, d], [d], [d] = layer_norm_backward([*, d], [*, d], ...)``; of a group norm, the groups are the rows."""
    x = op["input"]
    rows = op["mean"].elements
    of_input, of_weight, of_bias = _wanted(op)
    weighted = op.get("weight") is not None
    per_element = _NORMALISED if of_input or of_weight else 0
    if of_input:
        per_element += _SUM + _SUM_OF_PRODUCTS + _INPUT + weighted
    per_element += (_SUM_OF_PRODUCTS if of_weight else 0) + (_SUM if of_bias else 0)
    return count(op, other=per_element * x.elements + (4 * rows if of_input else 0))


@rule(
    "_fused_rms_norm_backward",
    flops="6 per element, 1 for a weight, 2 per row; 2 more for the gradient of the weight",
    source="Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4, derived: (w g - x' mean(w g x')) / rms",
)
def rms_norm_backward(op: Signature) -> Cost:
    """``[*, d], [d] = rms_norm_backward([*, d], [*, d], ...)``."""
    x = op["input"]
    rows = prod(x.shape[: len(x.shape) - len(op["normalized_shape"])])
    of_input, of_weight, _ = _wanted(op)
    weighted = op.get("weight") is not None
    per_element = 1 if of_input or of_weight else 0
    per_element += (_SUM_OF_PRODUCTS + 3 + weighted if of_input else 0) + (_SUM_OF_PRODUCTS if of_weight else 0)
    return count(op, other=per_element * x.elements + (2 * rows if of_input else 0))


@rule(
    "_weight_norm_interface_backward", "_weight_norm_differentiable_backward",
    flops="5 per weight: the sum of g v, and s (g - v sum / |v|^2); 4 per row", source="Salimans & Kingma 2016, arXiv:1602.07868, eq. 3",
)  # fmt: skip
def weight_norm_backward(op: Signature) -> Cost:
    """``[o, *], [o, 1, ..] = weight_norm_backward([o, *], [o, *], [o, 1, ..], [o, 1, ..])``."""
    return count(op, other=5 * op["saved_v"].elements + 4 * op["saved_g"].elements)


# -- batch norm in pieces, as processes that share statistics compute it -------------------------------------------------------


@rule(
    "batch_norm_stats",
    "batch_norm_update_stats",
    flops="4 per element, 4 per channel",
    source="Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1",
)
def statistics(op: Signature) -> Cost:
    """``[c], [c] = stats([n, c, *])``."""
    x = op["input"]
    return count(op, other=4 * x.elements + 4 * x.shape[1])


@rule(
    "batch_norm_gather_stats", "batch_norm_gather_stats_with_counts",
    flops="8 per process and channel: variance and count from 1/std (3), difference of means, its square times the counts, sums (5)",
    source="Chan, Golub & LeVeque 1983, pairwise combination of variances",
)  # fmt: skip
def gather_statistics(op: Signature) -> Cost:
    """``[c], [c] = gather([n, c, *], [p, c], [p, c])`` of p processes."""
    return count(op, other=8 * op["mean"].elements, reads=[(type.elements, type) for type in op.read[1:]])


@rule("batch_norm_elemt", flops="2 per element, 1 each for weight and bias", source="Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1")
def normalise_elements(op: Signature) -> Cost:
    """``[n, c, *] = elemt([n, c, *], [c]?, [c]?, [c], [c])``."""
    affine = sum(op.get(name) is not None for name in ("weight", "bias"))
    return count(op, other=(2 + affine) * op["input"].elements)


@rule("batch_norm_backward_reduce", flops="5 per element: x', and the sums of g and g x'", source=_BATCH_SOURCE)
def backward_sums(op: Signature) -> Cost:
    """``[c], [c], [c], [c] = backward_reduce([n, c, *], [n, c, *], [c], [c])``."""
    return count(op, other=5 * op["input"].elements)


@rule(
    "batch_norm_backward_elemt", flops="5 per element: (x - mean) b, g - a, their difference, a scale; 4 per channel", source=_BATCH_SOURCE
)
def backward_elements(op: Signature) -> Cost:
    """``[n, c, *] = backward_elemt([n, c, *], [n, c, *], [c], [c], ...)``."""
    x = op["input"]
    return count(op, other=5 * x.elements + 4 * x.shape[1])
