"""What a cost model is made of, and what it answers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flopscope.cost import METRICS
from flopscope.errors import OptionError
from flopscope.relax.choices.decisions import Decision
from flopscope.relax.choices.tables import Literals
from flopscope.relax.choices.timing import SECONDS

_FORMAT = "flopscope cost model 1"
_KNOWN = (METRICS, (*METRICS, SECONDS), (SECONDS,))
"""The metrics that a model may have."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one candidate of one choice costs by itself, without the choices inside it.

    A part without a choice belongs to every architecture, one with several alternatives is there if any of them is taken (a weight that
    candidates share).
    """

    alternatives: tuple[tuple[tuple[str, int], ...], ...]
    """Each alternative: the paths of the choices and the candidates that they must take, from the outermost."""
    literals: frozenset[Literals]
    """The same, as decisions."""
    counts: tuple[int, ...]
    """By metric, in the order of the model's metrics."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one candidate adds to the expected cost. Constants have no choice and no candidate."""

    choice: str
    """The path of the choice; empty for what lies outside every choice, and for what candidates share."""
    candidate: int | None
    name: str
    cost: float
    """What it costs when it is taken, without the choices inside it."""
    probability: float
    """That it is taken, and everything around it."""
    expected: float
    """``cost * probability``. These add up to the expected cost."""


@dataclass(frozen=True, slots=True)
class Vertex:
    """One architecture and its cost."""

    value: int | float
    architecture: tuple[int, ...]
    """The index of the candidate that each decision takes."""


def write_parts(
    path: str | os.PathLike[str],
    name: str,
    decisions: Sequence[Decision],
    parts: Sequence[Part],
    notes: Sequence[str],
    partial: bool,
    metrics: Sequence[str],
) -> None:
    """Write the content of a cost model as JSON.

    Raises:
        OptionError: the file cannot be written.
    """
    content = {
        "format": _FORMAT,
        "name": name,
        "metrics": list(metrics),
        "decisions": [asdict(decision) for decision in decisions],
        "parts": [[part.alternatives, [sorted(map(list, literals)) for literals in part.literals], part.counts] for part in parts],
        "notes": list(notes),
        "partial": partial,
    }
    try:
        Path(path).write_text(json.dumps(content), encoding="utf-8")
    except OSError as error:
        raise OptionError(f"cannot write the cost model to {path}: {error.strerror or error}") from error


def read_parts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a cost model, as the arguments that make one.

    Raises:
        OptionError: the file cannot be read, or is no cost model.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        metrics = tuple(content["metrics"])
        if content["format"] != _FORMAT or metrics not in _KNOWN:
            raise OptionError(f"{path} was written by a version of flopscope that this one cannot read")
        decisions = [Decision(tuple(entry["choices"]), tuple(entry["candidates"])) for entry in content["decisions"]]
        parts = [_part_from(*entry) for entry in content["parts"]]
        _check(decisions, parts, metrics)
        return {
            "name": str(content["name"]),
            "decisions": decisions,
            "parts": parts,
            "notes": [str(note) for note in content["notes"]],
            "partial": bool(content["partial"]),
            "metrics": metrics,
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(f"{path} is no cost model that can be read: {type(error).__name__}: {error}") from error


def _check(decisions: Sequence[Decision], parts: Sequence[Part], metrics: Sequence[str]) -> None:
    if not decisions:
        raise ValueError("it has no decisions")
    for part in parts:
        for decision, candidate in (literal for literals in part.literals for literal in literals):
            if not (0 <= decision < len(decisions) and 0 <= candidate < len(decisions[decision].candidates)):
                raise ValueError(f"decision {decision} has no candidate {candidate}")
        if len(part.counts) != len(metrics):
            raise ValueError(f"a part has {len(part.counts)} counts, where {len(metrics)} are needed")


def _part_from(alternatives: Any, literals: Any, counts: Any) -> Part:
    return Part(
        tuple(tuple((str(path), int(candidate)) for path, candidate in chain) for chain in alternatives),
        frozenset(frozenset((int(decision), int(candidate)) for decision, candidate in members) for members in literals),
        tuple(int(count) for count in counts),
    )
