"""Which torchvision or timm model each row of ``published/costs.json`` is, and in which convention its MACs are stated.

``builder_for`` maps a row to a ``Build``, or to a ``Reason`` saying why no library model corresponds. The correspondence holds by
architecture, by the exact number of parameters where the row gives it, and by the MACs to every published digit; a row that
fails one of the three has a reason with both numbers.

Run as a module (with ``FLOPSCOPE_DATA`` set) to see how many rows of each source are matched.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conformance import published_tables as tables

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Build:
    """A library model: ``torchvision.models.get_model(name, weights=None, **kwargs)`` or ``timm.create_model(name, **kwargs)``."""

    library: str
    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    input_shape: tuple[int, ...] = (1, 3, 224, 224)
    counting: str = "contraction"


@dataclass(frozen=True)
class Reason:
    """Why no model of torchvision or timm corresponds to a row; rows with the same cause share the ``group``."""

    text: str
    group: str


@dataclass(frozen=True)
class Nearest(Reason):
    """A reason with the library model that comes nearest, and the ``quantity`` in which it differs: "parameters" or "M MACs"."""

    build: Build
    quantity: str
    computed: float
    stated: float


@dataclass(frozen=True)
class Published:
    """A row's numbers, and by how much an exact count may differ from them.

    MACs are printed to the nearest step, so an exact count lies within half of one. Rounded parameter counts are cut
    as often as rounded, hence a whole step.
    """

    params: int | None
    macs: int | None
    params_within: float
    macs_within: float


@functools.cache
def rows() -> list[dict[str, Any]]:
    """Return all rows of the published costs, or none where ``FLOPSCOPE_DATA`` is not set."""
    folder = os.environ.get("FLOPSCOPE_DATA")
    if not folder:
        return []
    loaded: list[dict[str, Any]] = json.loads((Path(folder) / "published" / "costs.json").read_text(encoding="utf-8"))
    return loaded


def builder_for(row: Mapping[str, Any]) -> Build | Reason:
    """Return the library model of a row, or the reason why there is none; raise LookupError for a row no table knows."""
    text = tables.DATASET_REASONS.get(row["dataset"])
    reason = _reason(text) if text is not None else _nearest(row)
    if reason is not None:
        return reason
    for rule in tables.RULES:
        match = re.fullmatch(rule.pattern, row["name"])
        if match:
            return _build(rule, match, row)
    for pattern, text in tables.NAME_REASONS:
        if re.fullmatch(pattern, row["name"]):
            return _reason(text)
    raise LookupError(f"no entry for the published row {row['name']!r} of {row['source']!r}")


def published(row: Mapping[str, Any]) -> Published:
    """Return what a row states, in units, with the precision of its source."""
    params, macs = _units(row, "params"), _units(row, "macs")
    if "params" in row and "macs" in row:
        return Published(params, macs, 0, 0)
    for source, name, params_step, macs_step in tables.STEPS:
        if re.fullmatch(source, row["source"]) and re.fullmatch(name, row["name"]):
            return Published(params, macs, params_step, macs_step / 2)
    raise LookupError(f"unknown precision of the published row {row['name']!r} of {row['source']!r}")


def _units(row: Mapping[str, Any], key: str) -> int | None:
    if row.get(key) is not None:
        return int(row[key])
    millions = row.get(f"{key}_M")
    return None if millions is None else round(millions * 10**6)


def key_of(row: Mapping[str, Any]) -> str:
    """Return the name of a row, with its data set where that makes it another network than on ImageNet."""
    return f"{row['name']} on {row['dataset']}" if row["dataset"] in tables.NUM_CLASSES else str(row["name"])


def _reason(text: str) -> Reason:
    return Reason(text, text)


def _nearest(row: Mapping[str, Any]) -> Nearest | None:
    key = key_of(row)
    for (why, quantity), computed_by_row in tables.MISMATCHES.items():
        if key in computed_by_row:
            model, computed = computed_by_row[key]
            stated = row["params"] if quantity == "parameters" else row["macs_M"]
            text = f"{why}: {model} has {computed:,} {quantity}, published {stated:,}"
            return Nearest(text, why, _named_build(model, row), quantity, computed, stated)
    return None


def _named_build(model: str, row: Mapping[str, Any]) -> Build:
    """Read a model written as ``timm resnet50d(layers=(1, 1, 1, 1)) at 256``; without ``at``, its input is the row's."""
    match = re.fullmatch(r"(\w+) (\w+)(?:\((.*)\))?(?: at (\d+))?", model)
    if match is None:
        raise ValueError(f"expected a model such as 'timm resnet50d(layers=(1, 1, 1, 1)) at 256', but found {model!r}")
    library, name, arguments, side = match.groups()
    call = ast.parse(f"f({arguments or ''})", mode="eval").body
    kwargs = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg} if isinstance(call, ast.Call) else {}
    shape = (1, 3, int(side), int(side)) if side else _input_shape(row)
    counting = "pytorchcv" if row["name"].startswith("imgclsmob:") else "contraction"
    return Build(library, name, kwargs, shape, counting)


def _build(rule: tables.Rule, match: re.Match[str], row: Mapping[str, Any]) -> Build:
    kwargs = {key: _expanded(match, value) for key, value in rule.kwargs.items()}
    if row["dataset"] in tables.NUM_CLASSES:
        kwargs["num_classes"] = tables.NUM_CLASSES[row["dataset"]]
    return Build(rule.library, match.expand(rule.name).lower(), kwargs, _input_shape(row), rule.counting)


def _expanded(match: re.Match[str], value: Any) -> Any:
    return ast.literal_eval(match.expand(value)) if isinstance(value, str) else value


def _input_shape(row: Mapping[str, Any]) -> tuple[int, ...]:
    """Read the input of a row: '1x3x192x192', '1x3x260^2', or words that the table of sides resolves."""
    match = re.fullmatch(r"1x3x(\d+)(?:x\1|\^2)", row["input"])
    side = int(match[1]) if match else tables.SIDES.get(row["name"], 224)
    return (1, 3, side, side)


def _summary() -> str:
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows():
        found = builder_for(row)
        counts[row["source"][:60], found.counting if isinstance(found, Build) else "reason"] += 1
    return "\n".join(f"{source:62} {what:12} {count}" for (source, what), count in sorted(counts.items()))


if __name__ == "__main__":
    print(_summary())  # noqa: T201
