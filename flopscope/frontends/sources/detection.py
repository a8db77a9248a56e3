"""Detectors of torchvision: what their published weights were trained with, and what made-up weights should find.

The second stage of an R-CNN runs on what the first one finds, so its cost depends on data. Made-up weights find nothing that means
anything; what they find here is the most that the model keeps, which does not depend on chance and is an upper bound.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def freeze_norms(model: Any) -> None:
    """Make the batch normalisations of the backbone buffers, as the builder does where it is given weights."""
    from torchvision.ops import FrozenBatchNorm2d

    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, FrozenBatchNorm2d(child.num_features))


def find_the_most(model: Any) -> tuple[int, int] | None:
    """Let an R-CNN find as much as it keeps: every anchor is a proposal, and every proposal an object of the first class.

    Returns:
        The most proposals and detections that the model keeps, or ``None`` if it is no R-CNN.
    """
    if not hasattr(model, "rpn") or not hasattr(model, "roi_heads"):
        return None
    predictor = model.roi_heads.box_predictor
    _set_to_zero(model.rpn.head.bbox_pred)
    _set_to_zero(predictor.bbox_pred)
    _set_to_zero(predictor.cls_score)
    with torch.no_grad():
        predictor.cls_score.bias[1] = 100.0  # class 0 is the background
    return int(model.rpn.post_nms_top_n()), int(model.roi_heads.detections_per_img)


def _set_to_zero(layer: nn.Module) -> None:
    for name, parameter in list(layer.named_parameters(recurse=False)):
        setattr(layer, name, nn.Parameter(torch.zeros(parameter.shape)))
