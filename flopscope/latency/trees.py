"""Trees that were grown by LightGBM, as plain numbers: checked when they are read, and evaluated here, so that a file can run no code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flopscope.errors import InputError, MissingPackageError

Array = NDArray[np.float64]

_SETTINGS: dict[str, Any] = {
    "objective": "regression",
    "num_leaves": 8,
    "learning_rate": 0.05,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "use_missing": False,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 0,
    "verbosity": -1,
}
"""Small trees, each of which sees half of the features and four fifths of the rows: for hundreds of rows, not for millions."""
ROUNDS = 150
MOST_NODES = 10**6


@dataclass(frozen=True)
class Tree:
    """A binary tree. A row goes left where its feature is at most the threshold. A child below zero is the leaf ``~child``."""

    features: tuple[int, ...]
    thresholds: tuple[float, ...]
    lefts: tuple[int, ...]
    rights: tuple[int, ...]
    leaves: tuple[float, ...]

    def of(self, rows: Array) -> Array:
        """The value of each row."""
        if not self.features:
            return np.full(len(rows), self.leaves[0])
        features, thresholds = np.array(self.features), np.array(self.thresholds)
        lefts, rights = np.array(self.lefts), np.array(self.rights)
        node = np.zeros(len(rows), dtype=np.int64)
        inside = np.arange(len(rows))
        while len(inside):
            here = node[inside]
            node[inside] = np.where(rows[inside, features[here]] <= thresholds[here], lefts[here], rights[here])
            inside = inside[node[inside] >= 0]
        return np.asarray(np.array(self.leaves)[~node], dtype=np.float64)

    def at(self, row: Sequence[float]) -> float:
        """The value of one row, which is faster than `of` for one."""
        node = 0 if self.features else -1
        while node >= 0:
            node = self.lefts[node] if row[self.features[node]] <= self.thresholds[node] else self.rights[node]
        return self.leaves[~node]

    def to_dict(self) -> dict[str, Any]:
        """The tree as plain data."""
        return {name: list(getattr(self, name)) for name in ("features", "thresholds", "lefts", "rights", "leaves")}


def value_of(trees: Sequence[Tree], rows: Array) -> Array:
    """The sum over trees of the value of each row."""
    if len(rows) == 1:
        row = rows[0].tolist()
        return np.array([sum(tree.at(row) for tree in trees)], dtype=np.float64)
    total = np.zeros(len(rows))
    for tree in trees:
        total += tree.of(rows)
    return total


def grown(rows: Array, values: Array, rounds: int = ROUNDS) -> list[Tree]:
    """Trees whose sum follows the values at the rows.

    Raises:
        MissingPackageError: LightGBM is not installed.
    """
    try:
        import lightgbm
    except ImportError as error:
        raise MissingPackageError(
            "learning latencies needs LightGBM, which is not installed: pip install 'flopscope[latency]'. Predicting from a file does not."
        ) from error
    settings = {**_SETTINGS, "min_data_in_leaf": max(2, min(10, len(values) // 20))}
    booster = lightgbm.train(settings, lightgbm.Dataset(rows, values), rounds)
    return [_grown(entry["tree_structure"]) for entry in booster.dump_model()["tree_info"]]


def _grown(root: Mapping[str, Any]) -> Tree:
    """A tree of LightGBM's model as it dumps it, which nests nodes."""
    nodes: list[list[Any]] = []
    leaves: list[float] = []

    def add(node: Mapping[str, Any]) -> int:
        if "split_feature" not in node:
            leaves.append(float(node["leaf_value"]))
            return ~(len(leaves) - 1)
        assert node["decision_type"] == "<=", node["decision_type"]
        entry = [int(node["split_feature"]), float(node["threshold"]), 0, 0]
        nodes.append(entry)
        position = len(nodes) - 1
        entry[2], entry[3] = add(node["left_child"]), add(node["right_child"])
        return position

    add(root)
    columns = list(zip(*nodes, strict=True)) or [(), (), (), ()]
    return Tree(columns[0], columns[1], columns[2], columns[3], tuple(leaves))


def tree_from(content: Any, features: int) -> Tree:
    """A tree from plain data, after a check that every row ends in a leaf.

    Raises:
        InputError: it is no such tree over so many features.
    """
    try:
        numbers = {name: tuple(content[name]) for name in ("features", "thresholds", "lefts", "rights", "leaves")}
    except (KeyError, TypeError) as error:
        raise InputError(f"a tree needs features, thresholds, lefts, rights and leaves ({type(error).__name__}: {error})") from error
    tree = Tree(**numbers)
    nodes = len(tree.features)
    if not (len(tree.thresholds) == len(tree.lefts) == len(tree.rights) == nodes == len(tree.leaves) - 1) or nodes > MOST_NODES:
        raise InputError(f"a tree with {nodes} nodes needs as many thresholds, lefts and rights, and one leaf more")
    if not all(type(value) in (int, float) and math.isfinite(value) for value in (*tree.thresholds, *tree.leaves)):
        raise InputError("a tree has a threshold or a leaf that is no finite number")
    if not all(type(value) is int and 0 <= value < features for value in tree.features):
        raise InputError(f"a tree asks for a feature that is not among the {features}")
    for position, children in enumerate(zip(tree.lefts, tree.rights, strict=True)):
        # A child comes after its parent, so a walk ends.
        if not all(type(child) is int and (position < child < nodes or -len(tree.leaves) <= child < 0) for child in children):
            raise InputError(f"node {position} of a tree has the children {children}, which are no later nodes and no leaves")
    return tree
