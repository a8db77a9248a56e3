"""Batches whose order and augmentation are a pure function of seed, epoch and step.

Nothing here keeps a state between batches, so a run that was killed goes on with the numbers it would have had.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from flopscope.errors import OptionError
from nas.data.augment import Augmentation, cutout
from nas.data.split import ImageData, Split
from nas.errors import DataError


def generator_for(*numbers: int) -> torch.Generator:
    """A random generator, on the CPU, that depends on these numbers and on their order and nothing else."""
    digest = hashlib.sha256(",".join(str(int(number)) for number in numbers).encode()).digest()
    # Neighbouring seeds are hashed apart because PyTorch's own generator uses the low 32 bits of its seed as they are.
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def permutation(count: int, seed: int, epoch: int) -> Tensor:
    """The order of ``count`` images in an epoch, int64 ``[count]``: the same for the same seed and epoch, always."""
    return torch.randperm(count, generator=generator_for(seed, epoch))


class Batches:
    """Batches of a split, augmented, in an order that depends on nothing but seed and epoch.

    Args:
        data: What the split belongs to; gives the mean and deviation to normalise by.
        split: The images.
        batch_size: Images in a batch. A last batch with fewer is left out, unless it is the only one.
        seed: Where all randomness comes from.
        augmentation: What is done to the images; nothing if left out.
        device: Where the batches are put, and augmented. The random numbers do not depend on it.
        channels_last: Whether images are laid out channels last in memory; their shape stays the same.

    Raises:
        OptionError: The batch size is below 1.
        DataError: The split is empty.
    """

    def __init__(
        self,
        data: ImageData,
        split: Split,
        batch_size: int,
        *,
        seed: int,
        augmentation: Augmentation | None = None,
        device: torch.device | str = "cpu",
        channels_last: bool = False,
    ) -> None:
        _check(data, split, batch_size)
        self.data = data
        self.split = split
        self.batch_size = min(batch_size, len(split))
        self.seed = seed
        self.augmentation = Augmentation.none() if augmentation is None else augmentation
        self.device = torch.device(device)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        # The order of the epoch at hand is asked for once per step.
        self._order = lru_cache(maxsize=1)(permutation)

    def __len__(self) -> int:
        return len(self.split) // self.batch_size

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """One batch: normalised float32 images ``[B, channels, height, width]`` and int64 labels ``[B]``.

        Raises:
            IndexError: An epoch has no such step.
        """
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} was asked for, and an epoch has the steps 0 to {len(self) - 1}")
        order = self._order(len(self.split), self.seed, epoch)
        indices = order[step * self.batch_size : (step + 1) * self.batch_size]
        generator = generator_for(self.seed, epoch, step)
        images = self.augmentation.apply(self.split.fetch(indices).to(self.device), generator)
        images = cutout(self.data.normalised(images), self.augmentation.cutout, generator)
        return images.contiguous(memory_format=self.memory_format), self.split.labels[indices].to(self.device)


def in_order(data: ImageData, split: Split, batch_size: int, device: torch.device | str) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole split in its own order and without augmentation, as batches like those of `Batches`; the last may be smaller.

    Raises:
        OptionError: The batch size is below 1.
        DataError: The split is empty.
    """
    _check(data, split, batch_size)
    return (
        (data.normalised(split.fetch(indices).to(device)), split.labels[indices].to(device))
        for indices in torch.arange(len(split)).split(batch_size)
    )


def _check(data: ImageData, split: Split, batch_size: int) -> None:
    if batch_size < 1:
        raise OptionError(f"batches of {batch_size} images were asked for; a batch has at least 1")
    if len(split) == 0:
        raise DataError(f"batches of a split of {data.name} were asked for, and the split has no images; give one with at least 1")
