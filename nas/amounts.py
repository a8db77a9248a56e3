"""Costs as people write and read them: ``300M`` MACs, ``5ms``."""

from __future__ import annotations

from nas.errors import RecipeError

LATENCY = "latency"
"""The metric of measured times, which are whole nanoseconds wherever costs are computed."""
_FACTORS = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_NANOSECONDS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}


def parse_number(text: str, what: str) -> float:
    """A number such as ``300M``, ``1.5G``, ``2k`` or ``1e6``.

    Raises:
        RecipeError: it is none, or not above zero.
    """
    factor = _FACTORS.get(text[-1:], 1.0)
    number = _times(text[:-1] if factor > 1 else text, factor)
    if number is None:
        raise RecipeError(f"{what} must be a number above zero, such as 300M, 1.5G or 2500000, but is {text!r}")
    return number


def parse_budget(text: str, metric: str) -> float:
    """A budget of a metric; one of latency is a time with its unit, such as ``5ms``, and comes back in nanoseconds.

    Raises:
        RecipeError: it is no number or no time, or not above zero.
    """
    if metric != LATENCY:
        return parse_number(text, "a budget")
    unit = next((unit for unit in _NANOSECONDS if text.endswith(unit)), "")
    number = _times(text.removesuffix(unit), _NANOSECONDS[unit]) if unit else None
    if number is None:
        raise RecipeError(f"a budget of latency must be a time above zero with its unit, such as 5ms (ns, us, ms or s), but is {text!r}")
    return number


def in_words(cost: float, metric: str) -> str:
    """A cost with its unit, such as ``"5,408,256 macs"``, or ``"4.812 ms"`` of latency."""
    return f"{cost / _NANOSECONDS['ms']:,.4g} ms" if metric == LATENCY else f"{cost:,.0f} {metric}"


def _times(text: str, factor: float) -> float | None:
    """The number that a text says, times a factor; ``None`` if it is no finite number above zero."""
    try:
        number = float(text) * factor
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None
