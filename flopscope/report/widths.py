"""The breakdown of a report by the widths of what is multiplied, as a table and in lines for people."""

from __future__ import annotations

from flopscope.analyses.bits import Bits, Row
from flopscope.report.text import TableFormat, render, si

_HEADERS = ["weights", "activations", "MACs", "share", "BOPs"]


def bits_table(found: Bits, style: TableFormat, exact: bool) -> str:
    """A row for each pair of widths, the most multiply-accumulates first."""
    return render(_HEADERS, [_cells(row, found.macs, style, exact) for row in found.rows], style)


def _cells(row: Row, total: int, style: TableFormat, exact: bool) -> list[str | int]:
    weight = "(activations)" if row.weight is None else _type(row.weight, row.weight_bits)
    share = f"{100 * row.macs / total:.2f}%"
    if style == "csv":
        return [weight, _type(row.activation, row.activation_bits), row.macs, share, row.bops]
    counts = [f"{row.macs:,}", f"{row.bops:,}"] if exact else [si(row.macs), si(row.bops)]
    return [weight, _type(row.activation, row.activation_bits), counts[0], share, counts[1]]


def _type(dtype: str, bits: int) -> str:
    return f"{dtype} ({bits} bits)" if bits else f"{dtype} (width unknown)"


def bits_text(found: Bits, style: TableFormat, exact: bool) -> str:
    """The table; for people, with the exact totals under it."""
    table = bits_table(found, style, exact)
    if style != "table":
        return table
    at_least = "at least " if found.partial else ""
    stored = f"{'at least ' if found.hidden else ''}{found.model_bytes:,} bytes of parameters ({si(found.model_bytes, 'B')})"
    lines = [
        *([f"assumed {found.assumed}: every product with a weight, and activations alike"] if found.assumed else []),
        f"MACs    {at_least}{found.macs:,}",
        f"BOPs    {at_least}{found.bops:,}   (MACs x weight bits x activation bits)",
        f"model   {stored}; buffers {found.buffer_bytes:,}",
    ]
    return table + "\n" + "\n".join(lines) + "\n"
