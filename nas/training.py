"""Training a network from scratch, as the papers train what they found (Liu et al. 2019, arXiv:1806.09055, appendix A.2 and A.3)."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.data import Augmentation, Batches, ImageData, default_augmentation, in_order
from nas.machine import autocast_of, device_of, placed, seed_everything
from nas.recipe import Recipe
from nas.runs import Run
from nas.searching import CHECKPOINT_SECONDS, Progress, cosine
from nas.spaces.darts.network import CellNetwork

EVALUATION_BATCH = 256


class Training:
    """One training, from its beginning or from where its folder says.

    Args:
        run: its folder.
        recipe: its settings.
        data: its images.
        network: what is trained; in training mode it may return a pair of logits, the second of an auxiliary head or ``None``.
    """

    def __init__(self, run: Run, recipe: Recipe, data: ImageData, network: nn.Module) -> None:
        self.run, self.recipe, self.data = run, recipe, data
        settings = recipe.train
        self.device = device_of(recipe.machine)
        self.network = placed(network, recipe.machine, self.device)
        self.forward: Any = torch.compile(self.network) if recipe.machine.compile else self.network
        self.autocast = autocast_of(recipe.machine, self.device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay, foreach=True
        )
        self.batches = self._batches()
        self.epoch = self.step = 0
        self.sums = torch.zeros(3, dtype=torch.float64, device=self.device)

    def _batches(self) -> Batches:
        recipe, settings = self.recipe, self.recipe.train
        augmentation = Augmentation.none()
        if settings.augment:
            usual = default_augmentation(self.data.name, self.data.shape)
            augmentation = Augmentation(usual.crop_padding, usual.flip, settings.cutout)
        split = self.data.train
        if recipe.data.limit:
            split = split.subset(torch.arange(min(recipe.data.limit, len(split))))
        return Batches(
            self.data,
            split,
            settings.batch_size,
            seed=recipe.seed,
            augmentation=augmentation,
            device=self.device,
            channels_last=recipe.machine.channels_last,
        )

    def finish(self, progress: Progress | None = None) -> float:
        """Train to the end. Returns the accuracy on the test images, which are seen once, in the end."""
        self._restore()
        epochs, steps = self.recipe.train.epochs, len(self.batches)
        saved = time.monotonic()
        while self.epoch < epochs:
            started = time.monotonic()
            while self.step < steps:
                self._one_step()
                self.step += 1
                if progress is not None:
                    progress(self.epoch * steps + self.step, epochs * steps, f"epoch {self.epoch + 1} of {epochs}")
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self._save()
                    saved = time.monotonic()
            count, loss, right = self.sums.tolist()
            event = {"epoch": self.epoch, "train_loss": loss / count, "train_accuracy": right / count}
            self.run.add_event({**event, "seconds": round(time.monotonic() - started, 3)})
            self.epoch, self.step = self.epoch + 1, 0
            self.sums.zero_()
            self._save()
            saved = time.monotonic()
        accuracy = self.accuracy()
        self.run.write_json("result.json", {"test_accuracy": accuracy})
        return accuracy

    def _one_step(self) -> None:
        settings = self.recipe.train
        for group in self.optimizer.param_groups:
            group["lr"] = cosine(settings.lr, settings.lr_min, self.epoch, settings.epochs)
        if isinstance(self.network, CellNetwork):
            self.network.drop_path = settings.drop_path * self.epoch / settings.epochs
        seed_everything(self.recipe.seed, self.epoch, self.step)
        images, labels = self.batches.batch(self.epoch, self.step)
        self.network.train()
        loss, logits = self._loss(images, labels)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), settings.gradient_clip, foreach=True)
        self.optimizer.step()
        one = torch.ones((), device=self.device, dtype=torch.float64)
        self.sums += torch.stack([one, loss.detach().double(), (logits.argmax(1) == labels).double().mean()])

    def _loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        settings = self.recipe.train
        if self.autocast is None:
            returned = self.forward(images)
        else:
            with self.autocast():
                returned = self.forward(images)
        logits, auxiliary = returned if isinstance(returned, tuple) else (returned, None)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=settings.label_smoothing)
        if auxiliary is not None:
            loss = loss + settings.auxiliary * F.cross_entropy(auxiliary.float(), labels, label_smoothing=settings.label_smoothing)
        return loss, logits

    def accuracy(self) -> float:
        """The share of the test images that are classified right."""
        self.network.eval()
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        with torch.inference_mode():
            for images, labels in in_order(self.data, self.data.test, EVALUATION_BATCH, self.device):
                right += (self.network(images).argmax(1) == labels).sum()
        return int(right) / len(self.data.test)

    def _save(self) -> None:
        self.run.save_checkpoint(
            {
                "epoch": self.epoch,
                "step": self.step,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "sums": self.sums,
            }
        )

    def _restore(self) -> None:
        state = self.run.load_checkpoint(self.device)
        if state is not None:
            self.epoch, self.step = state["epoch"], state["step"]
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.sums = state["sums"]
        self.run.rewind(self.epoch)
