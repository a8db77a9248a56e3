"""Rows of ``published/timm.json``: a sample of all kinds of model, or every row of up to 5 GMACs with ``FLOPSCOPE_ALL=1``."""

from __future__ import annotations

import pytest

import flopscope
from tests.conformance.checks import ALL, HAS_DATA, TimmKey, check_timm, is_explained, needs_data, square, timm_keys, timm_report
from tests.conformance.known_differences import DIFFERENCES

pytest.importorskip("timm")

MOST_GMACS = 5.0

_SAMPLE: tuple[TimmKey, ...] = (
    ("caformer_s18", 224),
    ("cait_xxs36_224", 224),
    ("coat_lite_small", 224),
    ("convnextv2_pico", 288),
    ("davit_tiny", 224),
    ("densenet121", 288),
    ("edgenext_small_rw", 320),
    ("efficientformerv2_l", 224),
    ("efficientnet_b3_g8_gn", 320),
    ("efficientvit_b1", 288),
    ("fastvit_mci1", 256),
    ("ghostnetv2_160", 224),
    ("gluon_resnet50_v1d", 224),
    ("gmlp_s16_224", 224),
    ("halonet_h1", 256),
    ("hrnet_w18", 224),
    ("levit_256d", 224),
    ("mambaout_tiny", 224),
    ("maxvit_rmlp_nano_rw_256", 256),
    ("mobilenetv4_hybrid_large_075", 256),
    ("nf_regnet_b4", 384),
    ("resnest50d_4s2x40d", 224),
    ("sam2_hiera_tiny", 224),
    ("sebotnet33ts_256", 256),
    ("swiftformer_l3", 224),
    ("tf_efficientnet_cc_b1_8e", 240),
    ("twins_svt_small", 224),
    ("xcit_tiny_12_p8_224_dist", 224),
)
_ROWS = timm_keys(MOST_GMACS) if ALL and HAS_DATA else [*_SAMPLE, *DIFFERENCES]


def _name_of(key: TimmKey) -> str:
    return f"{key[0]}@{key[1]}"


@needs_data
@pytest.mark.parametrize("key", _ROWS, ids=_name_of)
def test_row(key: TimmKey) -> None:
    check = check_timm(key)
    assert check.status == ("listed" if key in DIFFERENCES else "equal"), check


@needs_data
@pytest.mark.parametrize("key", list(DIFFERENCES), ids=_name_of)
def test_a_listed_difference_is_exactly_what_its_reason_says(key: TimmKey) -> None:
    difference, report = DIFFERENCES[key], timm_report(key)
    assert is_explained(report, difference)
    if difference.as_measured is not None:
        measured = flopscope.analyze(difference.as_measured(key[0]), square(key[1]))
        assert measured.under("fvcore") == report.under("fvcore") - difference.excess
        assert round(measured.total.params / 1e6, 2) == round(report.total.params / 1e6, 2)
