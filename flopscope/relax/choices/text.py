"""A cost model as people read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tabulate import tabulate

from flopscope.errors import SupernetError
from flopscope.relax.choices.timing import SECONDS

if TYPE_CHECKING:
    from flopscope.relax.choices.cost_model import CostModel


def described(model: CostModel) -> str:
    """The range of each metric over the space, what is expected now, and the notes."""
    rows = [[metric, *_counts(model, metric)] for metric in model.metrics]
    size = 1
    for decision in model.decisions:
        size *= len(decision.candidates)
    head = f"{model.name}: {len(model.decisions)} decisions, {size:,} architectures{', costs are lower bounds' if model.partial else ''}"
    table = tabulate(rows, ["", "minimum", "expected", "most likely", "maximum"], disable_numparse=True, colalign=("left", *["right"] * 4))
    return "\n".join([head, table, *(f"note: {note}" for note in model.notes)])


def _counts(model: CostModel, metric: str) -> list[str]:
    """What cannot be had (too many decisions depend on each other, or no supernet is attached) is left empty."""
    questions: tuple[Callable[[], float], ...] = (
        lambda: model.minimum(metric).value,
        lambda: model(metric).item(),
        lambda: model.most_likely(metric).value,
        lambda: model.maximum(metric).value,
    )
    found = []
    for ask in questions:
        try:
            found.append(f"{ask():,.0f}" if metric != SECONDS else f"{ask():.4g}")
        except SupernetError:
            found.append("")
    return found
