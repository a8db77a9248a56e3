"""A report as one HTML file: the built page with the facts inside it, behind a policy that allows nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flopscope.errors import OptionError
from flopscope.report import tables
from flopscope.report.html.facts import facts
from flopscope.report.text import METRIC_HEADERS, metric_cells

if TYPE_CHECKING:
    from flopscope.report.report import Report

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<noscript>This report needs JavaScript. The data of {title} is in this file as JSON.</noscript>
<div id="page"></div>
<script type="application/json" id="facts">{facts}</script>
<script>{script}</script>
</body>
</html>
"""
_LARGEST_INLINE = 1_500_000
"""The largest page, in characters, that a notebook gets inside it. Every cell that shows a report keeps a copy in the notebook's file."""
_LEVELS_INLINE = 1


def page_html(report: Report) -> str:
    """The page of a report."""
    script, style = _built("page.js"), _built("page.css")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    title = _escaped(f"{report.name} · flopscope")
    return _TEMPLATE.format(policy=policy, title=title, style=style, script=script, facts=embedded(facts(report)))


def save(report: Report, path: Path) -> Path:
    """Write the page of a report into a file.

    Raises:
        OptionError: the file cannot be written.
    """
    try:
        path.write_text(page_html(report), encoding="utf-8", newline="\n")
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def notebook_html(report: Report) -> str:
    """What a notebook shows: a table that needs no script, and under it the page, unless it is too large to be kept in a cell."""
    page = page_html(report)
    parts = [_static(report)]
    if len(page) <= _LARGEST_INLINE:
        frame = html.escape(page, quote=True)
        parts.append(
            f'<iframe sandbox="allow-scripts" title="Report of {_escaped(report.name)}" width="100%" height="760" '
            f'style="border:1px solid #8884;border-radius:8px" srcdoc="{frame}"></iframe>'
        )
    else:
        parts.append("<p>The whole page is too large for a cell: <code>report.save_html(&quot;report.html&quot;)</code> writes it.</p>")
    return "\n".join(parts)


def embedded(data: dict[str, Any]) -> str:
    """Data as JSON that can stand inside a script element: no text in it can end the element, or begin a comment or another."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=repr)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _static(report: Report) -> str:
    rows = report.by_module(_LEVELS_INLINE)
    headers = ["module", "class", *METRIC_HEADERS]
    cells = [[row.path or row.class_name, row.class_name, *metric_cells(row.cost, exact=False)] for row in rows]
    head = "".join(f"<th>{_escaped(header)}</th>" for header in headers)
    body = "".join(f"<tr>{''.join(f'<td>{_escaped(cell)}</td>' for cell in row)}</tr>" for row in cells)
    lines = _escaped(tables.summary(report))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>\n<pre>{lines}</pre>"


def _escaped(text: str) -> str:
    """A text as HTML. Half of a surrogate pair, which a name in Python may hold, can be in no file."""
    return html.escape(text.encode("utf-8", "replace").decode())


@cache
def _built(name: str) -> str:
    """A file of the built page. A character of the byte order mark or a carriage return would change its digest in a browser."""
    return files("flopscope.report.html").joinpath("built", name).read_text(encoding="utf-8").replace("\r\n", "\n")


@cache
def _digest(text: str) -> str:
    """The source of a Content-Security-Policy that allows this text and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
