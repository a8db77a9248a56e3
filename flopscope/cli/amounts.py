"""Amounts of memory as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

from flopscope.errors import OptionError

_AMOUNT = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?:(?P<prefix>[kmgtp])(?P<binary>i)?)?b?", re.IGNORECASE)
_POWERS = "kmgtp"
_LONGEST = 40


def parse_bytes(text: str, option: str) -> int:
    """The bytes of ``24GB`` or ``24G`` (24 x 10^9), ``24GiB`` (24 x 2^30) or ``500000``.

    Raises:
        OptionError: the text is no amount of memory.
    """
    match = _AMOUNT.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if match is None:
        raise OptionError(
            f"{option} {text[:_LONGEST]!r} is no amount of memory: expected for example 24GiB (24 x 2^30 bytes), 24GB (24 x 10^9) or 500MB"
        )
    base = 1024 if match["binary"] else 1000
    power = 0 if match["prefix"] is None else 1 + _POWERS.index(match["prefix"].lower())
    return int(Fraction(match["number"]) * base**power)
