"""Where a model breaks the guidelines of ShuffleNetV2, as a table and in sentences for people."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flopscope.analyses.advice import findings
from flopscope.analyses.advice.finding import Finding, Place, percent
from flopscope.cost import Cost
from flopscope.report.rows import metrics
from flopscope.report.text import TableFormat, counted, intensity_cell, render, si

if TYPE_CHECKING:
    from flopscope.report.report import Report

MOST = 5
"""How many places a text lists for each guideline."""
_SOURCE = "Guidelines: Ma et al. 2018, arXiv:1807.11164, section 2. Access is that of eager kernels: every op reads its inputs."
_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Advice:
    """What the four guidelines say about a model."""

    name: str
    inputs: str
    total: Cost
    findings: tuple[Finding, ...]

    @property
    def kept(self) -> bool:
        """Whether the model follows all of them."""
        return all(finding.kept for finding in self.findings)

    def __getitem__(self, guideline: str) -> Finding:
        """The finding of a guideline, ``"G1"`` to ``"G4"``."""
        return next(finding for finding in self.findings if finding.guideline == guideline)

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, most: int | None = MOST) -> str:
        """A table of verdicts, and each broken guideline with its worst places; ``most`` of them, or all where it is ``None``."""
        parts = [self._heading(), self._verdicts("table").rstrip("\n")]
        parts += [_section(finding, most, "table") for finding in self.findings if not finding.kept]
        return "\n\n".join([*parts, _SOURCE]) + "\n"

    def to_markdown(self, most: int | None = MOST) -> str:
        """The same in Markdown."""
        parts = [f"## {self._heading()}", self._verdicts("markdown").rstrip("\n")]
        parts += [_section(finding, most, "markdown") for finding in self.findings if not finding.kept]
        return "\n\n".join([*parts, _SOURCE]) + "\n"

    def to_csv(self) -> str:
        """A row for every place of every guideline, with exact counts."""
        headers = ["guideline", "kept", "scope", "op", "ops", "alike", "what", "amount", "total", "unit"]
        rows = [
            [finding.guideline, finding.kept, p.scope, p.op, p.ops, len(p.alike), p.what, p.amount, finding.total, finding.unit]
            for finding in self.findings
            for p in finding.places
        ]
        return render(headers, rows, "csv")

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        facts = {"model": self.name, "inputs": self.inputs, "kept": self.kept, "complete": not self.total.partial}
        return facts | {"total": metrics(self.total), "findings": [finding.to_dict() for finding in self.findings]}

    def to_json(self, indent: int | None = 2) -> str:
        """The same as JSON."""
        return json.dumps(self.to_dict(), indent=indent) + "\n"

    def _heading(self) -> str:
        total, at_least = self.total, "at least " if self.total.partial else ""
        intensity = intensity_cell(total)
        return (
            f"{self.name} ({self.inputs or 'no inputs'}): {at_least}{si(total.flops)} FLOPs, {at_least}{si(total.access_bytes, 'B')} read "
            f"and written{f', {intensity} FLOPs per byte' if intensity else ''}"
        )

    def _verdicts(self, style: TableFormat) -> str:
        rows = [
            [f"{f.guideline} {f.title}", "kept" if f.kept else "broken", f.rule, _amount(f.amount, f), percent(f.amount, f.total)]
            for f in self.findings
        ]
        return render(["guideline", "verdict", "limit", "cost", "share"], rows, style)


def _section(finding: Finding, most: int | None, style: TableFormat) -> str:
    title = f"{finding.guideline} {finding.title}: {_amount(finding.amount, finding)}, {percent(finding.amount, finding.total)}"
    shown = finding.places if most is None else finding.places[:most]
    rows = [[_where(place), place.what, place.ops, _amount(place.amount, finding), percent(place.amount, finding.total)] for place in shown]
    rest = finding.places[len(shown) :]
    if rest:
        amount, ops = sum(place.amount for place in rest), sum(place.ops for place in rest)
        scopes = sum(1 + len(place.alike) for place in rest)
        rows.append([f"{scopes:,} more", "", ops, _amount(amount, finding), percent(amount, finding.total)])
    table = render(["where", "what", "calls", "cost", "share"], rows, style).rstrip("\n") if rows else ""
    if style == "markdown":
        return "\n\n".join(filter(None, [f"### {title}", finding.said, table, f"**What to do.** {finding.advice}"]))
    said, advice = (textwrap.fill(text, _WIDTH) for text in (finding.said, f"What to do: {finding.advice}"))
    return "\n".join(filter(None, [title, said, table, advice]))


def _where(place: Place) -> str:
    scope = place.scope or "(the model itself)"
    return f"{scope} and {len(place.alike)} alike" if place.alike else scope


def _amount(amount: int, finding: Finding) -> str:
    return si(amount, "B") if finding.unit == "bytes" else f"{amount:,} ops"


def advise(report: Report) -> Advice:
    """What the four guidelines say about the model of a report."""
    inputs = counted(str(value.type) for value in report.graph.inputs)
    return Advice(report.name, inputs, report.total, tuple(findings(report.graph)))
