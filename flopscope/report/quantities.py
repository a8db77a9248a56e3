"""Amounts as people write them, read strictly: ``300M``, ``50MiB``, ``1%``. And back again."""

from __future__ import annotations

import re
from fractions import Fraction

from flopscope.errors import OptionError
from flopscope.report.text import binary, si

_AMOUNT = re.compile(r"(\d{1,30}(?:\.\d{1,30})?)\s*([A-Za-z]*)")
_POWERS = {"": 0, "k": 3, "K": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_PERCENT = re.compile(r"(\d{1,6}(?:\.\d{1,12})?)\s*%")
UNITS = {"macs": "MACs", "flops": "FLOPs", "params": "params", "access_bytes": "access bytes", "peak_bytes": "peak bytes"}
"""What the metrics that limits are for are called in tables."""


def parse_count(text: str) -> int:
    """A count such as ``300M``, ``4.1G`` or ``300774272``: whole numbers, or decimal ones with k, M, G, T, P or E for powers of 1,000.

    Raises:
        OptionError: it is written in another way, or is no whole number.

    Examples:
        >>> parse_count("4.1G")
        4100000000
    """
    digits, letters = _split(text, "a count", "300M, 4.1G or 300774272")
    if letters not in _POWERS:
        raise OptionError(f"{text!r} is no count: {letters!r} is none of k, M, G, T, P, E; write it as in 300M, 4.1G or 300774272")
    return _whole(text, digits * 10 ** _POWERS[letters])


def parse_bytes(text: str) -> int:
    """Bytes such as ``50MB`` (50,000,000), ``50MiB`` (52,428,800) or ``52428800``.

    Raises:
        OptionError: it is written in another way, or is no whole number. ``50M`` is refused, because it may mean either.

    Examples:
        >>> parse_bytes("50MB"), parse_bytes("50MiB")
        (50000000, 52428800)
    """
    digits, letters = _split(text, "a number of bytes", "50MB, 50MiB or 52428800")
    if letters in _POWERS and letters:
        raise OptionError(f"{text!r} may mean powers of 1,000 or of 1,024: write {digits_text(text)}{letters}B or {_binary_form(text)}")
    prefix = letters.removesuffix("B").removesuffix("i")
    is_binary = letters.endswith("iB") and prefix
    if letters and (not letters.endswith("B") or prefix not in _POWERS or (letters.endswith("iB") and not prefix)):
        raise OptionError(f"{text!r} is no number of bytes: write it as in 50MB (powers of 1,000), 50MiB (powers of 1,024) or 52428800")
    scale = 1024 ** (_POWERS[prefix] // 3) if is_binary else 10 ** _POWERS[prefix]
    return _whole(text, digits * scale)


def parse_tolerance(text: str) -> Fraction:
    """A part such as ``1%`` or ``0.5%``, exactly.

    Raises:
        OptionError: it is written in another way.

    Examples:
        >>> parse_tolerance("0.5%")
        Fraction(1, 200)
    """
    match = _PERCENT.fullmatch(text.strip())
    if match is None or not text.isascii():
        raise OptionError(f"{text!r} is no tolerance: write it as in 1% or 0.5%")
    return Fraction(match[1]) / 100


def parse_limit(metric: str, text: str) -> int:
    """A limit of one of the metrics: bytes for those in bytes, counts for the others.

    Raises:
        OptionError: it is written in another way.
    """
    return parse_bytes(text) if metric.endswith("_bytes") else parse_count(text)


def amount(metric: str, count: int) -> str:
    """A count of a metric for a table, in three or four digits."""
    return binary(count) if metric == "peak_bytes" else si(count, "B" if metric == "access_bytes" else "")


def exact(metric: str, count: int) -> str:
    """A count in full with its unit: ``300,774,272 MACs``.

    Examples:
        >>> exact("peak_bytes", 7024640)
        '7,024,640 bytes (6.70 MiB)'
    """
    if metric == "peak_bytes":
        return f"{count:,} bytes ({binary(count)})" if abs(count) >= 1024 else f"{count:,} bytes"
    if metric == "access_bytes":
        return f"{count:,} bytes ({si(count, 'B')})" if abs(count) >= 10_000 else f"{count:,} bytes"
    return f"{count:,} {UNITS[metric]}"


def percent(change: int, base: int) -> str:
    """A change in percent of what was, with the digits that matter; empty where there was nothing.

    Examples:
        >>> percent(5, 200), percent(-1, 30_000_000), percent(1, 0)
        ('2.5 %', '0.0000033 %', '')
    """
    if not base:
        return ""
    part = abs(Fraction(100 * change, base))
    if part >= 1000:
        return f"{round(part):,} %"
    if not part:
        return "0 %"
    return f"{_digits(float(part))} %"


def _digits(value: float) -> str:
    """Two digits after the first that is not zero, at most one after the point from 1 on."""
    if value >= 1:
        return f"{value:.1f}".removesuffix(".0")
    places = -int(f"{value:.1e}".partition("e")[2]) + 1
    return f"{value:.{places}f}".rstrip("0")


def _split(text: str, what: str, forms: str) -> tuple[Fraction, str]:
    match = _AMOUNT.fullmatch(text.strip())
    if match is None or not text.isascii():
        raise OptionError(f"{text!r} is no {what.removeprefix('a ')}: write it as in {forms}")
    return Fraction(match[1]), match[2]


def _whole(text: str, value: Fraction) -> int:
    if value.denominator != 1:
        raise OptionError(f"{text!r} is no whole number")
    return value.numerator


def digits_text(text: str) -> str:
    """The digits of an amount."""
    return text.strip().rstrip("kKMGTPE ")


def _binary_form(text: str) -> str:
    return f"{digits_text(text)}{text.strip()[-1].upper()}iB"
