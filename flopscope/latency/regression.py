"""A time learned from features: a line, plus what trees see beside it, plus an error bar from rows that were held out.

Trees cannot go beyond what they saw, and need many rows for a sum; a line can do both. So a line is fitted first, and the trees learn what
it leaves over. How far the trees are trusted is measured: a single factor between 0 and 1, the best on rows that were held out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from flopscope.errors import InputError, OptionError
from flopscope.latency.estimate import Estimate
from flopscope.latency.trees import Array, Tree, grown, tree_from, value_of

Residual = Literal["ratio", "difference"]
FOLDS = 5
FEWEST = 10
"""Rows. With fewer there is nothing to hold out."""
_LONGEST = 1e9
"""Seconds. Nothing takes longer."""
_MOST_RATIO = 50.0
"""The logarithm of a ratio: what is further off than this is no prediction."""


@dataclass(frozen=True)
class Regression:
    """``seconds = line(x) * exp(trees(x))`` where residuals are ratios, and ``line(x) + trees(x)`` where they are differences."""

    names: tuple[str, ...]
    """The features, in the order of a row."""
    residual: Residual
    intercept: float
    """Seconds."""
    weights: tuple[float, ...]
    """Seconds per unit of each feature."""
    floor: float
    """Seconds: the line is never taken to be below it."""
    trees: tuple[Tree, ...]
    trust: float
    """The factor of the trees."""
    below: float
    """How far a held-out row lay below its prediction at most, but for one in twenty: a ratio's logarithm, or seconds. At most 0."""
    above: float

    def predicted(self, rows: Array) -> Array:
        """Seconds by row."""
        line = np.maximum(self.intercept + rows @ np.array(self.weights), self.floor)
        beside = self.trust * value_of(self.trees, rows)
        if self.residual == "ratio":
            return np.asarray(line * np.exp(np.clip(beside, -_MOST_RATIO, _MOST_RATIO)))
        return np.asarray(np.maximum(line + beside, self.floor))

    def estimate(self, features: Mapping[str, float], why: str) -> Estimate:
        """The time of one row, given by the names of its features; those that are left out are zero."""
        row = np.array([[float(features.get(name, 0)) for name in self.names]])
        seconds = float(self.predicted(row)[0])
        if self.residual == "ratio":
            return Estimate(seconds, seconds * math.exp(self.below), seconds * math.exp(self.above), why)
        return Estimate(seconds, max(0.0, seconds + self.below), seconds + self.above, why)

    def to_dict(self) -> dict[str, Any]:
        """The regression as plain data."""
        plain = {"names": list(self.names), "residual": self.residual, "intercept": self.intercept, "weights": list(self.weights)}
        return {**plain, "floor": self.floor, "trees": [tree.to_dict() for tree in self.trees], "trust": self.trust,
                "below": self.below, "above": self.above}  # fmt: skip

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> Regression:
        """The regression that `to_dict` wrote, checked.

        Raises:
            InputError: it is none.
        """
        try:
            names = tuple(content["names"])
            weights = tuple(content["weights"])
            numbers = {name: content[name] for name in ("intercept", "floor", "trust", "below", "above")}
            trees, residual = content["trees"], content["residual"]
        except (KeyError, TypeError) as error:
            raise InputError(f"a part of it is missing ({type(error).__name__}: {error})") from error
        if not all(type(name) is str for name in names) or len(set(names)) != len(names) or len(weights) != len(names):
            raise InputError("it needs a different name and a weight for each feature")
        if not all(type(value) in (int, float) and abs(value) <= _LONGEST for value in (*weights, *numbers.values())):
            raise InputError("a weight, or a bound of its error, is no number of a sensible size")
        in_order = numbers["below"] <= 0 <= numbers["above"] and 0 <= numbers["trust"] <= 1 and numbers["floor"] >= 0
        if residual == "ratio" and max(-numbers["below"], numbers["above"]) > _MOST_RATIO:
            raise InputError(f"the bounds of its error are further apart than exp({_MOST_RATIO})")
        if residual not in ("ratio", "difference") or not in_order or not isinstance(trees, list):
            raise InputError("its kind of residual, its floor, its trust in trees or the bounds of its error are out of range")
        return Regression(names, residual, trees=tuple(tree_from(tree, len(names)) for tree in trees), weights=weights, **numbers)


def fitted(names: Sequence[str], rows: Array, seconds: Array, residual: Residual, linear: Sequence[str] | None = None) -> Regression:
    """Learn from measured rows.

    Args:
        names: the features.
        rows: of shape ``[N, features]``.
        seconds: of shape ``[N]``, all above zero.
        residual: ``"ratio"`` for times over many orders of magnitude, whose line has no weight below zero and is fitted to relative
            errors; ``"difference"`` for times of one size, whose line is a ridge regression.
        linear: the features of the line; all by default.

    Raises:
        OptionError: there are too few rows, or they are no finite numbers, or a time is not above zero.
        MissingPackageError: LightGBM is not installed.
    """
    if rows.shape != (len(seconds), len(names)) or len(seconds) < FEWEST:
        raise OptionError(
            f"learning needs at least {FEWEST} rows of {len(names)} features, but was given {rows.shape} and {len(seconds)} times"
        )
    if not np.isfinite(rows).all() or not np.isfinite(seconds).all() or not (seconds > 0).all():
        raise OptionError("learning needs finite features and times above zero")
    columns = [position for position, name in enumerate(names) if linear is None or name in linear]
    line = _ratio_line if residual == "ratio" else _ridge_line
    held, beside = _held_out(rows, seconds, residual, columns, line)
    power = float(beside @ beside)
    trust = min(1.0, max(0.0, float(held @ beside) / power)) if power else 0.0
    below, above = _bounds(held - trust * beside)
    intercept, weights, floor = line(rows, seconds, columns)
    left = _left(rows, seconds, residual, intercept, weights, floor)
    trees = tuple(grown(rows, left)) if trust else ()
    return Regression(tuple(names), residual, intercept, tuple(map(float, weights)), floor, trees, trust, below, above)


def _held_out(rows: Array, seconds: Array, residual: Residual, columns: list[int], line: Any) -> tuple[Array, Array]:
    """What a line leaves over at rows that it did not see, and what trees that did not see them either say about it."""
    left, beside = np.zeros(len(seconds)), np.zeros(len(seconds))
    order = np.random.default_rng(0).permutation(len(seconds))
    for fold in range(FOLDS):
        out = order[fold::FOLDS]
        seen = np.setdiff1d(order, out)
        found = line(rows[seen], seconds[seen], columns)
        left[out] = _left(rows[out], seconds[out], residual, *found)
        beside[out] = value_of(grown(rows[seen], _left(rows[seen], seconds[seen], residual, *found)), rows[out])
    return left, beside


def _left(rows: Array, seconds: Array, residual: Residual, intercept: float, weights: Array, floor: float) -> Array:
    line = np.maximum(intercept + rows @ weights, floor)
    return np.asarray(np.log(seconds / line) if residual == "ratio" else seconds - line)


def _bounds(errors: Array) -> tuple[float, float]:
    """What holds nine in ten of new rows, if these are like them: split conformal prediction, Lei et al. 2018, arXiv:1604.04173."""
    ordered = np.sort(errors)
    rank = min(len(ordered), math.ceil(0.95 * (len(ordered) + 1)))
    return min(0.0, float(ordered[len(ordered) - rank])), max(0.0, float(ordered[rank - 1]))


def _ratio_line(rows: Array, seconds: Array, columns: list[int]) -> tuple[float, Array, float]:
    """No weight is below zero, and each row counts by its relative error."""
    from sklearn.linear_model import LinearRegression

    design = np.column_stack([np.ones(len(rows)), rows[:, columns]])
    scale = np.abs(design).max(axis=0)
    scale[scale == 0] = 1
    model = LinearRegression(fit_intercept=False, positive=True).fit(design / scale / seconds[:, None], np.ones(len(seconds)))
    found = model.coef_ / scale
    weights = np.zeros(rows.shape[1])
    weights[columns] = found[1:]
    return float(found[0]), weights, float(seconds.min()) / 10


def _ridge_line(rows: Array, seconds: Array, columns: list[int]) -> tuple[float, Array, float]:
    """The strength of the penalty is the best under leave-one-out."""
    from sklearn.linear_model import RidgeCV

    chosen = rows[:, columns]
    mean, spread = chosen.mean(axis=0), chosen.std(axis=0)
    spread[spread <= 1e-12 * np.abs(mean)] = np.inf  # a constant feature says nothing
    size = float(seconds.std()) or 1.0
    model = RidgeCV(np.logspace(-3, 4, 15)).fit((chosen - mean) / spread, seconds / size)
    weights = np.zeros(rows.shape[1])
    weights[columns] = model.coef_ / spread * size
    return float(model.intercept_ * size - mean @ weights[columns]), weights, float(seconds.min()) / 10
