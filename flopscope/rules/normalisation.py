"""Normalisation layers.

Normalising an element takes 2 operations (subtract the mean, multiply by 1/std), the affine map 1 per weight and 1 per bias. Statistics,
where they are computed, take 4 per element (add for the mean; subtract, square and add for the variance) and 4 per group (two divisions,
add eps, 1/sqrt).
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, prod, rule


def _affine(op: Signature) -> int:
    return sum(op.get(name) is not None for name in ("weight", "bias"))


@rule(
    "batch_norm",
    "batch_norm_inference",
    flops="2 per element, 1 each for weight and bias; with batch statistics 4 more per element, 4 per channel; else 2 per channel",
    source="Ioffe & Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2",
)
def batch_norm(op: Signature) -> Cost:
    """``[n, c, *] = batch_norm([n, c, *], [c]?, [c]?, [c]?, [c]?)``."""
    x = op["input"]
    channels = x.shape[1] if len(x.shape) > 1 else x.elements
    training = op.get("training", op.get("train", "with_update" in op.target))
    uses_batch = op.kind == "batch_norm" and (training or op.get("running_mean") is None)
    statistics = 4 * x.elements + 4 * channels if uses_batch else 2 * channels
    return count(op, other=(2 + _affine(op)) * x.elements + statistics, writes=[(x.elements, op.output)])


@rule(
    "instance_norm",
    flops="6 per element, 1 each for weight and bias, 4 per instance",
    source="Ulyanov et al. 2016, arXiv:1607.08022, eq. 2",
)
def instance_norm(op: Signature) -> Cost:
    """``[n, c, *] = instance_norm([n, c, *], [c]?, [c]?)``; with running statistics instead of its own, as a batch norm."""
    x = op["input"]
    batch, channels = x.shape[0], x.shape[1]
    statistics = 4 * x.elements + 4 * batch * channels if op.get("use_input_stats", True) else 2 * channels
    return count(op, other=(2 + _affine(op)) * x.elements + statistics)


def layer_norm_flops(elements: int, groups: int, affine: int) -> int:
    """Operations to normalise ``elements`` in ``groups`` with statistics of their own, and to apply ``affine`` maps."""
    return (6 + affine) * elements + 4 * groups


@rule("layer_norm", flops="6 per element, 1 each for weight and bias, 4 per row", source="Ba et al. 2016, arXiv:1607.06450, eq. 3")
def layer_norm(op: Signature) -> Cost:
    """``[*, d] = layer_norm([*, d], [d]?, [d]?)``."""
    x = op["input"]
    rows = prod(x.shape[: len(x.shape) - len(op["normalized_shape"])])
    return count(op, other=layer_norm_flops(x.elements, rows, _affine(op)), writes=[(x.elements, op.output)])


@rule("group_norm", flops="6 per element, 1 each for weight and bias, 4 per group", source="Wu & He 2018, arXiv:1803.08494, eq. 2")
def group_norm(op: Signature) -> Cost:
    """``[n, c, *] = group_norm([n, c, *], g, [c]?, [c]?)``."""
    x = op["input"]
    groups = x.shape[0] * op.get("num_groups", op.get("group", 1))
    return count(op, other=layer_norm_flops(x.elements, groups, _affine(op)), writes=[(x.elements, op.output)])


@rule(
    "rms_norm",
    flops="3 per element (square, add, multiply), 1 for the weight, 3 per row",
    source="Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4",
)
def rms_norm(op: Signature) -> Cost:
    """``[*, d] = rms_norm([*, d], [d]?)``."""
    x = op["input"]
    rows = prod(x.shape[: len(x.shape) - len(op["normalized_shape"])])
    return count(op, other=(3 + _affine(op)) * x.elements + 3 * rows, writes=[(x.elements, op.output)])


@rule(
    "_weight_norm",
    flops="4 per weight (square, add, and two for the scale), 2 per row",
    source="Salimans & Kingma 2016, arXiv:1602.07868, eq. 2",
)
def weight_norm(op: Signature) -> Cost:
    """``[o, *] = g * v / |v|`` with ``v: [o, *]`` and ``g: [o, 1, ..]``."""
    return count(op, other=4 * op["v"].elements + 2 * op["g"].elements, writes=[(op["v"].elements, op.output)])


@rule(
    "embedding_renorm",
    "renorm",
    flops="3 per element of the rows that are looked up (square, add, scale)",
    source="PyTorch documentation of torch.renorm",
)
def renorm(op: Signature) -> Cost:
    """``[v, d] = embedding_renorm([v, d], [l], max_norm)``: an upper bound, as if every row were too long."""
    target = op.inputs[0]
    rows = op["indices"].elements if op.kind == "embedding_renorm" else target.shape[0]
    elements = rows * prod(target.shape[1:])
    return count(op, other=3 * elements, reads=[(elements, target)], writes=[(elements, target)])
