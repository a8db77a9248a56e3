"""Compares one published row with what flopscope computes. The tests and the conformance table are made of these.

A check is *equal* when the computed counts have all published digits, *listed* when they differ by what a table here says, and
*different* otherwise: also when a listed difference is gone.
"""

from __future__ import annotations

import functools
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

import flopscope
from tests.conformance import published_models
from tests.conformance.counting import count
from tests.conformance.known_differences import Counts, TimmKey, cause_of, counts_of
from tests.conformance.near_misses import excess

if TYPE_CHECKING:
    from flopscope import Report
    from tests.conformance.published_models import Build, Nearest

Status = Literal["equal", "listed", "different"]

HAS_DATA = bool(os.environ.get("FLOPSCOPE_DATA"))
ALL = os.environ.get("FLOPSCOPE_ALL") == "1"
needs_data = pytest.mark.skipif(not HAS_DATA, reason="FLOPSCOPE_DATA does not name the folder of published numbers")


@dataclass(frozen=True)
class Check:
    """One published row against the computed counts."""

    source: str
    row: str
    status: Status
    published: str
    computed: str
    reason: str = ""


def analysed(spec: str, settings: Mapping[str, Any] | None = None, inputs: Sequence[str] = ()) -> Report:
    """The report of a model of a library; every op in it is priced."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mapping deprecated model name", UserWarning)  # old names of timm, on purpose
        loaded = flopscope.load(spec, settings, inputs)
    return flopscope.analyze(loaded.model, *loaded.args, strict=True, **loaded.kwargs)


def square(side: int) -> str:
    """One image of that side, as text."""
    return f"1x3x{side}x{side}"


# -- torchvision --------------------------------------------------------------------------------------------------------------------------------


@functools.cache
def torchvision_names() -> list[str]:
    """All models of torchvision whose weights state counts."""
    from torchvision.models import get_model_weights, list_models

    return [name for name in list_models() if len(get_model_weights(name))]


FOUND: dict[str, tuple[dict[str, Any], str]] = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": ({"rpn_score_thresh": 2.0}, "no proposal"),
    "fasterrcnn_mobilenet_v3_large_fpn": ({"rpn_score_thresh": 2.0}, "no proposal"),
    "keypointrcnn_resnet50_fpn": ({"box_detections_per_img": 1}, "1000 proposals and 1 detection"),
    "maskrcnn_resnet50_fpn": ({"box_score_thresh": 2.0}, "1000 proposals and no detection"),
}
"""Detectors whose published count was measured where less was found than the model keeps: settings that find as much, and in words."""


def check_torchvision(name: str) -> Check:
    """A model against the counts in the description of its default weights: GMACs to three decimals, parameters exactly."""
    from torchvision.models import get_model_weights

    meta = get_model_weights(name).DEFAULT.meta
    settings, found = FOUND.get(name, ({}, ""))
    total = analysed(f"torchvision:{name}", settings).total
    is_equal = round(total.macs / 1e9, 3) == meta["_ops"] and total.params == meta["num_params"]
    published = f"{meta['_ops']:.3f} GMACs, {meta['num_params']:,} params"
    status: Status = "different" if not is_equal else "listed" if found else "equal"
    reason = (
        f"the published count is that of {found} (--set {' '.join(f'{key}={value}' for key, value in settings.items())})" if found else ""
    )
    return Check("torchvision weights", name, status, published, f"{total.macs:,} MACs, {total.params:,} params", reason)


# -- costs.json ---------------------------------------------------------------------------------------------------------------------------------


def cost_rows() -> dict[str, dict[str, Any]]:
    """The rows of ``costs.json`` that a model of a library corresponds to, or comes near to, by name."""
    buildable = (published_models.Build, published_models.Nearest)
    rows = [row for row in published_models.rows() if isinstance(published_models.builder_for(row), buildable)]
    named = {published_models.key_of(row): row for row in rows}
    if len(named) < len(rows):
        raise ValueError("two rows of costs.json that libraries build have the same name")
    return named


def check_cost(row: Mapping[str, Any]) -> Check:
    """A row of ``costs.json`` against its library model, in the row's own convention."""
    found = published_models.builder_for(row)
    if isinstance(found, published_models.Nearest):
        return _check_nearest(row, found)
    if not isinstance(found, published_models.Build):
        raise LookupError(f"no library builds {row['name']!r}: {found.text}")
    report = _report_of(found)
    params, macs = report.total.params, count(report, found.counting)
    stated = published_models.published(row)
    is_equal = _within(params, stated.params, stated.params_within) and _within(macs, stated.macs, stated.macs_within)
    return _cost_check(row, "equal" if is_equal else "different", params, macs)


def _check_nearest(row: Mapping[str, Any], nearest: Nearest) -> Check:
    """The nearest model must have the number that the table of mismatches states, not the published one, and differ by what its reason amounts to."""
    report = _report_of(nearest.build)
    params, macs = report.total.params, count(report, nearest.build.counting)
    stated = published_models.published(row)
    if nearest.quantity == "parameters":
        is_listed = params == nearest.computed and not _within(params, stated.params, stated.params_within)
    else:
        is_listed = _exact(nearest.computed) in (round(macs / 10**6, 2), macs / 10**6) and not _within(
            macs, stated.macs, stated.macs_within
        )
    found = excess(report, nearest.group, nearest.build.counting)
    if found is not None:
        is_listed = is_listed and _within(params - found.params, stated.params, stated.params_within)
        is_listed = is_listed and _within(macs - found.macs, stated.macs, stated.macs_within)
    return _cost_check(row, "listed" if is_listed else "different", params, macs, nearest.text)


def _cost_check(row: Mapping[str, Any], status: Status, params: int, macs: Fraction, reason: str = "") -> Check:
    stated = published_models.published(row)
    published = f"{_text(stated.macs)} MACs, {_text(stated.params)} params"
    return Check(row["source"], published_models.key_of(row), status, published, f"{_text(macs)} MACs, {params:,} params", reason)


def _report_of(build: Build) -> Report:
    settings = dict(build.kwargs)
    if build.library == "torchvision" and build.name.startswith("vit_"):
        settings.setdefault("image_size", build.input_shape[-1])
    return analysed(f"{build.library}:{build.name}", settings, ["x".join(map(str, build.input_shape))])


def _within(computed: int | Fraction, stated: int | None, most: float) -> bool:
    return stated is None or bool(abs(Fraction(computed) - stated) <= Fraction(most))


def _exact(number: float) -> Fraction:
    return Fraction(str(number))


def _text(number: int | Fraction | None) -> str:
    return "?" if number is None else f"{int(number):,}" if number == int(number) else f"{float(number):,.2f}"


# -- timm.json ----------------------------------------------------------------------------------------------------------------------------------


@functools.cache
def timm_rows() -> dict[TimmKey, dict[str, Any]]:
    """The rows of ``timm.json``, by model and image size, the smallest first."""
    if not HAS_DATA:
        return {}
    path = Path(os.environ["FLOPSCOPE_DATA"]) / "published" / "timm.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    return {(row["model"], row["img_size"]): row for row in sorted(rows, key=lambda row: float(row["gmacs"]))}


def check_timm(key: TimmKey) -> Check:
    """A row of ``timm.json``: GMACs and activations as fvcore counts them and parameters, each rounded as timm's benchmark rounds them."""
    import timm

    row = timm_rows()[key]
    if not timm.is_model(key[0]):
        return _timm_check(key, "listed", None, f"timm {timm.__version__} has no model of that name")
    report = timm_report(key)
    today = counts_of(report)
    if _has_digits(today, row):
        return _timm_check(key, "equal", today)
    if known := cause_of(key[0]):
        name, cause = known
        measured = cause.measured(key, report)
        if measured is not None and _has_digits(measured, row):
            more = ", ".join(f"{ours - theirs:+,} {what}" for what, ours, theirs in zip(Counts._fields, today, measured, strict=True))
            return _timm_check(key, "listed", today, f"{name}: {cause.reason}; today {more}")
    return _timm_check(key, "different", today)


def _has_digits(counts: Counts, row: Mapping[str, Any]) -> bool:
    found = (round(counts.macs / 1e9, 2), round(counts.activations / 1e6, 2), round(counts.params / 1e6, 2))
    return found == (row["gmacs"], row["macts_m"], row["params_m"])


def _timm_check(key: TimmKey, status: Status, found: Counts | None, reason: str = "") -> Check:
    row = timm_rows()[key]
    published = f"{row['gmacs']:.2f} GMACs, {row['macts_m']:.2f} M activations, {row['params_m']:.2f} M params"
    computed = "none" if found is None else f"{found.macs:,} as fvcore counts, {found.activations:,} activations, {found.params:,} params"
    return Check("timm.json", f"{key[0]} @{key[1]}", status, published, computed, reason)


def timm_report(key: TimmKey) -> Report:
    """The report of a row's model on a row's image size."""
    name, side = key
    settings = {"img_size": side} if timm_rows()[key]["fixed_input_size"] and side != timm_rows()[key]["default_input"][-1] else {}
    return analysed(f"timm:{name}", settings, [square(side)])
