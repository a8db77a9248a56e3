"""What a guideline says about a graph, and where."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Place:
    """Where a guideline bites: the ops of a scope, or of several scopes that are alike."""

    scope: str
    """The path of the first such module."""
    op: str
    """The front end's name of the op, or the class of the module."""
    what: str
    """Its sizes, and what they would be."""
    amount: int
    """What it costs there, in the unit of the finding, over all ops of all such scopes."""
    ops: int = 1
    """How many calls."""
    alike: tuple[str, ...] = ()
    """The paths of the other scopes that have the same sizes and differ only in their numbers."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "scope": self.scope, "op": self.op, "ops": self.ops, "what": self.what, "amount": self.amount, "alike": list(self.alike)
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """What a guideline says about a graph."""

    guideline: str
    """``"G1"`` to ``"G4"``."""
    title: str
    kept: bool
    """Whether the graph follows it: the share is below the limit that `rule` states."""
    rule: str
    """The limit, in words."""
    amount: int
    """What breaking it costs, over the whole graph."""
    total: int
    """What that is a part of."""
    unit: Literal["bytes", "ops"]
    said: str
    """The finding in a sentence or two, with its numbers."""
    advice: str
    """What to do."""
    places: tuple[Place, ...] = ()
    """Where, the worst first. Their amounts add up to that of the finding."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Other numbers, as plain data."""

    @property
    def share(self) -> Fraction:
        """The amount as a part of the total; zero where there is nothing."""
        return Fraction(self.amount, self.total) if self.total else Fraction()

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "guideline": self.guideline, "title": self.title, "kept": self.kept, "rule": self.rule, "amount": self.amount,
            "total": self.total, "unit": self.unit, "share": float(self.share), "said": self.said, "advice": self.advice,
            "facts": dict(self.facts), "places": [place.to_dict() for place in self.places],
        }  # fmt: skip


def gathered(places: Iterable[Place]) -> tuple[Place, ...]:
    """Places with the same sizes whose scopes differ only in their numbers as one, the worst first, without those that cost nothing."""
    found: dict[tuple[str, str, str], Place] = {}
    for place in places:
        if not place.amount:
            continue
        key = (re.sub(r"\d+", "*", place.scope), place.op, place.what)
        known = found.get(key)
        if known is None:
            found[key] = place
            continue
        new = () if place.scope == known.scope or place.scope in known.alike else (place.scope,)
        found[key] = replace(known, amount=known.amount + place.amount, ops=known.ops + place.ops, alike=(*known.alike, *new))
    return tuple(sorted(found.values(), key=lambda place: -place.amount))


def percent(part: int, whole: int) -> str:
    """A share with one digit: ``"12.3%"``, ``"< 0.1%"``, ``"0%"``."""
    if not part or not whole:
        return "0%"
    share = 100 * part / whole
    return f"{share:.1f}%" if share >= 0.1 else "< 0.1%"
