"""Two models side by side as one small HTML file: no script, no request, every name escaped."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING

from flopscope.report.diff_text import difference, in_words
from flopscope.report.quantities import UNITS, amount
from flopscope.report.text import counted

if TYPE_CHECKING:
    from flopscope.report.diff import Delta, Diff, Row
    from flopscope.report.snapshot import Snapshot

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --more: #b3541e22; --less: #1f7a4d22; --new: #1f5fa822; --gone: #7a7a7a33; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 100rem; padding: 0 1rem; }
h1 { font-size: 1.35rem; margin: 0 0 .5rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; font-size: .88rem; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .45rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th[colspan] { text-align: center; } thead th { position: sticky; top: 0; background: Canvas; }
.name { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 16rem; font-weight: 500; }
.edge { border-left: 2px solid var(--line); } .more { background: var(--more); } .less { background: var(--less); }
tr.added .name { background: var(--new); } tr.removed .name { background: var(--gone); text-decoration: line-through; }
tr.same { opacity: .72; } .none { opacity: .5; } details > summary { cursor: pointer; margin: .5rem 0; }
"""
_DEEPEST = 12


def page(diff: Diff) -> str:
    """The whole file."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = f"{diff.before.name} → {diff.after.name}"
    notes = "".join(f"<li>{escape(note)}</li>" for note in diff.notes)
    limits = "".join(f"<li>{escape(UNITS[one.metric])}: {escape(one.status)}: {escape(one.reason)}</li>" for one in diff.limits)
    changed = [row for row in diff.scopes if row.change != "same"]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<dl><dt>before</dt><dd>{_described(diff.before)}</dd><dt>after</dt><dd>{_described(diff.after)}</dd></dl>",
        f"<h2>Totals</h2>{_totals(diff)}",
        f"<h2>Limits</h2><ul>{limits}</ul>" if limits else "",
        f"<h2>Kinds of op</h2>{_rows('kind', diff.kinds)}",
        f"<h2>Modules that changed</h2>{_rows('module', changed)}" if changed else "<h2>Modules</h2><p>No module changed.</p>",
        f"<details><summary>All {len(diff.scopes)} modules</summary>{_rows('module', diff.scopes)}</details>",
        f"<h2>Notes</h2><ul>{notes}</ul>" if notes else "",
        "<p>▲ + more, ▼ − less, = same. Each module is counted with everything inside it.</p>",
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def _totals(diff: Diff) -> str:
    rows = []
    for metric, delta in diff.totals.items():
        sides = "".join(f"<td>{_side_count(side, metric)}</td>" for side in (diff.before, diff.after))
        change = f'<td class="{_class(delta)}">{difference(metric, delta)}</td><td>{in_words(metric, delta)}</td>'
        rows.append(f'<tr><th scope="row" class="name">{UNITS[metric]}</th>{sides}{change}</tr>')
    head = '<th scope="col" class="name">total</th>' + "".join(
        f'<th scope="col">{name}</th>' for name in ("before", "after", "change", "in words")
    )
    return _table(head, rows)


def _rows(what: str, rows: list[Row]) -> str:
    metrics = list(rows[0].deltas) if rows else []
    sides = (("before", ""), ("after", ' class="edge"'), ("change", ' class="edge"'))
    groups = "".join(f'<th scope="colgroup" colspan="{len(metrics)}"{edge}>{side}</th>' for side, edge in sides)
    names = "".join(
        f'<th scope="col"{edge if i == 0 else ""}>{UNITS[metric].removesuffix(" bytes")}</th>'
        for _, edge in sides
        for i, metric in enumerate(metrics)
    )
    head = f'<th scope="col" class="name" rowspan="2">{what}</th><th scope="col" rowspan="2">change</th>{groups}</tr><tr>{names}'
    return _table(head, [_row(row) for row in rows])


def _row(row: Row) -> str:
    name = row.name or "(the model itself)"
    was = f" (was {row.name_before})" if row.name_before is not None and row.name_before != row.name else ""
    level = min(_DEEPEST, row.name.count(".") + 1) if row.name else 0
    indent = "&emsp;" * level if row.class_name or level else ""
    before = "".join(f"<td>{_count(metric, delta.before)}</td>" for metric, delta in row.deltas.items())
    after = "".join(f"<td{_edge(i)}>{_count(metric, delta.after)}</td>" for i, (metric, delta) in enumerate(row.deltas.items()))
    change = "".join(
        f'<td class="{_class(delta)}{" edge" if i == 0 else ""}">{difference(metric, delta)}</td>'
        for i, (metric, delta) in enumerate(row.deltas.items())
    )
    return (
        f'<tr class="{row.change}"><th scope="row" class="name">{indent}<bdi>{escape(name + was)}</bdi></th><td>{row.change}</td>'
        f"{before}{after}{change}</tr>"
    )  # fmt: skip


def _table(head: str, rows: list[str]) -> str:
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _edge(index: int) -> str:
    return ' class="edge"' if index == 0 else ""


def _class(delta: Delta) -> str:
    return "more" if delta.change > 0 else "less" if delta.change < 0 else "none"


def _count(metric: str, count: int | None) -> str:
    return "–" if count is None else amount(metric, count)


def _side_count(side: Snapshot, metric: str) -> str:
    return ("≥ " if side.partial(metric) else "") + f"{amount(metric, side.count(metric))}"


def _described(side: Snapshot) -> str:
    peak = f"; peak at <bdi>{escape(side.peak)}</bdi>" if side.peak else ""
    return f"<bdi>{escape(side.name)}</bdi> on {escape(counted(side.inputs) or 'no inputs')}{peak}"
