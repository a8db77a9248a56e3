"""Where a difference comes from: for a convention exactly, for a number by trying."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import nn

import flopscope
from flopscope.errors import OptionError
from flopscope.report.explain_number import parse_number

CONV = 4 * 8 * 8 * 3 * 3 * 3
OUT = 4 * 8 * 8
LINEAR = OUT * 10


@pytest.fixture(scope="module")
def report() -> flopscope.Report:
    return flopscope.analyze(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(OUT, 10)).eval(), "1x3x8x8"
    )


def test_rows_of_a_convention(report: flopscope.Report) -> None:
    found = report.explain("thop")
    assert [(row.kind, row.calls, row.amount, row.scope) for row in found.rows] == [("batch_norm", 1, 4 * OUT, "1")]  # type: ignore[union-attr]
    text = str(found)
    assert f"{CONV + LINEAR:,}" in text
    assert f"{CONV + LINEAR + 4 * OUT:,}" in text
    assert "thop 0.1.1" in text
    loaded = json.loads(found.to_json())
    assert loaded["macs"] + sum(row["difference"] for row in loaded["differences"]) == loaded["count"]
    assert found.to_markdown().startswith("| kind")


def test_a_convention_in_flops_starts_from_two_per_mac(report: flopscope.Report) -> None:
    found = report.explain("full")
    assert found.start == 2 * (CONV + LINEAR)  # type: ignore[union-attr]
    amounts = {row.kind: row.amount for row in found.rows}  # type: ignore[union-attr]
    assert amounts == {"conv": OUT, "batch_norm": 4 * OUT + 8, "relu": OUT, "linear": 10}


@pytest.mark.parametrize(
    ("text", "value", "step"),
    [
        ("4.11G", 4_110_000_000, 10**7),
        ("557M", 557_000_000, 10**6),
        ("4110000000", 4_110_000_000, 1),
        ("4,110,000,000 MACs", 4_110_000_000, 1),
        ("4.1 GFLOPs", 4_100_000_000, 10**8),
        ("1.5e9", 1_500_000_000, 10**8),
        ("0.32B", 320_000_000, 10**7),
    ],
)
def test_numbers(text: str, value: int, step: int) -> None:
    stated = parse_number(text)
    assert (stated.value, stated.step) == (value, step)
    assert stated.fits(value)
    assert stated.fits(value + step // 2)
    assert not stated.fits(value + step)


@pytest.mark.parametrize("text", ["", "fvcor", "4.11X", "G", "1e99", "4..1", "-5M"])
def test_what_is_no_number(text: str, report: flopscope.Report) -> None:
    with pytest.raises(OptionError):
        report.explain(text)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (CONV + LINEAR, "contraction"),
        (2 * (CONV + LINEAR), "contraction, times 2"),
        (CONV, "contraction - classifier"),
        (CONV + LINEAR + OUT + 10, "contraction + bias"),
        (CONV + LINEAR + 4 * OUT, "thop (MACs)"),
        (2 * CONV + 2 * OUT, "contraction - classifier + batchnorm, times 2"),
    ],
)
def test_exact_numbers(number: int, words: str, report: flopscope.Report) -> None:
    found = report.explain(str(number))
    assert words in [candidate.text for candidate in found.matches]  # type: ignore[union-attr]
    assert all(candidate.count == number for candidate in found.matches)  # type: ignore[union-attr]
    assert words in str(found)


def test_what_nothing_explains(report: flopscope.Report) -> None:
    found = report.explain("123456789")
    assert found.matches == ()  # type: ignore[union-attr]
    nearest = found.nearest[0]  # type: ignore[union-attr]
    assert f"{nearest.count:,}" in str(found)
    assert json.loads(found.to_json())["matches"] == []


@pytest.mark.parametrize(("number", "is_far"), [("0.3", True), ("91", True), ("600", False), ("123451", False), ("999M", True)])
def test_a_number_far_from_every_count_gets_one_sentence(number: str, is_far: bool, report: flopscope.Report) -> None:
    found: Any = report.explain(number)
    counts = [candidate.count for candidate in found.nearest]
    assert CONV + LINEAR == 9472
    assert is_far == all(not count / 10 <= float(parse_number(number).value) <= count * 10 for count in counts)
    for text in (found.to_text(), found.to_markdown()):
        assert ("%" not in text) == is_far
        assert ("off by more than a factor of 10" in text) == is_far
    assert ("none of" in found.to_text()) == (not is_far)


def test_other_inputs(report: flopscope.Report) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)).eval()
    small, large = flopscope.analyze(model, "1x3x8x8"), flopscope.analyze(model, "1x3x16x16")
    found = small.explain(str(4 * CONV + 40), {"1x3x16x16": large})
    assert [candidate.text for candidate in found.matches] == ["contraction, on 1x3x16x16"]  # type: ignore[union-attr]


def test_digits_decide(report: flopscope.Report) -> None:
    found = report.explain("9.5k")
    assert CONV + LINEAR == 9472
    assert "contraction" in [candidate.text for candidate in found.matches]  # type: ignore[union-attr]
    assert all(abs(Fraction(candidate.count) - 9500) <= 50 for candidate in found.matches)  # type: ignore[union-attr]


@pytest.mark.parametrize("number", [0, -3, "0.0G", float("nan"), None, "4.1 apples"])
def test_what_is_no_count_is_refused(number: Any) -> None:
    report = flopscope.analyze(torch.nn.Linear(4, 2), "3x4")
    with pytest.raises(OptionError, match=r"no count to explain|neither a convention nor a number"):
        report.explain(number)


def test_a_number_may_be_a_number() -> None:
    report = flopscope.analyze(torch.nn.Linear(4, 2, bias=False), "3x4")
    assert [match.count for match in report.explain(24).matches][:1] == [24]


def test_an_explanation_of_a_lower_bound_says_so() -> None:
    report = flopscope.analyze(lambda x: torch.ops.aten._test_functorch_fallback(x, x), "3x4")
    for answer in (report.explain("full"), report.explain("100")):
        assert "lower bound: aten::_test_functorch_fallback" in answer.to_text()
        assert answer.to_dict()["uncounted"] == ["aten::_test_functorch_fallback"]
