"""Where the difference between our multiply-accumulates and another count comes from, kind by kind of op, adding up to it exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flopscope.analyses.conventions import Call, Convention, Line, Scene, convention
from flopscope.analyses.torch_names import as_torch
from flopscope.cost import FLOPS_PER_MAC
from flopscope.report.text import TableFormat, render, shape_text

if TYPE_CHECKING:
    from flopscope.report.report import Report

DOUBLED = "two operations per multiply-accumulate"


@dataclass(frozen=True, slots=True)
class Difference:
    """What all ops of a kind count for one reason, beside what they count here."""

    kind: str
    calls: int
    ours: int
    """Our multiply-accumulates of these ops, in the unit of the convention."""
    theirs: int
    reason: str
    scope: str
    """Where the first of them runs."""

    @property
    def amount(self) -> int:
        """How much more the convention counts."""
        return self.theirs - self.ours


@dataclass(frozen=True, slots=True)
class Explanation:
    """The way from our multiply-accumulates to a count under a convention; the rows add up to it exactly."""

    model: str
    input: str
    convention: Convention
    macs: int
    """Our multiply-accumulates."""
    count: int
    """The count under the convention, in its unit."""
    rows: tuple[Difference, ...]
    """The differences, the largest first."""
    uncounted: tuple[str, ...] = ()
    """Ops that no rule prices: what they would count is in no row."""

    @property
    def start(self) -> int:
        """Our multiply-accumulates in the unit of the convention."""
        return self.macs * _per_mac(self.convention)

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """A table, and what it adds up to."""
        about = self.convention
        tool = f" ({about.tool})" if about.tool else ""
        head = f"{self.model} on {self.input}, convention {about.name}, version {about.version}{tool}:\n{about.text}\n"
        return f"{head}\n{self.to_table()}{left_out(self.uncounted)}"

    def to_table(self, style: TableFormat = "table") -> str:
        """The way as a table, in one of the formats ``"table"``, ``"markdown"``, ``"latex"`` and ``"csv"``.

        Raises:
            OptionError: there is no such format.
        """
        unit = self.convention.unit
        doubled = f", {DOUBLED}" if self.start != self.macs else ""
        rows: list[list[Any]] = [["contraction", f"all multiply-accumulates{doubled}", "", "", f"{self.start:,}"]]
        rows += [[row.kind, row.reason, row.scope, row.calls, f"{row.amount:+,}"] for row in self.rows]
        rows.append([self.convention.name, f"the sum, in {unit}", "", "", f"{self.count:,}"])
        return render(["kind", "why", "first in", "calls", unit], rows, style)

    def to_markdown(self) -> str:
        """The table in GitHub's Markdown."""
        return self.to_table("markdown")

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        rows = [
            {
                "kind": r.kind,
                "ops": r.calls,
                "ours": r.ours,
                "theirs": r.theirs,
                "difference": r.amount,
                "reason": r.reason,
                "first": r.scope,
            }
            for r in self.rows
        ]
        about = self.convention
        facts = {"convention": about.name, "version": about.version, "tool": about.tool, "unit": about.unit, "text": about.text}
        return {
            "model": self.model,
            "input": self.input,
            **facts,
            "macs": self.macs,
            "start": self.start,
            "differences": rows,
            "count": self.count,
            "uncounted": list(self.uncounted),
        }

    def to_json(self, indent: int | None = 2) -> str:
        """The same as JSON."""
        return json.dumps(self.to_dict(), indent=indent) + "\n"


def uncounted_in(report: Report) -> tuple[str, ...]:
    """The names of the ops that no rule prices."""
    return tuple(sorted({row.op for row in report.uncounted}))


def left_out(uncounted: tuple[str, ...]) -> str:
    """A line that says that a count is a lower bound; nothing where every op is counted."""
    return f"not counted, so that all of this is a lower bound: {', '.join(uncounted)}\n" if uncounted else ""


def _per_mac(about: Convention) -> int:
    return FLOPS_PER_MAC if about.unit == "FLOPs" else 1


def explain_convention(report: Report, name: str) -> Explanation:
    """The way from our multiply-accumulates to what a convention counts.

    Raises:
        OptionError: there is no such convention.
    """
    about = convention(name)
    scene = Scene(report.graph)
    found: dict[tuple[str, str], Difference] = {}
    total = 0
    for op in report.graph.ops:
        for kind, reason, our_count, their_count in _steps(about, Call(op, scene, as_torch(op.signature))):
            ours, theirs = our_count * op.times, their_count * op.times
            total += theirs
            if ours == theirs:
                continue
            known = found.get((kind, reason)) or Difference(kind, 0, 0, 0, reason, op.scope or "the model itself")
            found[kind, reason] = Difference(kind, known.calls + op.times, known.ours + ours, known.theirs + theirs, reason, known.scope)
    rows = tuple(sorted(found.values(), key=lambda row: -abs(row.amount)))
    return Explanation(report.name, inputs_text(report), about, report.total.macs, total, rows, uncounted_in(report))


def _steps(about: Convention, call: Call) -> Iterator[tuple[str, str, int, int]]:
    """What each line of the table makes of an op: its kind, the reason, our count and theirs. Ours goes to the first line."""
    parts = about.parts(call)
    ours = call.macs * _per_mac(about)
    known = sum(part.macs for part in parts) * _per_mac(about)
    if known != ours:  # a fused op whose parts are not quite what it is priced at
        yield call.kind, "the fused op, beside its parts", ours - known, 0
    for part in parts:
        left = part.macs * _per_mac(about)
        for line in about.lines(part):
            yield part.kind, _text(about, line, part), left, about.amount(line, part)
            left = 0


def _text(about: Convention, line: Line, part: Call) -> str:
    """The reason, with the class that ran the op where it was not seen, and with the number of places of a shared module."""
    where = part.module.class_name
    if line.count(part) == 0:
        return f"{line.text} ({where})" if part.macs and where else line.text
    if about.again and part.places > 1:
        return f"{line.text}; {part.places**about.again} times, because the module is in {part.places} places"
    return line.text


def inputs_text(report: Report) -> str:
    """The shapes of the inputs."""
    return " ".join(shape_text(value.shape) for value in report.graph.inputs) or "no input"
