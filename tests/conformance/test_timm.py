"""Rows of ``published/timm.json``: a sample of small rows of all kinds of model, or every row with ``FLOPSCOPE_ALL=1``."""

from __future__ import annotations

import pytest

from tests.conformance.checks import ALL, check_timm, needs_data, timm_rows
from tests.conformance.known_differences import CAUSES, DIFFERENCES, FAMILIES, TimmKey, cause_of

timm = pytest.importorskip("timm")

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
    ("samvit_huge_patch16", 1024),
    ("sebotnet33ts_256", 256),
    ("semobilevit_s", 256),
    ("swiftformer_l3", 224),
    ("tf_efficientnet_cc_b1_8e", 240),
    ("twins_svt_small", 224),
    ("xcit_tiny_12_p8_224_dist", 224),
)
_QUICK_DIFFERENCES: tuple[TimmKey, ...] = (
    ("ghostnetv3_050", 224),
    ("regnety_2560", 224),
    ("shvit_s1", 224),
    ("tiny_vit_5m_224", 224),
    ("tresnet_l_448", 448),
    ("vit_base_patch16_rope_mixed_224", 224),
    ("vit_dwee_patch16_reg1_gap_256", 256),
)
_ROWS = list(timm_rows()) if ALL else [*_SAMPLE, *_QUICK_DIFFERENCES]


@needs_data
@pytest.mark.parametrize("key", _ROWS, ids=lambda key: f"{key[0]}@{key[1]}")
def test_row(key: TimmKey) -> None:
    if key not in timm_rows():
        pytest.skip("this table has no such row")
    check = check_timm(key)
    if not timm.is_model(key[0]):
        assert (check.status, check.computed) == ("listed", "none"), check
    elif key in DIFFERENCES:
        assert (check.status, check.reason.partition(":")[0]) == ("listed", DIFFERENCES[key]), check
    else:
        assert check.status == "equal" or (check.status == "listed" and cause_of(key[0])), check


def test_every_known_difference_has_the_cause_of_its_family() -> None:
    assert {key: cause_of(key[0])[0] for key in DIFFERENCES} == DIFFERENCES  # type: ignore[index]
    assert set(DIFFERENCES.values()) == set(CAUSES) == set(FAMILIES.values())


@needs_data
@pytest.mark.parametrize("change", [{"gmacs": 1.83}, {"macts_m": 2.47}, {"params_m": 11.7}])
def test_a_row_with_one_other_digit_is_different(change: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"gmacs": 1.82, "macts_m": 2.48, "params_m": 11.69, "fixed_input_size": False, "default_input": [3, 224, 224]}
    rows = {("resnet18", 224): row}
    monkeypatch.setattr("tests.conformance.checks.timm_rows", lambda: rows)
    assert check_timm(("resnet18", 224)).status == "equal"
    row.update(change)
    assert check_timm(("resnet18", 224)).status == "different"
