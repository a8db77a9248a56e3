"""Dividing images into disjoint parts, the same way each time."""

from __future__ import annotations

import torch
from torch import Tensor

from flopscope.errors import OptionError
from nas.data.batches import permutation
from nas.data.split import Split

# Not an epoch, so that a division has nothing to do with the order of any.
_BEFORE_ALL_EPOCHS = -1


def halves(split: Split, seed: int, fraction: float = 0.5) -> tuple[Split, Split]:
    """Divide a split at random into two disjoint parts that together are all of it.

    Args:
        split: The images.
        seed: Which division; the same seed always gives the same.
        fraction: Share of the images in the first part.

    Returns:
        The two parts, each in the order of the split.

    Raises:
        OptionError: One of the parts would be empty.
    """
    first = round(len(split) * fraction)
    if not 0 < first < len(split):
        raise OptionError(f"a fraction of {fraction} of {len(split)} images leaves one part empty; both need at least 1 image")
    order = permutation(len(split), seed, _BEFORE_ALL_EPOCHS)
    return split.subset(order[:first].sort().values), split.subset(order[first:].sort().values)


def limited(split: Split, limit: int, seed: int) -> Split:
    """So many images of a split, or all if the limit is 0 or above their number.

    They are the first ones, but where images lie sorted by class, as in folders, they are drawn at random: the first would be of one class.

    Args:
        split: The images.
        limit: How many.
        seed: Which ones are drawn; the same seed always draws the same.
    """
    if not 0 < limit < len(split):
        return split
    if bool((split.labels.diff() < 0).any()):
        return split.subset(torch.arange(limit))
    return split.subset(permutation(len(split), seed, _BEFORE_ALL_EPOCHS)[:limit].sort().values)


def every_fifth(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the images to train and to test on, where the data come undivided: a fifth of each class is for testing.

    Args:
        labels: int64 ``[N]``.

    Returns:
        Ascending int64 indices, disjoint and together all of them. A class of at least 2 images is in both.
    """
    order = torch.argsort(labels, stable=True)
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels)) - starts[labels[order]]
    # The second of each five: a class of two images then has one of each kind.
    testing = rank % 5 == 1
    return (~testing).nonzero().flatten(), testing.nonzero().flatten()
