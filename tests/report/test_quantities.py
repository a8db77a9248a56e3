"""Amounts are read strictly, and written so that they can be read."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopscope.errors import OptionError
from flopscope.report.quantities import parse_bytes, parse_count, parse_tolerance, percent


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0), ("300774272", 300_774_272), ("300M", 300_000_000), ("4.1G", 4_100_000_000), ("1.5k", 1500), ("1.5K", 1500),
        ("2T", 2 * 10**12), ("1P", 10**15), ("1E", 10**18), (" 3 M ", 3_000_000), ("0.000001M", 1), ("1.0", 1),
    ],
)  # fmt: skip
def test_counts(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "text",
    ["", "M", "-3M", "+3M", "3 Mi", "300m", "3MB", "3B", "1e6", "1,000", "1_000", "0x10", "1.5", "0.0001k", "3M3", "nan", "inf", "٣M", ".5M", "5.M", "3MM", "1/2"],
)  # fmt: skip
def test_other_counts_are_refused(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_count(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0), ("52428800", 52_428_800), ("50MB", 50_000_000), ("50MiB", 52_428_800), ("1.5GiB", 3 << 29), ("1kB", 1000), ("1KB", 1000),
        ("1KiB", 1024), ("7B", 7), ("0.5KiB", 512), ("1 TB", 10**12), ("1EiB", 2**60),
    ],
)  # fmt: skip
def test_bytes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "MB", "50mb", "50Mb", "50mib", "50iB", "50BB", "50 bytes", "0.5", "0.3KiB", "-1MB", "1e9B", "50MBi"])
def test_other_bytes_are_refused(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_bytes(text)
    assert repr(text) in str(caught.value)


def test_bytes_that_may_mean_two_things_are_refused() -> None:
    with pytest.raises(OptionError, match="'50M' may mean powers of 1,000 or of 1,024: write 50MB or 50MiB"):
        parse_bytes("50M")


@pytest.mark.parametrize(
    ("text", "part"), [("1%", Fraction(1, 100)), ("0.5 %", Fraction(1, 200)), ("0%", Fraction(0)), ("250%", Fraction(5, 2))]
)
def test_tolerances(text: str, part: Fraction) -> None:
    assert parse_tolerance(text) == part


@pytest.mark.parametrize("text", ["", "1", "0.01", "-1%", "%", "1%%", "one%", "1e-3%"])
def test_other_tolerances_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="is no tolerance: write it as in 1% or"):
        parse_tolerance(text)


@given(st.integers(0, 10**6), st.sampled_from("kMGT"), st.text(max_size=8))
def test_any_text_is_read_or_refused(number: int, prefix: str, text: str) -> None:
    assert parse_count(f"{number}{prefix}") == number * 1000 ** ("kMGT".index(prefix) + 1)
    assert parse_bytes(f"{number}{prefix}iB") == number * 1024 ** ("kMGT".index(prefix) + 1)
    for read in (parse_count, parse_bytes, parse_tolerance):
        try:
            assert read(text) >= 0
        except OptionError:
            continue


@pytest.mark.parametrize(
    ("change", "base", "text"),
    [(1, 3, "33.3 %"), (1, 1, "100 %"), (3, 1, "300 %"), (50, 1, "5,000 %"), (1, 1000, "0.1 %"), (123, 100_000, "0.12 %"), (0, 5, "0 %"), (5, 0, ""), (-1, 4, "25 %")],
)  # fmt: skip
def test_percents(change: int, base: int, text: str) -> None:
    assert percent(change, base) == text
