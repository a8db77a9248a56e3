"""Why a row of ``published/timm.json`` may state the cost of something else than the model that timm builds today.

The published numbers are fvcore's, of timm as it was when each row was measured. A cause says what was measured instead, as a rule that gives
the counts of any row: it explains a row only if all published digits follow from it. ``FAMILIES`` says where a cause may be at work, and
``DIFFERENCES`` names the rows that are known to have one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import flopscope

if TYPE_CHECKING:
    from flopscope import Report

TimmKey = tuple[str, int]


class Counts(NamedTuple):
    """What a row states, exactly."""

    macs: int
    activations: int
    params: int


class Cause(NamedTuple):
    """What was measured instead of today's model."""

    reason: str
    measured: Callable[[TimmKey, Report], Counts | None]
    """The counts of what was measured, from the row and the report of today's model; ``None`` where the cause cannot apply."""


def cause_of(model: str) -> tuple[str, Cause] | None:
    """The cause that rows of a model may have, with its name."""
    return next(((cause, CAUSES[cause]) for family, cause in FAMILIES.items() if model.startswith(family)), None)


def counts_of(report: Report) -> Counts:
    """The counts of a report in the conventions of the table."""
    return Counts(report.under("fvcore"), report.activations("fvcore"), report.total.params)


def _analysed(model: Any, side: int) -> Counts:
    return counts_of(flopscope.analyze(model.eval(), f"1x3x{side}x{side}"))


def _folded(key: TimmKey, report: Report) -> Counts | None:
    """The model with its branches and batch normalisations folded into the convolutions, which timm can still do, on real weights."""
    import timm
    from timm.utils.model import reparameterize_model

    if not any(row.kind == "batch_norm" for row in report.ops):
        return None
    return _analysed(reparameterize_model(timm.create_model(key[0]).eval()), key[1])


def _unfused(key: TimmKey, report: Report) -> Counts | None:
    """The model with attention written as matrix products."""
    import timm
    from timm.layers import config, set_fused_attn

    if not any(row.kind == "attention" for row in report.ops):
        return None
    before = config._USE_FUSED_ATTN
    set_fused_attn(False)
    try:
        with flopscope.building():
            model = timm.create_model(key[0])
    finally:
        config._USE_FUSED_ATTN = before
    return _analysed(model, key[1])


def _without_batch_norm(key: TimmKey, report: Report) -> Counts | None:
    """The model less two per element of each batch normalisation, as fvcore counts them."""
    norms = sum(2 * math.prod(row.inputs[0]) for row in report.ops if row.kind == "batch_norm")
    return counts_of(report)._replace(macs=report.under("fvcore") - norms)


def _with_outer_products(_: TimmKey, report: Report) -> Counts | None:
    """The model with the products of positions ``[n, 1]`` and frequencies ``[depth, heads, 1, k]`` as matrix products.

    Of such a product fvcore counts ``n * k``: it takes the elements of the first factor times the last dimension of the second.
    """
    found = [row for row in report.ops if row.kind == "mul" and len(row.inputs) == 2 and _is_outer(*row.inputs)]
    counted = sum(math.prod(row.inputs[0]) * row.inputs[1][-1] for row in found)
    written = sum(math.prod(row.outputs[0]) for row in found)
    macs, activations, params = counts_of(report)
    return Counts(macs + counted, activations + written, params) if found else None


def _is_outer(positions: tuple[int, ...], frequencies: tuple[int, ...]) -> bool:
    return len(positions) == 2 and positions[1] == 1 and len(frequencies) == 4 and frequencies[2] == 1


def _earlier_configuration(key: TimmKey, _: Report) -> Counts | None:
    """The model as timm defined it before; the definition is still there as a comment."""
    from timm.models.regnet import RegNet, RegNetCfg

    with flopscope.building():
        model = RegNet(RegNetCfg(w0=640, wa=124.47, wm=2.04, group_size=848, depth=27, se_ratio=0.25))
    return _analysed(model, key[1])


CAUSES = {
    "inplace": Cause(
        "measured when timm built TResNets with InplaceAbn (before 0.9), an op that fvcore does not count; today it is batch normalisation",
        _without_batch_norm,
    ),
    "outer": Cause(
        "mixed rotary embedding: timm took the outer products of positions and frequencies as matrix products; today it multiplies",
        _with_outer_products,
    ),
    "configuration": Cause("measured when timm defined it with other widths", _earlier_configuration),
    "unfused": Cause(
        "differential attention: fvcore counts the form without fused kernels, where one matrix of scores meets the values once; "
        "the fused form takes two attentions, each with a product with the values",
        _unfused,
    ),
    "folded": Cause(
        "measured with parallel branches and batch normalisation folded into the convolutions (timm.utils.reparameterize_model)", _folded
    ),
}

FAMILIES = {
    "efficientvit_m": "folded",
    "fastvit_": "folded",
    "ghostnetv3_": "folded",
    "levit_": "folded",
    "mobileone_": "folded",
    "repghostnet_": "folded",
    "repvgg_": "folded",
    "repvit_": "folded",
    "shvit_": "folded",
    "tiny_vit_": "folded",
    "vit_dwee_": "unfused",
    "vit_dpwee_": "unfused",
    "tresnet_": "inplace",
    "regnety_2560": "configuration",
    "vit_base_patch16_rope_mixed": "outer",
    "vit_large_patch16_rope_mixed": "outer",
    "vit_small_patch16_rope_mixed": "outer",
}
"""The one cause that a row may have whose model's name begins so: timm can fold these, for example, and whoever measured may have done so.
A family was not always measured in one go: most of its rows may be equal."""

DIFFERENCES: dict[TimmKey, str] = {
    ("shvit_s1", 224): "folded",
    ("shvit_s2", 224): "folded",
    ("shvit_s3", 224): "folded",
    ("ghostnetv3_050", 224): "folded",
    ("ghostnetv3_100", 224): "folded",
    ("ghostnetv3_130", 224): "folded",
    ("tiny_vit_5m_224", 224): "folded",
    ("tiny_vit_11m_224", 224): "folded",
    ("fastvit_mci3", 256): "folded",
    ("fastvit_mci4", 256): "folded",
    ("vit_dwee_patch16_reg1_gap_256", 256): "unfused",
    ("vit_dpwee_patch16_reg1_gap_256", 256): "unfused",
    ("tresnet_l_448", 448): "inplace",
    ("tresnet_xl_448", 448): "inplace",
    ("vit_base_patch16_rope_mixed_224", 224): "outer",
    ("vit_large_patch16_rope_mixed_224", 224): "outer",
    ("vit_large_patch16_rope_mixed_ape_224", 224): "outer",
    ("regnety_2560", 224): "configuration",
}
