"""For which sizes a closed form holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flopscope.relax.closed.sampling import Line

_FAR, _NEAR = 64, 4


@dataclass(frozen=True, slots=True)
class Range:
    """The sizes of a symbol for which a form was found to hold."""

    low: int
    high: int | None
    """``None`` where no size was found for which it does not."""
    checked: int
    """The largest size at which it was compared with the analyzer."""
    step: int = 1
    rest: int = 0
    """Sizes leave this rest when divided by ``step``."""

    def conditions(self, name: str) -> list[str]:
        """What a size must be, in words."""
        found = []
        if self.step > 1:
            found.append(f"{name} is a multiple of {self.step}" if self.rest == 0 else f"{name} mod {self.step} = {self.rest}")
        if self.low > (self.rest or self.step):
            found.append(f"{name} >= {self.low}")
        if self.high is not None:
            found.append(f"{name} <= {self.high}")
        return found

    @property
    def stops_before_one(self) -> bool:
        """Whether 1 is the next size below."""
        return self.low == 1 + self.step and self.rest == 1 % self.step

    def covers(self, other: Range) -> bool:
        """Whether all sizes of another range are in this one, but for a size of 1, which has forms of its own."""
        high = self.high is None or (other.high is not None and other.high <= self.high)
        return high and self.low <= max(other.low, 2) and other.step % self.step == 0 and other.rest % self.step == self.rest

    def between(self, share: float, most: int) -> int:
        """The size at a share of the way from the lowest to the highest, or to ``most``."""
        high = max(self.low, most) if self.high is None else max(self.low, min(self.high, most))
        return self.low + int(share * ((high - self.low) // self.step + 1)) * self.step

    def holds(self, size: Any) -> Any:
        """Whether the form holds for a size, or for each in an array of them."""
        found = (size >= self.low) & (size % self.step == self.rest)
        return found if self.high is None else found & (size <= self.high)


def range_along(line: Line, holds: Callable[[int], bool], *, far: bool) -> Range:
    """The range of a form that holds at all sizes of a line.

    The smallest size above 1 and one many times larger are tried; where the form fails, the boundary is searched for by halving. ``far``
    says whether a large size costs no more time than a small one.
    """
    axis = line.axis
    lowest = axis.start - (axis.start - 2) // axis.step * axis.step if axis.start >= 2 else axis.start
    low = lowest if lowest == axis.low or holds(lowest) else _boundary(lowest, axis.low, axis.step, holds)
    top = axis.start + axis.step * max(1, axis.start * ((_FAR if far else _NEAR) - 1) // axis.step)
    if top <= axis.high:
        top = axis.high + (axis.high - axis.start) // axis.step * axis.step + axis.step
    high = None if holds(top) else _boundary(top, axis.high, axis.step, holds)
    return Range(low, high, top if high is None else high, axis.step, axis.start % axis.step)


def _boundary(bad: int, good: int, step: int, holds: Callable[[int], bool]) -> int:
    """The last size on the way from a good one to a bad one for which the form holds."""
    while abs(good - bad) > step:
        middle = good + (bad - good) // step // 2 * step
        if holds(middle):
            good = middle
        else:
            bad = middle
    return good
