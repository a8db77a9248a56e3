"""Latencies learned from measurements, by gradient-boosted trees (Friedman 2001) over the features of ops, of blocks, or of networks.

A predictor is kept as JSON: numbers and names, checked when it is read. Nothing in it can run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from flopscope.errors import FlopscopeError, OptionError
from flopscope.graph import Graph, Op, Signature
from flopscope.latency.block import Block
from flopscope.latency.estimate import Estimate, combined
from flopscope.latency.features import FAMILY, KIND, LINEAR, features_of
from flopscope.latency.regression import Regression, fitted
from flopscope.latency.source import summed
from flopscope.latency.trees import Array
from flopscope.version import __version__

_FORMAT = "flopscope latency predictor 1"


@dataclass(frozen=True)
class Predictor:
    """The time of an op or of a block, learned from others that were measured. A kind that was not among them is unknown."""

    name: str
    regression: Regression
    trained_on: Mapping[str, Any]
    """How many rows, of what, and with which versions."""
    _known: dict[Any, Estimate] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def fit(cls, items: Iterable[Op | Signature | Block], seconds: Iterable[float], name: str = "predictor", what: str = "") -> Predictor:
        """Learn from measured ops or blocks: the time of one run of each, in seconds.

        Raises:
            OptionError: there are too few, or a time is not above zero.
            MissingPackageError: LightGBM is not installed.
        """
        names, rows = _table([features_of(item) for item in items])
        regression = fitted(names, rows, _times(seconds), "ratio", LINEAR)
        return cls(name, regression, _trained_on(len(rows), what))

    @property
    def kinds(self) -> frozenset[str]:
        """What it has seen."""
        return frozenset(name.removeprefix(KIND) for name in self.regression.names if name.startswith(KIND))

    @cached_property
    def _seen(self) -> frozenset[str]:
        """The features that say what an op is: its kind, or the family of it, of which one must have been seen."""
        return frozenset(name for name in self.regression.names if name.startswith((KIND, FAMILY)))

    def estimate(self, op: Op | Signature | Block) -> Estimate | None:
        """The time of an op, all its runs together, or of a block; ``None`` for what it has seen no kin of, or without a rule."""
        key = op.signature if isinstance(op, Op) else op
        if key not in self._known:
            try:
                features = features_of(key)
            except FlopscopeError:  # no rule prices it
                return None
            if not any(name in self._seen for name in features):
                return None
            self._known[key] = self.regression.estimate(features, self.name)
        return self._known[key] * op.times if isinstance(op, Op) and op.times != 1 else self._known[key]

    def total(self, graph: Graph) -> Estimate:
        """The sum over all ops: a lower bound where kinds were not seen."""
        return summed(self, graph)

    def total_of(self, blocks: Iterable[Block]) -> Estimate:
        """The sum over blocks."""
        return combined([self.estimate(block) for block in blocks], why=self.name)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON.

        Raises:
            OptionError: the file cannot be written.
        """
        _save(path, "ops", self.name, self.regression, self.trained_on)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Predictor:
        """Read what `save` wrote. LightGBM is not needed.

        Raises:
            OptionError: the file cannot be read, or is no predictor of ops.
        """
        return cls(*_load(path, "ops"))


@dataclass(frozen=True)
class NetworkPredictor:
    """The time of a whole network of a search space, learned from others that were measured, from features that the caller names."""

    name: str
    regression: Regression
    trained_on: Mapping[str, Any]

    @classmethod
    def fit(
        cls, features: Sequence[Mapping[str, float]], seconds: Iterable[float], name: str = "predictor", what: str = ""
    ) -> NetworkPredictor:
        """Learn from measured networks. `flopscope.latency.spaces` makes features. Raises as `Predictor.fit` does."""
        names, rows = _table(features)
        regression = fitted(names, rows, _times(seconds), "difference")
        return cls(name, regression, _trained_on(len(rows), what))

    def estimate(self, features: Mapping[str, float]) -> Estimate:
        """The time of a network."""
        return self.regression.estimate(features, self.name)

    def seconds(self, features: Sequence[Mapping[str, float]]) -> Array:
        """The times of many networks, without error bars."""
        rows = np.array([[float(row.get(name, 0)) for name in self.regression.names] for row in features])
        return self.regression.predicted(rows.reshape(len(features), len(self.regression.names)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """As `Predictor.save`."""
        _save(path, "networks", self.name, self.regression, self.trained_on)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NetworkPredictor:
        """As `Predictor.load`."""
        return cls(*_load(path, "networks"))


def _table(features: Sequence[Mapping[str, float]]) -> tuple[list[str], Array]:
    names = sorted({name for row in features for name in row})
    return names, np.array([[float(row.get(name, 0)) for name in names] for row in features]).reshape(len(features), len(names))


def _times(seconds: Iterable[float]) -> Array:
    return np.array([float(value) for value in seconds])


def _trained_on(rows: int, what: str) -> dict[str, Any]:
    import lightgbm

    return {"rows": rows, "what": what, "flopscope": __version__, "lightgbm": lightgbm.__version__}


def _save(path: str | os.PathLike[str], of: str, name: str, regression: Regression, trained_on: Mapping[str, Any]) -> None:
    content = {"format": _FORMAT, "of": of, "name": name, "trained_on": dict(trained_on), "regression": regression.to_dict()}
    try:
        Path(path).write_text(json.dumps(content) + "\n", encoding="utf-8")
    except OSError as error:
        raise OptionError(f"cannot write the predictor to {path}: {error.strerror or error}") from error


def _load(path: str | os.PathLike[str], of: str) -> tuple[str, Regression, dict[str, Any]]:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise OptionError(f"{path} was written by a version of flopscope that this one cannot read: {content['format']!r}")
        if content["of"] != of:
            raise OptionError(f"{path} is a predictor of {content['of']}, where one of {of} is needed")
        return str(content["name"]), Regression.from_dict(content["regression"]), dict(content["trained_on"])
    except OptionError:
        raise
    except OSError as error:
        raise OptionError(f"cannot read a predictor from {path}: {error.strerror or error}") from error
    except (FlopscopeError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise OptionError(f"{path} is no predictor that can be read: {type(error).__name__}: {error}") from error
