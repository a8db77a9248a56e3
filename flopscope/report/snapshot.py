"""What a report says in numbers, whether it was just made or saved as JSON: what diffs and checks work on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flopscope.cost import Cost
from flopscope.errors import SavedError
from flopscope.report.rows import metrics
from flopscope.report.schemas import identifier
from flopscope.version import __version__

if TYPE_CHECKING:
    from flopscope.report.report import Report

LIMITED = ("macs", "flops", "params", "access_bytes", "peak_bytes")
"""The metrics that diffs show and limits are for."""
_FIELDS = tuple(field.name for field in fields(Cost))
_MOST_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Scope:
    """One module, with everything inside it."""

    path: str
    class_name: str
    """Empty where the model does not say."""
    cost: Cost


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers of one report."""

    name: str
    version: str
    """The version of flopscope that counted."""
    inputs: tuple[str, ...]
    total: Cost
    peak_bytes: int
    memory_partial: bool
    """Whether the peak is a lower bound."""
    peak: str
    """The op at which it is reached, in words; empty for a model without ops."""
    alive: tuple[tuple[str, int], ...]
    """What is held at the peak: the scope that made it, and its bytes."""
    scopes: Mapping[str, Scope]
    """By path, parents before children."""
    kinds: Mapping[str, Cost]
    uncounted: tuple[tuple[str, str], ...]
    """The ops that no rule prices, each with its scope."""
    notes: tuple[str, ...]

    def count(self, metric: str) -> int:
        """The total of one of the metrics that limits are for."""
        return self.peak_bytes if metric == "peak_bytes" else int(getattr(self.total, metric))

    def partial(self, metric: str) -> bool:
        """Whether that total is a lower bound. Parameters are always known."""
        return self.memory_partial if metric == "peak_bytes" else metric != "params" and self.total.partial

    def own(self, metric: str) -> dict[str, int]:
        """What each module adds itself, without the modules inside it, by path; of the peak, what is held there by who made it."""
        if metric == "peak_bytes":
            held: dict[str, int] = {}
            for scope, size in self.alive:
                held[scope] = held.get(scope, 0) + size
            return held
        counts = {path: int(getattr(scope.cost, metric)) for path, scope in self.scopes.items()}
        own = dict(counts)
        for path, amount in counts.items():
            parent = self.parent(path)
            if parent is not None:
                own[parent] -= amount
        return own

    def parent(self, path: str) -> str | None:
        """The nearest module around a module; ``None`` for the model itself."""
        while path:
            path = path.rpartition(".")[0]
            if path in self.scopes:
                return path
        return None


def snapshot(report: Report) -> Snapshot:
    """The numbers of a report that was just made."""
    memory = report.memory
    facts = {
        "schema": identifier("report"),
        "flopscope": __version__,
        "model": report.name,
        "inputs": [str(value.type) for value in report.graph.inputs],
        "total": metrics(report.total),
        "memory": {
            "peak_bytes": memory.peak_bytes,
            "partial": memory.partial,
            "peak": None if memory.peak is None else memory.peak.to_dict(),
            "alive": [piece.to_dict() for piece in memory.alive],
        },
        "modules": [row.to_dict() for row in report.by_module()],
        "kinds": [row.to_dict() for row in report.by_kind()],
        "uncounted": [{"op": row.op, "scope": row.scope} for row in report.uncounted],
        "notes": report.notes,
    }
    return _Reader("the report").snapshot(facts)


def read_saved(path: Path | str) -> Snapshot:
    """The numbers of a report that was saved with ``--format json``.

    Raises:
        SavedError: the file cannot be read, is damaged, or is no report of a known version.

    Examples:
        >>> import flopscope, tempfile, torch
        >>> from pathlib import Path
        >>> saved = Path(tempfile.mkdtemp()) / "report.json"
        >>> _ = saved.write_text(flopscope.analyze(torch.nn.Linear(8, 4), "2x8").to_json())
        >>> read_saved(saved).total.macs
        64
    """
    place = Path(path)
    try:
        if place.stat().st_size > _MOST_BYTES:
            raise SavedError(f"{place} is larger than {_MOST_BYTES >> 30} GiB, which no saved report is")
        text = place.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SavedError(f"cannot read {place}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SavedError(f"{place} is no saved report: it is not text in UTF-8") from error
    try:
        facts = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise SavedError(f"{place} is damaged, or no JSON: {error}; write it again with flopscope analyze SPEC --format json") from error
    return _Reader(str(place)).snapshot(facts)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number in JSON")


class _Reader:
    """Reads plain data and says what is wrong with it."""

    def __init__(self, where: str) -> None:
        self.where = where

    def snapshot(self, facts: Any) -> Snapshot:
        """The numbers of a report as plain data."""
        self._check_schema(facts)
        memory = self._get(facts, "memory", dict)
        place = memory.get("peak")
        scopes: dict[str, Scope] = {}
        for row in self._rows(facts, "modules"):
            path = self._get(row, "module", str)
            if path in scopes:
                raise self._damaged(f"the module {path!r} is in it twice")
            scopes[path] = Scope(path, self._get(row, "class", str), self._cost(row))
        return Snapshot(
            name=self._get(facts, "model", str),
            version=self._get(facts, "flopscope", str),
            inputs=tuple(map(str, self._get(facts, "inputs", list))),
            total=self._cost(self._get(facts, "total", dict)),
            peak_bytes=self._count(memory, "peak_bytes"),
            memory_partial=self._get(memory, "partial", bool),
            peak="" if place is None else self._place(place),
            alive=tuple((self._made_by(piece), self._count(piece, "bytes")) for piece in self._rows(memory, "alive")),
            scopes=scopes,
            kinds={self._get(row, "kind", str): self._cost(row) for row in self._rows(facts, "kinds")},
            uncounted=tuple((self._get(row, "op", str), self._get(row, "scope", str)) for row in self._rows(facts, "uncounted")),
            notes=tuple(map(str, self._get(facts, "notes", list))),
        )

    def _check_schema(self, facts: Any) -> None:
        expected = identifier("report")
        again = "write one with flopscope analyze SPEC --format json"
        found = facts.get("schema") if isinstance(facts, dict) else None
        if not isinstance(found, str) or not found.startswith("flopscope."):
            raise SavedError(f'{self.where} is JSON, but no report of flopscope: it has no "schema": "{expected}"; {again}')
        if found == expected:
            return
        if not found.startswith("flopscope.report/"):
            raise SavedError(f"{self.where} is a {found.split('.', 1)[1].split('/')[0]} of flopscope, and a report is needed; {again}")
        raise SavedError(f"{self.where} is of the schema {found}, and this flopscope ({__version__}) reads {expected}; {again}")

    def _get(self, facts: Any, key: str, wanted: type) -> Any:
        value = facts.get(key) if isinstance(facts, dict) else None
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            found = "is missing" if value is None else f"is {_spoken(value)}"
            raise self._damaged(f"{key!r} {found}, where a {_WORDS[wanted]} belongs")
        return value

    def _count(self, facts: Any, key: str) -> int:
        value: int = self._get(facts, key, int)
        if value < 0:
            raise self._damaged(f"{key!r} is {value}, and no count is below zero")
        return value

    def _cost(self, row: Any) -> Cost:
        return Cost(**{name: self._count(row, name) for name in _FIELDS})

    def _rows(self, facts: Any, key: str) -> list[Any]:
        rows: list[Any] = self._get(facts, key, list)
        return rows

    def _place(self, place: Any) -> str:
        scope = self._get(place, "scope", str)
        return f"#{self._count(place, 'op')} {self._get(place, 'target', str)}{f' in {scope}' if scope else ''}"

    def _made_by(self, piece: Any) -> str:
        made_by = piece.get("made_by") if isinstance(piece, dict) else None
        return "(inputs)" if made_by is None else str(self._get(made_by, "scope", str))

    def _damaged(self, what: str) -> SavedError:
        return SavedError(f"{self.where} is a damaged report: {what}; write it again with flopscope analyze SPEC --format json")


_WORDS = {dict: "table", list: "list", str: "text", int: "whole number", bool: "true or false"}


def _spoken(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
