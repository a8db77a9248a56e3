"""A predictor learned from the measured ops of a table."""

from __future__ import annotations

from collections.abc import Collection

from flopscope.errors import FlopscopeError
from flopscope.graph import Signature
from flopscope.latency.features import features_of
from flopscope.latency.predictor import Predictor
from flopscope.latency.table.eager import MODULE_CALL
from flopscope.latency.table.keys import read
from flopscope.latency.table.source import MeasuredOps

SHORTEST_SECONDS = 1e-7
"""What a clock can tell from nothing: times are learned as ratios, so none may be zero."""


def rows(table: MeasuredOps, without: Collection[str] = ()) -> tuple[list[Signature], list[float]]:
    """The ops of a table that have features, and their seconds, but for some keys."""
    found: list[Signature] = []
    seconds: list[float] = []
    for key, time in table.times.items():
        if key in without or key == MODULE_CALL:
            continue
        signature = read(key)
        try:
            features_of(signature)
        except FlopscopeError:  # no rule prices it: it has no features
            continue
        found.append(signature)
        seconds.append(max(SHORTEST_SECONDS, time.seconds))
    return found, seconds


def learned(table: MeasuredOps, without: Collection[str] = ()) -> Predictor:
    """A predictor of the ops of a setting.

    Raises:
        OptionError: there are too few ops in the table.
        MissingPackageError: LightGBM is not installed.
    """
    return Predictor.fit(*rows(table, without), name=f"predictor of {table.setting}", what=str(table.setting))
