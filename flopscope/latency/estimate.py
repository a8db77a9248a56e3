"""A time with its error bar."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flopscope.errors import OptionError


@dataclass(frozen=True, slots=True)
class Estimate:
    """A time in seconds, and the interval that should hold it nine times in ten."""

    seconds: float
    low: float
    """Seconds."""
    high: float
    """Seconds."""
    why: str = ""
    """What it rests on, in a few words, such as ``"memory"`` or ``"measured 9 times"``."""
    unknown: int = 0
    """Runs of ops in it whose time is not known. When it is not zero, all three times are lower bounds."""

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.seconds <= self.high):
            raise OptionError(
                f"an estimate needs 0 <= low <= seconds <= high, but was given {self.low!r}, {self.seconds!r} and {self.high!r}"
            )

    @classmethod
    def within(cls, seconds: float, factor: float, why: str = "") -> Estimate:
        """A time that is known up to a factor: from ``seconds / factor`` to ``seconds * factor``."""
        return cls(seconds, seconds / factor, seconds * factor, why)

    @property
    def partial(self) -> bool:
        """Whether the times are lower bounds, because that of some op is not known."""
        return self.unknown > 0

    def __add__(self, other: Estimate) -> Estimate:
        """One after the other. Their errors are taken to go together, which is the wider bar: see `combined` where they do not."""
        return combined((self, other))

    def __mul__(self, times: float) -> Estimate:
        """The same so many times over: an error of one is the error of all."""
        return Estimate(self.seconds * times, self.low * times, self.high * times, self.why, math.ceil(self.unknown * times))

    __rmul__ = __mul__

    def to_dict(self) -> dict[str, Any]:
        """The estimate as plain data."""
        return {"seconds": self.seconds, "low": self.low, "high": self.high, "why": self.why, "unknown": self.unknown}


def combined(estimates: Iterable[Estimate | None], correlation: float = 1.0, why: str = "") -> Estimate:
    """The sum of times of which any two have errors with the same correlation.

    With correlation ``r`` the half-widths ``w`` add up to ``sqrt(r * (sum w)^2 + (1 - r) * sum w^2)``, the standard deviation of a sum of
    equally correlated terms: their sum for 1, and the root of the sum of their squares for 0.

    Args:
        estimates: the times; ``None`` for one that is not known, which makes the sum a lower bound.
        correlation: between 0 (what is off in one says nothing of another) and 1 (all are off together, the widest bar).
        why: what the sum rests on.

    Raises:
        OptionError: the correlation is not between 0 and 1.
    """
    if not 0 <= correlation <= 1:
        raise OptionError(f"the correlation of errors is between 0 and 1, but {correlation!r} was given")
    given = list(estimates)
    known = [estimate for estimate in given if estimate is not None]
    seconds = math.fsum(estimate.seconds for estimate in known)
    below = _width([estimate.seconds - estimate.low for estimate in known], correlation)
    above = _width([estimate.high - estimate.seconds for estimate in known], correlation)
    unknown = len(given) - len(known) + sum(estimate.unknown for estimate in known)
    return Estimate(seconds, max(0.0, seconds - below), seconds + above, why, unknown)


def _width(widths: list[float], correlation: float) -> float:
    together, apart = math.fsum(widths) ** 2, math.fsum(width * width for width in widths)
    return math.sqrt(correlation * together + (1 - correlation) * apart)
