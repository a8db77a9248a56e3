"""The kinds of operation that pictures of cells tell apart, by the names that published search spaces use."""

from __future__ import annotations

from nas.report.figure import GRAY

_KINDS = (
    ("skip", ("skip", "identity"), "#2e7d4f"),
    ("pooling", ("pool",), "#c2570c"),
    ("convolution", ("conv",), "#1f5fa8"),
)


def kind_of(operation: str) -> str:
    """``skip``, ``pooling`` or ``convolution``; ``other`` where the name says none of them."""
    name = operation.lower()
    return next((kind for kind, words, _ in _KINDS if any(word in name for word in words)), "other")


def color_of(operation: str) -> str:
    """The colour in which edges with this operation are drawn."""
    return {kind: color for kind, _, color in _KINDS}.get(kind_of(operation), GRAY)
