"""Images to learn from: found, checked, divided, put into batches and augmented, the same way each time."""

from __future__ import annotations

from nas.data.augment import Augmentation, cutout, default_augmentation
from nas.data.batches import Batches, generator_for, in_order, permutation
from nas.data.loading import NAMES, load
from nas.data.parts import halves, limited
from nas.data.split import ImageData, Split

__all__ = [
    "NAMES",
    "Augmentation",
    "Batches",
    "ImageData",
    "Split",
    "cutout",
    "default_augmentation",
    "generator_for",
    "halves",
    "in_order",
    "limited",
    "load",
    "permutation",
]
