"""The memory of a model as text: lines, tables, and the timeline in block characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flopscope.report.text import TableFormat, binary, render

if TYPE_CHECKING:
    from flopscope.graph import Graph
    from flopscope.report.memory import Alive, Memory, Place

_HEADERS = ["bytes", "tensor", "made by", "held until"]
_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT = 72, 8


def numbers(memory: Memory) -> dict[str, int | None]:
    """The counts, by their names."""
    names = ("peak_bytes", "input_bytes", "activation_peak_bytes", "parameter_bytes", "buffer_bytes", "constant_bytes")
    return {name: getattr(memory, name) for name in (*names, "folded_bytes", "total_bytes", "cpu_peak_bytes", "cuda_peak_bytes")}


def summary_line(memory: Memory) -> str:
    """The memory in one line, for a report."""
    where = "" if memory.peak is None else f" {_where(memory.peak)}"
    return f"memory  peak {_size(memory, memory.peak_bytes)} of live tensors{where}, weights {binary(_weights(memory))}"


def text(memory: Memory, exact: bool, top: int) -> str:
    """All there is to say, for people."""
    parts = [*_lines(memory, exact), "", alive_table(memory, "table", exact, top).rstrip("\n")]
    parts += _rest(memory, exact, top)
    parts += ["", *chart(memory.timeline.live_bytes)]
    parts += [f"note: {note}" for note in memory.notes]
    return "\n".join(parts) + "\n"


def markdown(memory: Memory, exact: bool, top: int | None) -> str:
    """The numbers as a list, and what is alive at the peak as a table."""
    lines = [f"- {line}" for line in _lines(memory, exact)]
    rest = _rest(memory, exact, top)
    notes = [f"- note: {note}" for note in memory.notes]
    table = alive_table(memory, "markdown", exact, top).rstrip("\n")
    return "\n".join([*lines, "", table, *(["", *rest] if rest else []), *(["", *notes] if notes else [])]) + "\n"


def csv(memory: Memory) -> str:
    """A row for each op."""
    live, ideal = memory.timeline.live_bytes, memory.fused.timeline.live_bytes
    rows = [[op.index, op.scope, op.target, live[op.index], ideal[op.index]] for op in memory.ops]
    return render(["op", "scope", "target", "live_bytes", "ideal_live_bytes"], rows, "csv")


def alive_table(memory: Memory, style: TableFormat, exact: bool, top: int | None) -> str:
    """What is alive at the peak, the largest first."""
    rows = [_row(piece, style, exact) for piece in memory.alive[:top]]
    return render(_HEADERS, rows, style)


def chart(live: Sequence[int]) -> list[str]:
    """Live bytes from the first op to the last as columns of blocks; a column that stands for several ops shows the most."""
    highest = max(live, default=0)
    if not highest:
        return []
    width = min(_WIDTH, len(live))
    tops = [max(live[i * len(live) // width : (i + 1) * len(live) // width]) for i in range(width)]
    levels = [-(-top * _HEIGHT * 8 // highest) for top in tops]  # rounded up: a live byte is seen
    labels = {_HEIGHT - 1: binary(highest), 0: "0"}
    margin = max(map(len, labels.values()))
    lines = []
    for row in reversed(range(_HEIGHT)):
        cells = "".join(_BLOCKS[min(8, max(0, level - 8 * row))] for level in levels)
        lines.append(f"{labels.get(row, ''):>{margin}} {'┤' if row in labels else '│'}{cells}".rstrip())
    last = str(len(live) - 1)
    return [*lines, f"{'':>{margin}}  op 0{last:>{max(width - 4, len(last) + 1)}}"]


def notes(memory: Memory, graph: Graph) -> Iterator[str]:
    """What a reader of the numbers must know."""
    if memory.partial:
        yield "lower bound: the shapes or element types of some tensors are not known, and these are counted as nothing"
    if graph.deaths is None:
        yield (
            "a file does not say when memory is given back: nodes run in its order, a tensor lives until the last node that reads it has "
            "ended, what Reshape, Squeeze, Unsqueeze, Flatten and Identity return lies in the memory of their input unless the model "
            "returns it (as in ONNX Runtime), and what a node keeps inside is not counted; ONNX Runtime "
            "may hold more: it keeps memory that is done with for a later tensor of the same shape"
        )
        if memory.folded_bytes:
            yield (
                f"{memory.folded_bytes:,} bytes are made of weights alone when the file is loaded; they are no activations, and in no total"
            )
    if any(region.turns > 1 for region in graph.regions):
        yield "upper bound: a loop takes the memory of one turn after the first, with what is carried to it and what earlier turns made"
    if any(op.times > 1 for op in graph.ops) and not any(region.turns > 1 for region in graph.regions):
        yield "ops that run again and again are in the graph once: what is alive around them is as in their first run"


def _lines(memory: Memory, exact: bool) -> list[str]:
    peak, arena = memory.peak, memory.plan
    where = "" if peak is None else f", {_where(peak)}"
    kind = "live tensors as an ideal planner places them" if memory.is_fused else "live tensors"
    constant = f", other constants {_bytes(memory.constant_bytes, exact)}" if memory.constant_bytes else ""
    ideal = memory.fused.peak_bytes
    eager = []
    if memory.cpu_peak_bytes is not None and memory.cuda_peak_bytes is not None:
        eager = [
            f"eager       {_bytes(memory.cpu_peak_bytes, exact)} on a CPU, with the scratch memory of kernels; "
            f"{_bytes(memory.cuda_peak_bytes, exact)} in the blocks of CUDA, without the workspaces of cuDNN and cuBLAS"
        ]
    reached = memory.input_bytes + arena.arena_bytes
    return [
        f"peak        {_size(memory, memory.peak_bytes, exact)} of {kind}{where}",
        f"            inputs {_bytes(memory.input_bytes, exact)}, activations {_bytes(memory.activation_peak_bytes, exact)}",
        f"weights     parameters {_bytes(memory.parameter_bytes, exact)}, buffers {_bytes(memory.buffer_bytes, exact)}{constant}",
        f"in all      {_size(memory, memory.total_bytes, exact)}",
        *eager,
        f"planned     {_size(memory, ideal, exact)} is the least that an ideal planner needs, {_bytes(reached, exact)} what one arena with "
        f"fixed offsets takes ({arena.strategy}), inputs included",
    ]


def _rest(memory: Memory, exact: bool, top: int | None) -> list[str]:
    rest = [] if top is None else memory.alive[top:]
    return [f"and {len(rest)} more, {_bytes(sum(piece.bytes for piece in rest), exact)} together"] if rest else []


def _row(piece: Alive, style: TableFormat, exact: bool) -> list[Any]:
    size: Any = piece.bytes if style == "csv" else _bytes(piece.bytes, exact)
    made = piece.what if piece.made_by is None else _place(piece.made_by)
    tensor = f"{piece.type} {piece.what}" if piece.what and piece.made_by is not None else str(piece.type)
    return [size, tensor, made, "the end" if piece.until is None else _place(piece.until)]


def _place(place: Place) -> str:
    return f"#{place.op} {place.target}{f' in {place.scope}' if place.scope else ''}"


def _where(place: Place) -> str:
    return f"at {_place(place)}"


def _weights(memory: Memory) -> int:
    return memory.parameter_bytes + memory.buffer_bytes + memory.constant_bytes


def _bytes(count: int, exact: bool) -> str:
    return f"{count:,} bytes" if exact else binary(count)


def _size(memory: Memory, count: int, exact: bool = False) -> str:
    return f"{'at least ' if memory.partial else ''}{_bytes(count, exact)}"
