"""The largest size that fits, as text and as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from flopscope.analyses.memory.fit import Fit
from flopscope.report.text import binary, si

_MOST_ALIVE = 5


def fit_text(fit: Fit, name: str, over: str, reserve_bytes: int = 0, notes: tuple[str, ...] = ()) -> str:
    """The answer, what is alive at the peak, and how the peak grows.

    Args:
        fit: the answer.
        name: the model.
        over: what the sizes are, such as ``"batch"``.
        reserve_bytes: what was kept back of the memory.
        notes: what else a reader must know.
    """
    lines = [_answer(fit, name, over, reserve_bytes), *_numbers(fit, over), *(f"note: {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def fit_dict(fit: Fit, name: str, over: str, reserve_bytes: int = 0, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    """The same as plain data. Coefficients are text, such as ``"7/2"``: of 1, the size, and its square."""
    facts = ("limit_bytes", "peak_bytes", "next_bytes", "constant_bytes", "by_formula", "traces", "refusal", "capped", "step")
    return {
        "model": name,
        "over": over,
        "size": fit.size,
        "smallest": fit.smallest,
        "reserve_bytes": reserve_bytes,
        **{fact: getattr(fit, fact) for fact in facts},
        "holds_from": fit.holds_from,
        "coefficients": None if fit.coefficients is None else [str(term) for term in fit.coefficients],
        "alive": [{"what": what, "bytes": size} for what, size in fit.alive],
        "notes": list(notes),
    }


def _answer(fit: Fit, name: str, over: str, reserve_bytes: int) -> str:
    kept = f" of which {binary(reserve_bytes)} are kept back" if reserve_bytes else ""
    whole = fit.limit_bytes + reserve_bytes
    memory = f"{binary(whole)} ({si(whole, 'B')}){kept}"
    if fit.size is None:
        missing = binary(fit.peak_bytes - fit.limit_bytes)
        return f"{name} does not fit into {memory}: even {over} {fit.smallest:,} needs {binary(fit.peak_bytes)}, {missing} too much"
    if fit.capped:
        return f"{name}: {over} {fit.size:,}, the largest that was asked for, fits into {memory}"
    if fit.refusal is not None:
        return f"{name}: {over} {fit.size:,} fits into {memory}, and is the largest that the model takes"
    return f"{name}: {over} {fit.size:,} is the largest that fits into {memory}"


def _numbers(fit: Fit, over: str) -> Iterator[str]:
    if fit.size is not None:
        yield f"  peak at {fit.size:,}: {_bytes(fit.peak_bytes)}; {binary(fit.limit_bytes - fit.peak_bytes)} are left"
    if fit.next_bytes is not None:
        yield f"  peak at {fit.next_size:,}: {_bytes(fit.next_bytes)}, {binary(fit.next_bytes - fit.limit_bytes)} too much"
    if fit.refusal is not None:
        yield f"  at {fit.next_size:,}: {fit.refusal}"
    if fit.coefficients is not None:
        since = "" if fit.holds_from <= fit.smallest else f" from {over} {fit.holds_from:,} on"
        yield f"  peak = {_formula(fit.coefficients, over)}{since}"
    held = [("weights and whatever else is held throughout", fit.constant_bytes), *fit.alive[:_MOST_ALIVE]]
    rest = sum(size for _, size in fit.alive[_MOST_ALIVE:])
    held += [(f"{len(fit.alive) - _MOST_ALIVE} more", rest)] if rest else []
    yield "  alive at the peak:"
    yield from (f"    {binary(size):>10}  {what}" for what, size in held if size)
    if fit.size is not None:
        way = "from a formula" if fit.by_formula else "by traces alone, because the memory is no polynomial"
        yield f"  found {way}, with {fit.traces} traces"


def _bytes(count: int) -> str:
    return f"{binary(count)} ({count:,} bytes)"


def _formula(coefficients: tuple[Fraction, ...], over: str) -> str:
    """``97.5 MiB + 22.1 MiB x batch``."""
    names = ("", f" x {over}", f" x {over}^2")
    terms = [(term, name) for term, name in zip(coefficients, names, strict=True) if term]
    text = "".join(f" {'-' if term < 0 else '+'} {binary(round(abs(term)))}{name}" for term, name in terms)
    return text.removeprefix(" + ").lstrip() or "0 B"
