"""A genotype as a picture: what each node of both cells computes, and from what."""

from __future__ import annotations

import html
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from flopscope.errors import OptionError
from nas.genotype import INPUTS, Edge, Genotype
from nas.report.figure import DPI, GRAY, INK, check, printable
from nas.report.kinds import color_of
from nas.report.sketch import sketch

_TITLES = {"normal": "normal cell", "reduce": "reduction cell"}
_STYLE = (
    'rankdir="LR" nodesep="0.18" ranksep="0.3" fontname="Helvetica,Arial,sans-serif" fontsize="15" pad="0.15"',
    f'node [shape="box" style="rounded,filled" fillcolor="#eef2f7" color="{GRAY}" fontname="Helvetica,Arial,sans-serif" '
    'fontsize="14" margin="0.12,0.06" width="0.5" height="0.4"]',
    f'edge [fontname="Helvetica,Arial,sans-serif" fontsize="12" color="{GRAY}" arrowsize="0.7"]',
)
_SECONDS = 60


def to_dot(name: str, edges: Sequence[Edge], concat: Sequence[int]) -> str:
    """Graphviz source of one cell: its two inputs, its nodes, its output, and an edge with a label for each operation."""
    lines = [*_STYLE, f"label={_quoted(name)}", 'labelloc="t" labeljust="l"', *_body("", edges, concat)]
    return _graph(name, lines)


def draw_cells(genotype: Genotype, path: Path) -> None:
    """Draw both cells into one picture, with Graphviz where its program ``dot`` is installed and with matplotlib elsewhere.

    Raises:
        OptionError: the format is none that is drawn, or the file cannot be written.
        MissingPackageError: neither Graphviz nor matplotlib is installed.
    """
    check(path)
    cells = {
        _TITLES["normal"]: (genotype.normal, genotype.normal_concat),
        _TITLES["reduce"]: (genotype.reduce, genotype.reduce_concat),
    }
    picture = _rendered(_both(cells), path.suffix.lower()[1:])
    if picture is None:
        sketch(cells, path)
        return
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror or error}") from error


def _rendered(source: str, form: str) -> bytes | None:
    """The picture that ``dot`` makes; nothing where it is not installed, or cannot (it may lack the format)."""
    dot = shutil.which("dot")
    if dot is None:
        return None
    size = [f"-Gdpi={DPI}"] if form == "png" else []  # the others have no pixels, and would only grow
    try:
        done = subprocess.run([dot, f"-T{form}", *size], input=source.encode(), capture_output=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout or None


def _both(cells: dict[str, tuple[tuple[Edge, ...], tuple[int, ...]]]) -> str:
    lines = list(_STYLE)
    for name, (edges, concat) in reversed(cells.items()):  # a graph that runs to the right is stacked from the bottom
        lines += [f"subgraph {_quoted(f'cluster {name}')} {{", f"label={_quoted(name)}", 'labeljust="l" color="#d5d5d5" margin="14"']
        lines += [*_body(f"{name} ", edges, concat), "}"]
    return _graph("cells", lines)


def _graph(name: str, lines: Sequence[str]) -> str:
    return "\n".join([f"digraph {_quoted(name)} {{", *(f"  {line}" for line in lines), "}", ""])


def _body(prefix: str, edges: Sequence[Edge], concat: Sequence[int]) -> list[str]:
    """The nodes and edges of a cell; the prefix keeps the nodes of two cells in one graph apart."""
    nodes = len(edges) // 2
    names = ["c_{k-2}", "c_{k-1}", *map(str, range(nodes)), "c_{k}"]
    ids = [_quoted(prefix + name) for name in names]
    labels = ["<c<SUB>k-2</SUB>>", "<c<SUB>k-1</SUB>>", *(_quoted(str(node)) for node in range(nodes)), "<c<SUB>k</SUB>>"]
    ends = {0, 1, len(ids) - 1}
    fills = [' fillcolor="#ffffff"' if state in ends else "" for state in range(len(ids))]
    lines = [f"{ids[state]} [label={labels[state]}{fills[state]}]" for state in range(len(ids))]
    for position, (operation, state) in enumerate(edges):
        color = color_of(operation)
        style = f'color="{color}" fontcolor="{color}"'
        lines.append(f"{ids[state]} -> {ids[INPUTS + position // 2]} [label={_padded(operation)} {style}]")
    return lines + [f'{ids[state]} -> {ids[-1]} [color="{INK}"]' for state in concat]


def _padded(text: str) -> str:
    """A label with air around it, which Graphviz gives to a table only: a plain one is touched by the edges beside it."""
    cell = f"<TR><TD>{html.escape(printable(text))}</TD></TR>"
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="4">{cell}</TABLE>>'


def _quoted(text: str) -> str:
    """A string of DOT that shows this text: Graphviz reads escapes in labels, and HTML entities too."""
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return f'"{escaped}"'
