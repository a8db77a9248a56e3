"""Ops whose results have sizes that only data knows, computed where the data are there: different elements, kept boxes, texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flopscope.frontends.onnx.values import Array

Attributes = Mapping[str, Any]
_MOST_BOXES = 4_096


def _unique(data: Sequence[Any], attributes: Attributes, _: int) -> list[Array]:
    """The different elements (or slices along an axis), where each came first, which one each is, and how many there are of each."""
    x, axis = data[0], attributes.get("axis")
    y, first, inverse, counts = np.unique(x, True, True, True, axis=axis)
    inverse = inverse.reshape(-1)
    if not attributes.get("sorted", 1):
        order = np.argsort(first)
        places = np.argsort(order)
        y, first, counts, inverse = np.take(y, order, axis or 0), first[order], counts[order], places[inverse]
    return [y, *(np.asarray(item, np.int64) for item in (first, inverse, counts))]


def _kept_boxes(data: Sequence[Any], attributes: Attributes, _: int) -> Array:
    """The boxes that greedy non-maximum suppression keeps, best first, for each batch and class: rows of (batch, class, box)."""
    boxes, scores = data[0], data[1]
    most, overlap, least = (None if len(data) <= i or data[i] is None else np.asarray(data[i]).reshape(-1)[0] for i in (2, 3, 4))
    if boxes.shape[1] > _MOST_BOXES:
        raise MemoryError("there are many boxes")
    rows = []
    for batch, corners in enumerate(_corners(boxes, bool(attributes.get("center_point_box", 0)))):
        for label, row in enumerate(scores[batch]):
            order = [int(i) for i in np.argsort(-row, kind="stable") if least is None or row[i] > least]
            kept: list[int] = []
            for box in order:
                if len(kept) >= (0 if most is None else int(most)):
                    break
                if all(_overlap(corners[box], corners[other]) <= (0.0 if overlap is None else overlap) for other in kept):
                    kept.append(box)
            rows += [(batch, label, box) for box in kept]
    return np.asarray(rows, np.int64).reshape(-1, 3)


def _corners(boxes: Array, centred: bool) -> Array:
    """Boxes as least and greatest coordinates, which ONNX gives as two opposite corners in any order, or as a centre and sizes."""
    first, second = boxes[..., :2], boxes[..., 2:]
    ends = (first - second / 2, first + second / 2) if centred else (first, second)
    return np.concatenate([np.minimum(*ends), np.maximum(*ends)], axis=-1)


def _overlap(a: Array, b: Array) -> float:
    """The area of the intersection over that of the union."""
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    shared = float(sides.prod())
    union = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - shared
    return shared / union if union > 0 else 0.0


def _normalised(data: Sequence[Any], attributes: Attributes, _: int) -> Array:
    """Texts without stop words, in one case; one empty text where nothing is left."""
    sensitive = bool(attributes.get("is_case_sensitive", 0))
    change = {"LOWER": str.lower, "UPPER": str.upper}.get(attributes.get("case_change_action", "NONE"), str)
    stopped = {word if sensitive else word.lower() for word in attributes.get("stopwords", ())}
    kept = [change(str(text)) for text in data[0].reshape(-1) if (text if sensitive else str(text).lower()) not in stopped] or [""]
    return np.asarray(kept).reshape((1, -1) if data[0].ndim == 2 else (-1,))


def _words(data: Sequence[Any], attributes: Attributes, _: int) -> list[Array]:
    """The words of each text, filled up with empty ones to the same number, and how many each has."""
    delimiter, most = attributes.get("delimiter") or None, attributes.get("maxsplit", -1)
    rows = [str(text).split(delimiter, -1 if most is None else most) for text in data[0].reshape(-1)]
    longest = max(map(len, rows), default=0)
    filled = np.asarray([row + [""] * (longest - len(row)) for row in rows], "U")
    return [filled.reshape((*data[0].shape, longest)), np.asarray([len(row) for row in rows], np.int64).reshape(data[0].shape)]


FOLDS: Mapping[str, Callable[[Sequence[Any], Attributes, int], Any]] = {
    "Unique": _unique, "NonMaxSuppression": _kept_boxes, "StringNormalizer": _normalised, "StringSplit": _words,
}  # fmt: skip
