"""Limits and whether they are kept, as text: reasons, tables, and the XML of JUnit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from flopscope.report.quantities import UNITS, amount, exact, percent
from flopscope.report.text import TableFormat, counted, render

if TYPE_CHECKING:
    from flopscope.report.budget import Check, Limit, Worst

_MARKS = {"ok": "✓ kept", "over": "✗ over", "unknown": "? unknown"}
_EMOJI = {"ok": "✅ kept", "over": "❌ over", "unknown": "❓ unknown"}
_MOST_OPS = 3
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped (section 2.2)."""


def mark(limit: Limit, style: str) -> str:
    """A sign and a word for the result."""
    return (_EMOJI if style == "markdown" else _MARKS)[limit.status]


def reason(limit: Limit) -> str:
    """What was allowed, what was found, by how much over, and where the most is."""
    at_least = "at least " if limit.partial else ""
    allowed = f"{exact(limit.metric, limit.allowed)} allowed{_origin(limit)}"
    text = f"{at_least}{exact(limit.metric, limit.found)} found, {allowed}"
    if limit.over:
        part = percent(limit.over, limit.allowed)
        text += f": {at_least}{limit.over:,} over{f' ({part})' if part else ''}"
    if limit.status == "unknown":
        text += f"; nobody can tell whether that is kept, because {_why_unknown(limit)}"
    if limit.status != "ok" and limit.worst:
        text += f"; {_lead(limit)} {', '.join(_worst(one, limit.metric) for one in limit.worst)}"
    return text


def _origin(limit: Limit) -> str:
    if limit.baseline is None:
        return ""
    more = f" + {float(100 * limit.tolerance):g} %" if limit.tolerance else ""
    at_least = "at least " if limit.baseline_partial else ""
    return f" (baseline {at_least}{limit.baseline:,}{more})"


def _why_unknown(limit: Limit) -> str:
    reasons = []
    if limit.partial and limit.metric == "peak_bytes":
        reasons.append("the shapes or element types of some tensors are not known")
    elif limit.partial:
        first = [f"{op} in {scope or 'the model itself'}" for op, scope in limit.uncounted]
        more = f" and {len(first) - _MOST_OPS} more" if len(first) > _MOST_OPS else ""
        listed = counted(first[:_MOST_OPS]) or "some ops"
        reasons.append(f"not everything was counted: {listed}{more} (flopscope.rule adds a formula)")
    if limit.baseline_partial and limit.over:
        reasons.append("the baseline is a lower bound itself, and may cost more than it says")
    return ", and ".join(reasons)


def _lead(limit: Limit) -> str:
    if limit.baseline is not None:
        return "the growth is in"
    return "at the peak the most is made in" if limit.metric == "peak_bytes" else "the most is in"


def _worst(one: Worst, metric: str) -> str:
    scope = one.scope or "the model itself"
    if one.baseline is None:
        return f"{scope} ({amount(metric, one.count)})"
    return f"{scope} ({amount(metric, one.baseline)} → {amount(metric, one.count)})"


def table(check: Check, style: TableFormat) -> str:
    """A row for each limit."""
    rows = []
    for limit in check.limits:
        sign = "≥ " if limit.partial else ""
        over = f"{sign}{amount(limit.metric, limit.over)}" if limit.over else ""
        rows.append(
            [
                UNITS[limit.metric], limit.source, amount(limit.metric, limit.allowed), sign + amount(limit.metric, limit.found), over,
                percent(limit.over, limit.allowed) if limit.over else "", mark(limit, style),
            ]
        )  # fmt: skip
    return render(["limit", "from", "allowed", "found", "over", "over by", "result"], rows, style, 2)


def text(check: Check, style: TableFormat) -> str:
    """The table, the result, and the reasons of what is not kept."""
    broken = [limit for limit in check.limits if limit.status != "ok"]
    verdict = "all limits are kept" if check.passed else f"{len(broken)} of {len(check.limits)} limits not kept"
    result = f"{'PASSED' if check.passed else 'FAILED'}: {verdict} by {check.model.name} on {counted(check.model.inputs) or 'no inputs'}"
    lines = [f"{UNITS[limit.metric]}: {limit.reason}" for limit in broken]
    notes = [f"note: {note}" for note in check.notes]
    if style == "markdown":
        lead = f"**{'✅' if check.passed else '❌'} {escape_markdown(result)}**"
        points = [f"- {escape_markdown(line)}" for line in (*lines, *notes)]
        return "\n".join([lead, "", table(check, style), *points]).rstrip("\n") + "\n"
    return "\n".join([table(check, style), result, *lines, *notes]) + "\n"


def csv(check: Check) -> str:
    """A row for each limit with exact counts."""
    headers = ["metric", "source", "allowed", "found", "over", "partial", "status", "baseline", "baseline_partial", "reason"]
    return render(headers, [[limit.to_dict()[name] for name in headers] for limit in check.limits], "csv")


def junit(check: Check) -> str:
    """One test suite with a test case for each limit: what is over or unknown has failed."""
    broken = sum(limit.status != "ok" for limit in check.limits)
    counts = {"tests": str(len(check.limits)), "failures": str(broken), "errors": "0"}
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "flopscope check", **counts, "skipped": "0"})
    for limit in check.limits:
        of = "" if limit.source == "budget" else " of the baseline"
        name = f"{UNITS[limit.metric]} at most {exact(limit.metric, limit.allowed)}{of}"
        case = ElementTree.SubElement(suite, "testcase", {"classname": _xml(check.model.name), "name": name})
        if limit.status != "ok":
            facts: dict[str, Any] = {"type": limit.status, "message": _xml(limit.reason)}
            ElementTree.SubElement(case, "failure", facts).text = _xml(limit.reason)
    if check.notes:
        ElementTree.SubElement(suite, "system-out").text = _xml("\n".join(check.notes))
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)


def escape_markdown(text: str) -> str:
    """A text that stays text in GitHub's Markdown, in tables too: no markup, no HTML, no mention of a person."""
    text = re.sub(r"\s+", " ", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#@])", lambda found: f"&#{ord(found[1])};" if found[1] in "@#" else f"\\{found[1]}", text)
