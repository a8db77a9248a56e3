"""Regions of interest: pooling from boxes, and the boxes themselves."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, prod, rule
from flopscope.rules.sizes import quotient


@rule(
    "torchvision::roi_align",
    "torchvision::qroi_align",
    "torchvision::ps_roi_align",
    flops="8 per bilinear sample, samples per bin = sampling_ratio^2 (4 where it is adaptive), 1 per output",
    source="He et al. 2017, arXiv:1703.06870, section 3; position-sensitive: Li et al. 2017, arXiv:1711.07264",
)
def roi_align(op: Signature) -> Cost:
    """``[k, c, ph, pw] = roi_align([n, c, h, w], [k, 5])``."""
    ratio = op.get("sampling_ratio", -1)
    samples = ratio * ratio if ratio > 0 else 4
    return count(op, other=(8 * samples + 1) * op.output.elements)


@rule(
    "torchvision::roi_pool",
    flops="1 comparison per element of a region: an upper bound, as if every region covered the image",
    source="Girshick 2015, arXiv:1504.08083, section 2.1",
)
def roi_pool(op: Signature) -> Cost:
    """``[k, c, ph, pw], argmax = roi_pool([n, c, h, w], [k, 5])``: the sizes of the regions are data."""
    _, channels, height, width = op["input"].shape
    return count(op, other=op["rois"].shape[0] * channels * height * width)


@rule(
    "torchvision::ps_roi_pool",
    flops="1 addition per element of a region in one channel, 1 division per output: an upper bound, as if every region covered the image",
    source="Dai et al. 2016, arXiv:1605.06409, eq. 1",
)
def ps_roi_pool(op: Signature) -> Cost:
    """``[k, c', ph, pw], mapping = ps_roi_pool([n, c' ph pw, h, w], [k, 5])``: each bin has a channel of its own."""
    regions, channels = op.output.shape[:2]
    _, _, height, width = op["input"].shape
    return count(op, other=regions * channels * height * width + op.output.elements)


@rule(
    "torchvision::nms",
    "torchvision::qnms",
    flops="per pair of boxes 12: intersection (4 max/min, 2 subtractions, 2 clamps, 1 product), union (2) and division",
    source="definition; every pair is compared",
)
def nms(op: Signature) -> Cost:
    """``[m] = nms([k, 4], [k], threshold)``: an upper bound, all k (k - 1) / 2 pairs; of scores ``[n, c, k]`` each class by itself."""
    boxes, scores = op.inputs[:2]
    number = boxes.shape[-2]
    return count(op, other=12 * prod(scores.shape[:-1]) * quotient(number * (number - 1), 2))
