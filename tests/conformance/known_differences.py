"""Rows of ``published/timm.json`` whose number counts something else than the model that timm builds today, each with its measured reason.

The published numbers are fvcore's. ``excess`` is by how much ours is larger, exactly; ``explained`` finds the same amount in the ops of
the model, and ``as_measured`` makes the model that was measured, where it can still be built: its count has no excess.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from flopscope import Report


class Difference(NamedTuple):
    """Why the published number of a row is not the cost of the model of that name."""

    reason: str
    excess: int
    explained: Callable[[Report], int]
    as_measured: Callable[[str], Any] | None = None


def _batch_norm(report: Report) -> int:
    """Two per element of each batch normalisation, as fvcore counts them."""
    return sum(2 * math.prod(row.inputs[0]) for row in report.ops if row.kind == "batch_norm")


def _second_value_product(report: Report) -> int:
    """The products of scores and values in every second attention."""
    attentions = [row for row in report.ops if row.kind == "attention"]
    return sum(math.prod(row.outputs[0]) * row.inputs[1][-2] for row in attentions[1::2])


def _folded(name: str) -> Any:
    """The model with its batch normalisations folded into the convolutions."""
    import timm
    from timm.utils.model import reparameterize_model

    return reparameterize_model(timm.create_model(name).eval())


def _unfused(name: str) -> Any:
    """The model with attention written as matrix products."""
    import timm
    from timm.layers import config, set_fused_attn

    before = config._USE_FUSED_ATTN
    set_fused_attn(False)
    try:
        return timm.create_model(name).eval()
    finally:
        config._USE_FUSED_ATTN = before


_FOLDED = (
    "measured with batch normalisation folded into the convolutions (timm.utils.reparameterize_model); the parameters round to the same"
)
_INPLACE = "measured when timm built it with InplaceAbn (before 0.9), an op that fvcore does not count; today it has batch normalisation"
_DIFFERENTIAL = (
    "differential attention: fvcore counts the form without fused kernels, where one matrix of scores meets the values once; "
    "the fused form takes two attentions, each with a product with the values"
)

DIFFERENCES: dict[tuple[str, int], Difference] = {
    ("tiny_vit_5m_224", 224): Difference(_FOLDED, 11_038_720, _batch_norm, _folded),
    ("tiny_vit_11m_224", 224): Difference(_FOLDED, 11_590_656, _batch_norm, _folded),
    ("vit_dwee_patch16_reg1_gap_256", 256): Difference(_DIFFERENTIAL, 236_719_616, _second_value_product, _unfused),
    ("vit_dpwee_patch16_reg1_gap_256", 256): Difference(_DIFFERENTIAL, 270_536_704, _second_value_product, _unfused),
    ("tresnet_l_448", 448): Difference(_INPLACE, 93_427_712, _batch_norm),
    ("tresnet_xl_448", 448): Difference(_INPLACE, 120_773_632, _batch_norm),
}
