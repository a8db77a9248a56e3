"""What searches and trainings share: epochs of steps, events, checkpoints, and going on after a kill."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch

from nas.checked import ADVICE, first_line
from nas.data import Augmentation, Batches, ImageData, default_augmentation
from nas.errors import DataError, DivergedError, RecipeError, RunError
from nas.runs import CHECKPOINT, Run

CHECKPOINT_SECONDS = 60.0
"""A checkpoint is written after each epoch, and within one after so many seconds."""
Progress = Callable[[int, int, str], None]
"""Called after each step with steps done, steps in all, and a few words."""


class Job(ABC):
    """Epochs of steps that can go on from any step.

    Attributes:
        run: the folder.
        epoch: the epoch at hand.
        step: how many of its steps are done.
        sums: what its steps add up, on the device: reading a number every step would make a GPU wait.
        steadied_by: the settings that make it diverge when they are too large.
    """

    steadied_by: ClassVar[str]

    def __init__(self, run: Run, device: torch.device, sums: int) -> None:
        self.run, self.device = run, device
        self.epoch = self.step = 0
        self.sums = torch.zeros(sums, dtype=torch.float64, device=device)

    @abstractmethod
    def one_step(self) -> None:
        """Do the step at hand; what it does follows from the state, the epoch and the step alone."""

    @abstractmethod
    def event(self) -> dict[str, Any]:
        """What there is to say after an epoch."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything that steps change."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""

    def do_epochs(self, epochs: int, steps: int, progress: Progress | None) -> None:
        """Do what is left to do.

        Raises:
            RunError: the folder cannot be read or written.
            DivergedError: an epoch ended with a loss that is no number.
        """
        self._go_on()
        saved = time.monotonic()
        while self.epoch < epochs:
            started = time.monotonic()
            while self.step < steps:
                self.one_step()
                self.step += 1
                if progress is not None:
                    progress(self.epoch * steps + self.step, epochs * steps, f"epoch {self.epoch + 1} of {epochs}")
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self._save()
                    saved = time.monotonic()
            event = self.event()
            self._check_finite(event)  # before anything of it is written: its weights are of no use otherwise
            self.run.add_event({"epoch": self.epoch, **event, "seconds": round(time.monotonic() - started, 3)})
            self.epoch, self.step = self.epoch + 1, 0
            self.sums.zero_()
            self._save()
            saved = time.monotonic()

    def _save(self) -> None:
        self.run.save_checkpoint({"epoch": self.epoch, "step": self.step, "sums": self.sums, **self.state()})

    def _go_on(self) -> None:
        state = self.run.load_checkpoint(self.device)
        if state is not None:
            try:
                self.sums.copy_(state["sums"])
                self.restore(state)
            except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                raise RunError(
                    f"{self.run.folder / CHECKPOINT} does not fit the recipe and the network of its run ({first_line(error)}): one of them "
                    f"was changed. {ADVICE}"
                ) from error
            self.epoch, self.step = state["epoch"], state["step"]
        self.run.rewind(self.epoch)

    def _check_finite(self, event: dict[str, Any]) -> None:
        bad = [f"{key} is {value}" for key, value in event.items() if isinstance(value, float) and not math.isfinite(value)]
        if bad:
            raise self.diverged(f"after epoch {self.epoch + 1} {', '.join(bad)}")

    def diverged(self, found: str) -> DivergedError:
        """The error that says so."""
        return DivergedError(f"the run in {self.run.folder} diverged: {found}. Lower {self.steadied_by}, and start anew in another folder")


def augmentation_of(
    data: ImageData, augment: bool, cutout: int, *, crop_area: float = 1.0, jitter: float = 0.0, section: str = "train"
) -> Augmentation:
    """The augmentation that is usual for a data set, with cutout, crops and jitter; or none.

    Raises:
        RecipeError: cutout would leave nothing of an image.
    """
    if not augment:
        return Augmentation.none()
    if cutout >= min(data.shape[1:]):
        raise RecipeError(
            f"a cutout of {cutout} pixels can leave nothing of images of {data.shape[1]}x{data.shape[2]}: make it smaller, or leave it "
            f"out with --set {section}.cutout=0"
        )
    usual = default_augmentation(data.name, data.shape)
    return Augmentation(usual.crop_padding, usual.flip, cutout, crop_area, jitter)


def enough(batches: Batches) -> Batches:
    """Batches that batch normalisation can be trained with.

    Raises:
        DataError: there is one image in each.
    """
    if batches.batch_size < 2:
        raise DataError(
            f"there is only {len(batches.split)} image to train with, and batch normalisation needs 2: give more, or raise data.limit"
        )
    return batches


def cosine(first: float, last: float, epoch: int, epochs: int) -> float:
    """Cosine annealing from one learning rate to another (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5)."""
    return last + (first - last) * (1 + math.cos(math.pi * epoch / epochs)) / 2
