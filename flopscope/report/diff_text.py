"""What changed between two models, as tables for people, Markdown for a pull request, and CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flopscope.report.budget_text import escape_markdown, mark
from flopscope.report.quantities import UNITS, amount, percent
from flopscope.report.snapshot import LIMITED
from flopscope.report.text import TableFormat, counted, render

if TYPE_CHECKING:
    from flopscope.report.diff import Delta, Diff, Row
    from flopscope.report.snapshot import Snapshot

_NAMES = {"macs": "MACs", "flops": "FLOPs", "params": "params", "access_bytes": "access", "peak_bytes": "peak memory"}
_MOST_ROWS = 400
"""So many rows of modules and of kinds are written into a comment; one of GitHub's holds 65,536 characters."""
_MOST_CHARACTERS = 60_000


def difference(metric: str, delta: Delta, exact: bool = False) -> str:
    """A change as an arrow, a sign and an amount: ``▲ +1.5 M``. Of lower bounds the change of what was counted, after a ``~``."""
    if not delta.change:
        return "~ =" if delta.partial else "="
    sign = "▲ +" if delta.change > 0 else "▼ −"
    return f"{'~ ' if delta.partial else ''}{sign}{f'{abs(delta.change):,}' if exact else amount(metric, abs(delta.change))}"


def in_words(metric: str, delta: Delta) -> str:
    """A change of a total with its part and a word: ``▲ 3.2 % more``."""
    if not delta.change:
        return "as much was counted" if delta.partial else "= same"
    arrow, word = ("▲", "more") if delta.change > 0 else ("▼", "less")
    part = percent(delta.change, delta.before or 0) or amount(metric, abs(delta.change))
    return f"{'~ ' if delta.partial else ''}{arrow} {part} {word}{' counted' if delta.partial else ''}"


def listed_rows(diff: Diff, depth: int | None) -> Iterator[tuple[Row, int]]:
    """The modules that changed, each with how many more it stands for: of what was added or removed as a whole only the outermost."""
    rows = diff.scopes
    skipped = ""
    kind = ""
    for position, row in enumerate(rows):
        if row.change == "same" or (depth is not None and _depth(row) > depth):
            continue
        if skipped and row.change == kind and row.name.startswith(skipped):
            continue
        skipped = ""
        inside = 0
        if row.change in ("added", "removed"):
            skipped, kind = f"{row.name}." if row.name else "", row.change
            if skipped:
                inside = sum(other.change == kind and other.name.startswith(skipped) for other in rows[position + 1 :])
        yield row, inside


def text(diff: Diff, style: TableFormat, depth: int | None, exact: bool) -> str:
    """Tables of totals, kinds and modules."""
    before = "% " if style == "latex" else ""
    lines = [f"{before}before  {_described(diff.before)}", f"{before}after   {_described(diff.after)}", "", total_table(diff, style, exact)]
    if not diff.changed:
        lines.append(f"{before}no total, module or kind of op differs\n")
    kinds = [row for row in diff.kinds if row.change != "same"]
    if kinds:
        lines.append(render(["kind", "change", *_row_headers()], [_row_cells(row, row.name, exact) for row in kinds], style, 2))
    scopes = list(listed_rows(diff, depth))
    if scopes:
        rows = [_row_cells(row, _module_name(row, inside), exact) for row, inside in scopes]
        lines.append(render(["module", "change", *_row_headers()], rows, style, 2))
    if diff.changed:
        lines.append(f"{before}▲ + more, ▼ − less, = same; each module with everything inside it")
    lines += [f"{before}{_limit_line(diff, i)}" for i in range(len(diff.limits))]
    lines += [f"{before}note: {note}" for note in diff.notes]
    return "\n".join(lines).rstrip("\n") + "\n"


def total_table(diff: Diff, style: TableFormat, exact: bool) -> str:
    """The totals before and after, with marks where there are limits."""
    marks = {limit.metric: limit for limit in diff.limits}
    rows = []
    for metric, delta in diff.totals.items():
        sides = [_count(side, metric, exact) for side in (diff.before, diff.after)]
        row = [_NAMES[metric], *sides, difference(metric, delta, exact), in_words(metric, delta)]
        if marks:
            limit = marks.get(metric)
            row.append("" if limit is None else f"{mark(limit, style)}, {amount(metric, limit.allowed)} allowed")
        rows.append(row)
    headers = ["total", "before", "after", "change", "in words", *(["limit"] if marks else [])]
    return render(headers, rows, style, 1)


def markdown(diff: Diff, depth: int | None, exact: bool) -> str:
    """A comment for a pull request; the long parts are folded, and cut where they would not fit."""
    lines = [f"**{_verdict(diff)}**", "", total_table(diff, "markdown", exact)]
    lines += [f"- {escape_markdown(_limit_line(diff, i))}" for i, limit in enumerate(diff.limits) if limit.status != "ok"]
    lines += [f"- note: {escape_markdown(note)}" for note in diff.notes]
    lines += ["", f"Before: {escape_markdown(_described(diff.before))}<br>", f"After: {escape_markdown(_described(diff.after))}", ""]
    kinds = [_row_cells(row, row.name, exact) for row in diff.kinds if row.change != "same"]
    lines += _folded("kind", "kinds of op", kinds)
    scopes = [_row_cells(row, _module_name(row, inside), exact) for row, inside in listed_rows(diff, depth)]
    room = _MOST_CHARACTERS - sum(map(len, lines))
    lines += _folded("module", "modules", scopes, room)
    return "\n".join(lines).rstrip("\n") + "\n"


def _folded(what: str, plural: str, rows: Sequence[Sequence[str]], room: int = _MOST_CHARACTERS) -> list[str]:
    if not rows:
        return []
    escaped = [[_code(row[0]), *row[1:]] for row in rows]
    kept = escaped[:_MOST_ROWS]
    width = max(sum(map(len, row)) + 3 * len(row) + 4 for row in kept) + 40
    kept = kept[: max(1, room // width)]
    cut = [f"... and {len(rows) - len(kept)} more: the formats csv, json and html have them all", ""] if len(kept) < len(rows) else []
    table = render([what, "change", *_row_headers()], kept, "markdown", 2)
    return [f"<details><summary>{len(rows)} {plural} changed</summary>", "", table, *cut, "</details>", ""]


def _code(name: str) -> str:
    """A name in a cell, in escaped text: code marks do not hide a bar or a tag everywhere."""
    return escape_markdown(name)


def _verdict(diff: Diff) -> str:
    changes = [f"{_NAMES[metric]} {in_words(metric, delta)}" for metric, delta in diff.totals.items() if delta.change]
    broken = [limit for limit in diff.limits if limit.status != "ok"]
    lead = "" if not diff.limits else "❌ limits not kept: " if broken else "✅ limits kept: "
    if changes:
        return lead + "; ".join(changes)
    return lead + ("totals are the same" if diff.changed else "nothing changed")


def csv(diff: Diff) -> str:
    """A row for the total, each kind and each module, with exact counts; stable names of columns."""
    headers = ["level", "name", "name_before", "change"]
    headers += [f"{metric}_{side}" for metric in LIMITED for side in ("before", "after", "change")] + ["partial"]
    changed = "changed" if any(delta.change for delta in diff.totals.values()) else "same"
    rows = [_csv_row("total", diff.after.name, diff.before.name, changed, diff.totals)]
    rows += [_csv_row("kind", row.name, row.name_before, row.change, row.deltas) for row in diff.kinds]
    rows += [_csv_row("module", row.name, row.name_before, row.change, row.deltas) for row in diff.scopes]
    return render(headers, rows, "csv")


def _csv_row(level: str, name: str, name_before: str | None, change: str, deltas: Any) -> list[Any]:
    counts: list[Any] = []
    for metric in LIMITED:
        delta = deltas.get(metric)
        counts += ["", "", ""] if delta is None else [delta.before, delta.after, delta.change]
    return [level, name, name_before, change, *counts, any(delta.partial for delta in deltas.values())]


def _row_headers() -> list[str]:
    return ["MACs", "FLOPs", "params", "access"]


def _row_cells(row: Row, name: str, exact: bool) -> list[str]:
    return [name, row.change, *(difference(metric, delta, exact) for metric, delta in row.deltas.items())]


def _module_name(row: Row, inside: int) -> str:
    name = row.name or "(the model itself)"
    if row.name_before is not None and row.name_before != row.name:
        name = f"{name} (was {row.name_before or 'the model itself'})"
    return f"{name} (and {inside} inside)" if inside else name


def _depth(row: Row) -> int:
    return row.name.count(".") + 1 if row.name else 0


def _count(side: Snapshot, metric: str, exact: bool) -> str:
    sign = "≥ " if side.partial(metric) else ""
    return f"{sign}{side.count(metric):,}" if exact else sign + amount(metric, side.count(metric))


def _described(side: Snapshot) -> str:
    peak = f"; peak at {side.peak}" if side.peak else ""
    return f"{side.name} on {counted(side.inputs) or 'no inputs'}{peak}"


def _limit_line(diff: Diff, index: int) -> str:
    limit = diff.limits[index]
    return f"{UNITS[limit.metric]}: {mark(limit, 'table')}: {limit.reason}"
