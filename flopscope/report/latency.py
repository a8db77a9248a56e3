"""How long a model takes on a device: per op, per module, per kind and in all, and which ceiling binds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

from flopscope.analyses import totals
from flopscope.errors import OptionError
from flopscope.graph import Graph
from flopscope.latency.estimate import Estimate, combined
from flopscope.latency.roofline import Roofline, Timed
from flopscope.latency.source import LatencySource
from flopscope.report.text import TableFormat, render
from flopscope.rules import price

By = Literal["module", "op", "kind"]
_HEADERS = {"module": ("module", "class"), "kind": ("kind", "launches"), "op": ("op", "scope", "launches")}
_NOTHING = Estimate(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: an op, or several that run as one; a module with everything inside it; or all ops of a kind."""

    what: str
    where: str
    """The scope of an op, or the class of a module."""
    launches: int
    estimate: Estimate | None
    """``None`` where it is not known."""
    binds: str
    """Where most of the time goes: ``"compute"``, ``"memory"``, ``"cache"`` or ``"launch"``; empty where the source does not tell."""
    part: float
    """Of the total."""
    kind: str = ""
    op: int | None = None
    """The index of an op, of several that of the first."""

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data."""
        times = {"seconds": None, "low": None, "high": None} if self.estimate is None else self.estimate.to_dict()
        times = {name: times[name] for name in ("seconds", "low", "high")}
        place = {} if self.op is None else {"op": self.op}
        return {
            **place,
            "what": self.what,
            "where": self.where,
            "kind": self.kind,
            "launches": self.launches,
            **times,
            "binds": self.binds,
            "part": self.part,
        }


class Latency:
    """The time of one call of a model, as a source of times tells it. Everything is computed when it is first asked for."""

    def __init__(self, graph: Graph, source: LatencySource) -> None:
        """Ask a source about a graph."""
        self.graph, self.source = graph, source

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.graph.name

    @cached_property
    def total(self) -> Estimate:
        """The time of the call: a lower bound where some op's is not known (`Estimate.partial`)."""
        return self.source.total(self.graph)

    @property
    def seconds(self) -> float:
        """The time of the call."""
        return self.total.seconds

    @cached_property
    def timed(self) -> list[Timed]:
        """The kernels of a roofline with their times.

        Raises:
            OptionError: the source is no roofline.
        """
        if not isinstance(self.source, Roofline):
            raise OptionError(f"ceilings are what a roofline has, but the times are from {self.source.name}")
        return self.source.timed(self.graph)

    @property
    def binds(self) -> str:
        """The ceiling under which most of the time is spent; empty where the source does not tell."""
        spent: dict[str, float] = {}
        for row in self.ops:
            spent[row.binds] = spent.get(row.binds, 0.0) + _seconds(row)
        return max(spent.items(), key=lambda item: item[1])[0] if spent else ""

    # -- rows -----------------------------------------------------------------------------------------------

    @cached_property
    def ops(self) -> list[Row]:
        """The ops in order, those that a runtime runs as one together. Views take no time and are left out."""
        rows = self._of_kernels() if isinstance(self.source, Roofline) else self._of_ops()
        whole = sum(map(_seconds, rows)) or 1.0
        return [replace(row, part=_seconds(row) / whole) for row in rows]

    def _of_kernels(self) -> list[Row]:
        assert isinstance(self.source, Roofline)
        rows = []
        for each in self.timed:
            op = self.graph.ops[each.kernel.ops[0]]
            more = len(each.kernel.ops) - 1
            name = f"{op.target}{f' and {more} more' if more else ''}"
            estimate = self.source.of([each], self.source.ceilings.op_factor)
            rows.append(Row(name, op.scope, each.kernel.launches, estimate, each.binds, 0.0, each.kernel.family, op.index))
        unknown = [
            Row(op.target, op.scope, op.times, None, "", 0.0, op.kind, op.index) for op in self.graph.ops if price(op.signature) is None
        ]
        return sorted([*rows, *unknown], key=lambda row: -1 if row.op is None else row.op)

    def _of_ops(self) -> list[Row]:
        rows = []
        for op in self.graph.ops:
            estimate = self.source.estimate(op)
            if estimate is None or estimate.seconds:
                rows.append(Row(op.target, op.scope, op.times, estimate, "", 0.0, op.kind, op.index))
        return rows

    @cached_property
    def correlation(self) -> float:
        """How far the errors of ops go together: so far that all ops at once have the bar of the total.

        With widths ``w`` of the ops and ``W`` of the total, ``W^2 = r * (sum w)^2 + (1 - r) * sum w^2`` (see `combined`), each as a part of
        the time. So the bar of a module is the narrower, the more ops it has, but never narrower than the whole's.
        """
        known = [row.estimate for row in self.ops if row.estimate is not None]
        seconds = math.fsum(estimate.seconds for estimate in known)
        if not seconds or not self.total.seconds:
            return 1.0
        widths = [(estimate.high - estimate.seconds) / seconds for estimate in known]
        whole = (self.total.high - self.total.seconds) / self.total.seconds
        together, apart = math.fsum(widths) ** 2, math.fsum(width * width for width in widths)
        return min(1.0, max(0.0, (whole**2 - apart) / (together - apart))) if together > apart else 1.0

    def by_kind(self) -> list[Row]:
        """The ops of each kind together, the longest first."""
        kinds: dict[str, list[Row]] = {}
        for row in self.ops:
            kinds.setdefault(row.kind, []).append(row)
        return sorted((_sum(kind, "", rows, self.correlation) for kind, rows in kinds.items()), key=lambda row: -_seconds(row))

    def by_module(self, depth: int | None = None) -> list[Row]:
        """The module tree, parents before children. Ops that run as one belong to the module of the first.

        Raises:
            OptionError: the depth is negative.
        """
        if depth is not None and depth < 0:
            raise OptionError(f"depth must be 0 or more, but is {depth}")
        inside: dict[str, list[Row]] = {}
        for row in self.ops:
            for path in totals.ancestors(row.where):
                inside.setdefault(path, []).append(row)
        found = [
            _sum(module.path, module.class_name, inside.get(module.path, []), self.correlation)
            for module in self.graph.modules
            if module.path in inside and (depth is None or totals.depth_of(module) <= depth)
        ]
        root = replace(_sum("", self.name, self.ops, self.correlation), estimate=self.total)
        root = replace(root, where=next((module.class_name for module in self.graph.modules if not module.path), root.where))
        return [root, *(row for row in found if row.what)]

    # -- formats --------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<Latency of {self.name}: {time_text(self.seconds)} by the {self.source.name}>"

    def rows(self, by: By, depth: int | None = None) -> list[Row]:
        """The rows of one of the tables.

        Raises:
            OptionError: there is no such table.
        """
        if by not in get_args(By):
            raise OptionError(f"times can be listed by {', '.join(get_args(By))}, but not by {by!r}")
        return self.by_module(depth) if by == "module" else self.by_kind() if by == "kind" else self.ops

    def to_table(self, by: By = "module", style: TableFormat = "table", *, depth: int | None = None) -> str:
        """A table in one of the formats; the bars of csv and json are in seconds.

        Raises:
            OptionError: there is no such table or format.
        """
        rows = self.rows(by, depth)
        if style == "csv":
            facts = [row.to_dict() for row in rows]
            headers = list(facts[0]) if facts else []
            return render(headers, [list(fact.values()) for fact in facts], "csv")
        names = _HEADERS[by]
        cells = [[*_names(row, by, style), *_cells(row)] for row in rows]
        return render([*names, "time", "from", "to", "part", "bound by"], cells, style, len(names) - (by != "module"))

    def to_text(self, by: By = "module", *, depth: int | None = 3) -> str:
        """A table for people, with the total, its error bar and what it rests on."""
        return f"{self.to_table(by, depth=depth)}\n{self.summary}"

    def to_markdown(self, by: By = "module", *, depth: int | None = 3) -> str:
        """A table in GitHub's Markdown, with the total."""
        return f"{self.to_table(by, 'markdown', depth=depth)}\n{self.summary}"

    def to_csv(self, by: By = "op", *, depth: int | None = None) -> str:
        """Rows with seconds."""
        return self.to_table(by, "csv", depth=depth)

    @property
    def summary(self) -> str:
        """The total in words."""
        found = self.total
        least = "at least " if found.partial else ""
        binds = f", most of it bound by {self.binds}" if self.binds else ""
        holds = "for what is known" if found.partial else "nine in ten"
        bar = f"{time_text(found.low)} to {time_text(found.high)} ({holds})"
        return "\n".join([f"{self.name}: {least}{time_text(found.seconds)}, {bar}{binds}", self.source.name, *self.notes]) + "\n"

    @property
    def notes(self) -> list[str]:
        """What a reader of the times must know."""
        notes = [self.total.why] if self.total.why and self.total.why != self.source.name else []
        if self.total.partial:
            notes.append(f"lower bound: the time of {self.total.unknown} calls of ops is not known")
        return [*notes, *self.graph.notes]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        tables = {
            name: [row.to_dict() for row in rows]
            for name, rows in (("kinds", self.by_kind()), ("modules", self.by_module()), ("ops", self.ops))
        }
        return {
            "model": self.name,
            "source": self.source.name,
            "total": self.total.to_dict(),
            "binds": self.binds,
            "notes": self.notes,
            **tables,
        }

    def to_json(self, indent: int | None = 2) -> str:
        """Everything as JSON."""
        return json.dumps(self.to_dict(), indent=indent) + "\n"


def _seconds(row: Row) -> float:
    return 0.0 if row.estimate is None else row.estimate.seconds


def _sum(what: str, where: str, rows: Sequence[Row], correlation: float) -> Row:
    spent: dict[str, float] = {}
    for row in rows:
        spent[row.binds] = spent.get(row.binds, 0.0) + _seconds(row)
    binds = max(spent.items(), key=lambda item: item[1])[0] if spent else ""
    estimate = combined((row.estimate for row in rows), correlation, binds) if rows else _NOTHING
    return Row(what, where, sum(row.launches for row in rows), estimate, binds, sum(row.part for row in rows))


def _names(row: Row, by: By, style: TableFormat) -> list[Any]:
    if by == "op":
        return [row.what, row.where, row.launches]
    if by == "kind":
        return [row.what, row.launches]
    if style != "table":
        return [row.what or "(model)", row.where]
    level = row.what.count(".") + 1 if row.what else 0
    return ["  " * level + (row.what.rpartition(".")[2] or "(model)"), row.where]


def _cells(row: Row) -> list[str]:
    if row.estimate is None:
        return ["not known", "", "", "", ""]
    found = row.estimate
    mark = "≥ " if found.partial else ""
    return [mark + time_text(found.seconds), time_text(found.low), time_text(found.high), f"{100 * row.part:.1f} %", row.binds]


def time_text(seconds: float) -> str:
    """A time with three digits: ``1.23 ms``."""
    if seconds == 0:
        return "0 s"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.9995 * size:
            return f"{_digits(seconds / size)} {unit}"
    return f"{_digits(seconds / 1e-9)} ns"


def _digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
