"""Training a network from scratch, as the papers train what they found (Liu et al. 2019, arXiv:1806.09055, appendix A.2 and A.3)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.data import Batches, ImageData, in_order, limited
from nas.job import Job, Progress, augmentation_of, cosine, enough
from nas.machine import autocast_of, device_of, placed, seed_everything
from nas.models.spec import cost_of
from nas.recipe import Recipe, TrainSettings
from nas.runs import RESULT, Run
from nas.spaces.darts.network import CellNetwork

EVALUATION_BATCH = 256


class Training(Job):
    """One training, from its beginning or from where its folder says.

    Args:
        run: its folder.
        recipe: its settings.
        data: its images.
        network: what is trained; in training mode it may return a pair of logits, the second of an auxiliary head or ``None``.

    Raises:
        RecipeError: a setting cannot be used.
        FlopscopeError: the network cannot be run on the images.
    """

    steadied_by: ClassVar[str] = "train.lr or train.gradient_clip"

    def __init__(self, run: Run, recipe: Recipe, data: ImageData, network: nn.Module) -> None:
        super().__init__(run, device_of(recipe.machine), sums=3)
        self.recipe, self.data = recipe, data
        settings = recipe.train
        self.cost = cost_of(network, data.shape)
        self.network = placed(network, recipe.machine, self.device)
        self.forward: Any = torch.compile(self.network) if recipe.machine.compile else self.network
        self.autocast = autocast_of(recipe.machine, self.device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay, foreach=True
        )
        batches = Batches(
            data,
            limited(data.train, recipe.data.limit, recipe.seed),
            settings.batch_size,
            seed=recipe.seed,
            augmentation=augmentation_of(data, settings.augment, settings.cutout, crop_area=settings.crop_area, jitter=settings.jitter),
            device=self.device,
            channels_last=recipe.machine.channels_last,
        )
        self.batches = enough(batches)

    def finish(self, progress: Progress | None = None) -> float:
        """Train to the end. Returns the accuracy on the test images, which are seen once, in the end.

        Raises:
            RunError: the folder cannot be read or written.
            DivergedError: the losses, or the outputs of the trained network, are no numbers.
        """
        self.do_epochs(self.recipe.train.epochs, len(self.batches), progress)
        accuracy = self.accuracy()
        cost = {metric: getattr(self.cost, metric) for metric in ("params", "macs", "flops", "access")}
        self.run.write_json(RESULT, {"test_accuracy": accuracy, **cost})
        return accuracy

    def one_step(self) -> None:
        """One step of gradient descent."""
        settings = self.recipe.train
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, self.epoch)
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
        """The share of the test images that are classified right.

        Raises:
            DivergedError: the network says no numbers.
        """
        self.network.eval()
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        is_finite = torch.ones((), dtype=torch.bool, device=self.device)
        with torch.inference_mode():
            for images, labels in in_order(self.data, self.data.test, EVALUATION_BATCH, self.device):
                logits = self.network(images)
                is_finite &= logits.isfinite().all()
                right += (logits.argmax(1) == labels).sum()
        if not is_finite:
            raise self.diverged("what the network says of the test images is no number")
        return int(right) / len(self.data.test)

    def event(self) -> dict[str, Any]:
        """Loss and accuracy on the training images."""
        count, loss, right = self.sums.tolist()
        return {"train_loss": loss / count, "train_accuracy": right / count}

    def state(self) -> dict[str, Any]:
        """The network and the optimizer."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


def learning_rate(settings: TrainSettings, epoch: int) -> float:
    """The learning rate of an epoch, by the schedule of the settings."""
    if settings.schedule == "exponential":
        return max(settings.lr * settings.decay**epoch, settings.lr_min)
    return cosine(settings.lr, settings.lr_min, epoch, settings.epochs)
