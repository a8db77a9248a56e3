"""Limits on what a model may cost, and whether it keeps to them.

Unknown is not zero: a count that is a lower bound can break a limit, but never shows that one is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from flopscope.errors import OptionError
from flopscope.report import budget_text
from flopscope.report.schemas import identifier
from flopscope.report.snapshot import LIMITED, Snapshot
from flopscope.version import __version__

Status = Literal["ok", "over", "unknown"]
_MOST_SCOPES = 3


@dataclass(frozen=True, slots=True)
class Worst:
    """A module that adds much to what is limited."""

    scope: str
    """Its path; empty for the model itself."""
    count: int
    """What it adds, without the modules inside it."""
    baseline: int | None = None
    """What it added in the baseline; ``None`` where there is none, or no such module."""

    def to_dict(self) -> dict[str, Any]:
        """The module as plain data."""
        return {"scope": self.scope, "count": self.count, "baseline": self.baseline}


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit, and what was found."""

    metric: str
    """``"macs"``, ``"flops"``, ``"params"``, ``"access_bytes"`` or ``"peak_bytes"``."""
    allowed: int
    found: int
    partial: bool
    """Whether what was found is a lower bound."""
    worst: tuple[Worst, ...] = ()
    uncounted: tuple[tuple[str, str], ...] = ()
    """The ops without a price, each with its scope, where these make it a lower bound."""
    baseline: int | None = None
    """What the baseline counts, where the limit comes from one."""
    baseline_partial: bool = False
    """Whether the baseline's count, and so the limit, is a lower bound."""
    tolerance: Fraction = Fraction(0)

    @property
    def source(self) -> str:
        """Where the limit comes from: ``"budget"`` or ``"baseline"``."""
        return "budget" if self.baseline is None else "baseline"

    @property
    def over(self) -> int:
        """By how much what was found passes what is allowed; at least so much where it is a lower bound."""
        return max(0, self.found - self.allowed)

    @property
    def status(self) -> Status:
        """``"ok"``, ``"over"``, or ``"unknown"`` where nobody can tell, because something was not counted."""
        if self.over:
            return "unknown" if self.baseline_partial else "over"
        return "unknown" if self.partial else "ok"

    @property
    def reason(self) -> str:
        """The result in words."""
        return budget_text.reason(self)

    def to_dict(self) -> dict[str, Any]:
        """The limit as plain data."""
        return {
            "metric": self.metric,
            "source": self.source,
            "allowed": self.allowed,
            "found": self.found,
            "over": self.over,
            "partial": self.partial,
            "status": self.status,
            "baseline": self.baseline,
            "baseline_partial": self.baseline_partial,
            "reason": self.reason,
            "worst": [one.to_dict() for one in self.worst],
        }


@dataclass(frozen=True, slots=True)
class Check:
    """Whether a model keeps to its limits."""

    model: Snapshot
    limits: tuple[Limit, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it is known to keep to all of them."""
        return all(limit.status == "ok" for limit in self.limits)

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """A table, and the reason of each limit that is not kept, for people."""
        return budget_text.text(self, "table")

    def to_markdown(self) -> str:
        """The same in GitHub's Markdown."""
        return budget_text.text(self, "markdown")

    def to_csv(self) -> str:
        """A row for each limit, with exact counts."""
        return budget_text.csv(self)

    def to_junit(self) -> str:
        """The limits as test cases, in the XML that CI servers read."""
        return budget_text.junit(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data; ``flopscope.report.schemas.schema("check")`` describes it."""
        return {
            "schema": identifier("check"),
            "flopscope": __version__,
            "model": self.model.name,
            "inputs": list(self.model.inputs),
            "passed": self.passed,
            "limits": [limit.to_dict() for limit in self.limits],
            "uncounted": [{"op": op, "scope": scope} for op, scope in self.model.uncounted],
            "notes": list(self.notes),
        }

    def to_json(self, indent: int | None = 2) -> str:
        """Everything as JSON."""
        return json.dumps(self.to_dict(), indent=indent) + "\n"


def check(
    model: Snapshot,
    budget: Mapping[str, int],
    baseline: Snapshot | None = None,
    tolerance: Fraction = Fraction(0),
    metrics: Sequence[str] = LIMITED,
) -> Check:
    """Hold a model against limits, and against another model.

    Args:
        model: what was counted.
        budget: the most that is allowed, by metric.
        baseline: a model, such as the same one before a change, that each of the ``metrics`` is held against.
        tolerance: by which part of the baseline a count may pass it.
        metrics: what is held against the baseline.

    Raises:
        OptionError: there is no limit, or none for such a metric.
    """
    if not budget and baseline is None:
        raise OptionError("there is nothing to check: give a limit such as --max-macs 300M, or a --baseline")
    for metric in (*budget, *metrics):
        if metric not in LIMITED:
            raise OptionError(f"there is no limit for {metric!r}; choose among {', '.join(LIMITED)}")
    limits = [_limit(model, metric, allowed) for metric, allowed in budget.items()]
    if baseline is not None:
        limits += [_against(model, baseline, metric, tolerance) for metric in metrics]
    return Check(model, tuple(limits), (*_notes(model, baseline), *model.notes))


def _limit(model: Snapshot, metric: str, allowed: int) -> Limit:
    worst = sorted(model.own(metric).items(), key=lambda item: -item[1])[:_MOST_SCOPES]
    partial = model.partial(metric)
    uncounted = model.uncounted if partial and metric != "peak_bytes" else ()
    return Limit(metric, allowed, model.count(metric), partial, tuple(Worst(*item) for item in worst if item[1]), uncounted)


def _against(model: Snapshot, baseline: Snapshot, metric: str, tolerance: Fraction) -> Limit:
    before = baseline.count(metric)
    allowed = int(before * (1 + tolerance))  # a count is whole: what is allowed is rounded down
    was, now = baseline.own(metric), model.own(metric)
    growth = {scope: count - was.get(scope, 0) for scope, count in now.items()}
    most = sorted((scope for scope in growth if growth[scope] > 0), key=lambda scope: -growth[scope])[:_MOST_SCOPES]
    worst = tuple(Worst(scope, now[scope], was.get(scope)) for scope in most)
    plain = _limit(model, metric, allowed)
    return Limit(
        metric, allowed, plain.found, plain.partial, worst, plain.uncounted, before, baseline.partial(metric), tolerance
    )  # fmt: skip


def _notes(model: Snapshot, baseline: Snapshot | None) -> list[str]:
    if baseline is None:
        return []
    return differences(baseline, model, "the baseline")


def differences(before: Snapshot, after: Snapshot, what: str) -> list[str]:
    """What makes two reports hard to compare, in words."""
    notes = []
    if before.inputs != after.inputs:
        theirs, ours = (", ".join(one.inputs) or "none" for one in (before, after))
        notes.append(f"{what} was counted on other inputs: {theirs}, and here {ours}")
    if before.version != after.version:
        notes.append(f"{what} was counted by flopscope {before.version}, and here by {after.version}: rules may have changed")
    return notes
