"""Handwritten digits that come with scikit-learn, so that there is always something to learn from."""

from __future__ import annotations

import torch

from nas.data.arrays import Arrays, from_arrays
from nas.data.parts import every_fifth
from nas.data.split import ImageData


def load_digits(size: int | None) -> ImageData:
    """1,797 handwritten digits of 8x8 pixels in one channel; a fixed fifth of each class is for testing."""
    from sklearn import datasets  # slow to import, and nothing else needs it

    bunch = datasets.load_digits()
    # The levels are 0 to 16.
    images = (torch.from_numpy(bunch.images) * (255 / 16)).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    train, test = every_fifth(labels)
    arrays = Arrays(images[train], labels[train], images[test], labels[test], tuple(str(name) for name in bunch.target_names))
    return from_arrays("digits", arrays, size, "sklearn.datasets.load_digits")
