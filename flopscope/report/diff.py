"""What changed between two models: totals, modules and kinds of op."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from flopscope.cost import Cost
from flopscope.report import diff_html, diff_text
from flopscope.report.budget import Limit, check, differences
from flopscope.report.matching import Rename, match
from flopscope.report.schemas import identifier
from flopscope.report.snapshot import LIMITED, Snapshot
from flopscope.report.text import TableFormat
from flopscope.version import __version__

Change = Literal["same", "changed", "added", "removed"]
OF_ROWS = LIMITED[:4]
"""The metrics of modules and kinds: the peak belongs to the model as a whole."""

_NOWHERE = "\0"
_MOST_RENAMES = 6


@dataclass(frozen=True, slots=True)
class Delta:
    """A count before and after."""

    before: int | None
    """``None`` for what was not there."""
    after: int | None
    """``None`` for what is gone."""
    partial: bool = False
    """Whether one of them is a lower bound; then the change is that of what was counted, and no bound."""

    @property
    def change(self) -> int:
        """After minus before, where what is not there counts as 0."""
        return (self.after or 0) - (self.before or 0)

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain data."""
        return {"before": self.before, "after": self.after, "change": self.change, "partial": self.partial}


@dataclass(frozen=True, slots=True)
class Row:
    """A module or a kind of op, before and after."""

    name: str
    """Its path or kind; for a module that is gone, the path it had."""
    name_before: str | None
    """The path it had; ``None`` where it is new."""
    change: Change
    deltas: Mapping[str, Delta]
    class_name: str = ""

    def to_dict(self, key: str) -> dict[str, Any]:
        """The row as plain data."""
        names: dict[str, Any] = {key: self.name}
        if key == "module":
            names |= {"module_before": self.name_before, "class": self.class_name}
        return {**names, "change": self.change, **{metric: delta.to_dict() for metric, delta in self.deltas.items()}}


@dataclass(frozen=True)
class Diff:
    """What changed from one model to another."""

    before: Snapshot
    after: Snapshot
    budget: Mapping[str, int] = field(default_factory=dict)
    """The most that is allowed after the change, by metric."""

    @cached_property
    def totals(self) -> dict[str, Delta]:
        """MACs, FLOPs, parameters, access bytes and peak bytes."""
        before, after = self.before, self.after
        return {name: Delta(before.count(name), after.count(name), before.partial(name) or after.partial(name)) for name in LIMITED}

    @cached_property
    def scopes(self) -> list[Row]:
        """Every module with everything inside it, parents before children; one that is gone stands where it was."""
        matched, _ = self._matching
        before, after = self.before.scopes, self.after.scopes
        removed = _by_parent(self.before, set(matched.values()))
        rows: list[Row] = []

        def emit_removed(parent: str) -> None:
            for path in removed.get(parent, ()):
                rows.append(_row(path, path, before[path].cost, None, before[path].class_name))
                emit_removed(path)

        def close(path: str) -> None:
            if path in matched:
                emit_removed(matched[path])

        open_: list[str] = []  # the modules around the place that is reached
        for path, scope in after.items():
            while open_ and not _is_under(path, open_[-1]):
                close(open_.pop())
            was = matched.get(path)
            rows.append(_row(path, was, None if was is None else before[was].cost, scope.cost, scope.class_name))
            open_.append(path)
        while open_:
            close(open_.pop())
        emit_removed(_NOWHERE)  # what has no module around it that is still there
        return rows

    @cached_property
    def kinds(self) -> list[Row]:
        """The kinds of op, those of the model after the change first."""
        before, after = self.before.kinds, self.after.kinds
        names = [*after, *(kind for kind in before if kind not in after)]
        return [_row(kind, kind if kind in before else None, before.get(kind), after.get(kind)) for kind in names]

    @property
    def renames(self) -> list[Rename]:
        """The prefixes of paths that were matched by similarity."""
        return self._matching[1]

    @cached_property
    def _matching(self) -> tuple[dict[str, str], list[Rename]]:
        return match(self.before.scopes, self.after.scopes)

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """The limits, and whether the model after the change keeps to them."""
        return check(self.after, self.budget).limits if self.budget else ()

    @cached_property
    def changed(self) -> bool:
        """Whether any total, module or kind of op differs."""
        rows = (*self.scopes, *self.kinds)
        return any(delta.change for delta in self.totals.values()) or any(row.change != "same" for row in rows)

    @cached_property
    def notes(self) -> list[str]:
        """What a reader of these numbers must know."""
        notes = differences(self.before, self.after, "the first")
        if any(delta.partial for delta in self.totals.values()):
            notes.append("counts with ≥ are lower bounds: their change (~) is that of what was counted, and the true one may be any")
        if self.renames:
            more = len(self.renames) - _MOST_RENAMES
            listed = ", ".join(map(str, self.renames[:_MOST_RENAMES])) + (f" and {more} more" if more > 0 else "")
            notes.append(f"modules matched by similarity, because their paths changed: {listed}")
        for side in (self.before, self.after):
            notes += [f"{side.name}: {note}" for note in side.notes]
            if side.uncounted:
                notes.append(f"{side.name}: not counted: {', '.join(sorted({op for op, _ in side.uncounted}))}")
        return list(dict.fromkeys(notes))

    # -- formats --------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, *, depth: int | None = None, exact: bool = False) -> str:
        """Tables of totals, kinds and modules that changed, for people."""
        return diff_text.text(self, "table", depth, exact)

    def to_table(self, style: TableFormat, *, depth: int | None = None, exact: bool = False) -> str:
        """The same in one of the formats ``"table"``, ``"markdown"``, ``"latex"`` and ``"csv"``; csv lists everything.

        Raises:
            OptionError: there is no such format.
        """
        if style == "markdown":
            return diff_text.markdown(self, depth, exact)
        return diff_text.csv(self) if style == "csv" else diff_text.text(self, style, depth, exact)

    def to_markdown(self, *, depth: int | None = None, exact: bool = False) -> str:
        """A comment for a pull request: totals and marks in sight, kinds and modules to be unfolded."""
        return diff_text.markdown(self, depth, exact)

    def to_csv(self) -> str:
        """A row for the total, each module and each kind, with exact counts."""
        return diff_text.csv(self)

    def to_html(self) -> str:
        """Both models side by side, as one file without scripts."""
        return diff_html.page(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data; ``flopscope.report.schemas.schema("diff")`` describes it."""
        return {
            "schema": identifier("diff"),
            "flopscope": __version__,
            "before": _side(self.before),
            "after": _side(self.after),
            "total": {metric: delta.to_dict() for metric, delta in self.totals.items()},
            "scopes": [row.to_dict("module") for row in self.scopes],
            "kinds": [row.to_dict("kind") for row in self.kinds],
            "renames": [{"before": one.before, "after": one.after, "modules": one.modules} for one in self.renames],
            "budget": [limit.to_dict() for limit in self.limits],
            "notes": self.notes,
        }

    def to_json(self, indent: int | None = 2) -> str:
        """Everything as JSON."""
        return json.dumps(self.to_dict(), indent=indent) + "\n"


def diff(before: Snapshot, after: Snapshot, budget: Mapping[str, int] | None = None) -> Diff:
    """What changed from one model to another, with limits for the second."""
    return Diff(before, after, dict(budget or {}))


def _row(name: str, name_before: str | None, before: Cost | None, after: Cost | None, class_name: str = "") -> Row:
    deltas = {}
    for metric in OF_ROWS:
        was, now = (None if cost is None else int(getattr(cost, metric)) for cost in (before, after))
        partial = metric != "params" and any(cost is not None and cost.partial for cost in (before, after))
        deltas[metric] = Delta(was, now, partial)
    if before is None or after is None:
        return Row(name, name_before, "added" if before is None else "removed", deltas, class_name)
    return Row(name, name_before, "same" if before == after else "changed", deltas, class_name)


def _by_parent(before: Snapshot, kept: set[str]) -> dict[str, list[str]]:
    """The modules that are gone, by the nearest module around each; those without one under a name that no module has."""
    removed: dict[str, list[str]] = {}
    for path in before.scopes:
        if path not in kept:
            parent = before.parent(path)
            removed.setdefault(_NOWHERE if parent is None else parent, []).append(path)
    return removed


def _is_under(path: str, other: str) -> bool:
    return not other or path.startswith(f"{other}.")


def _side(side: Snapshot) -> dict[str, Any]:
    complete = {"complete": not side.total.partial, "memory_complete": not side.memory_partial}
    return {"model": side.name, "inputs": list(side.inputs), **complete, "flopscope": side.version}
