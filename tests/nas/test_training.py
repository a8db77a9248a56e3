"""Training from scratch: the loss and drop-path by value, the learning rates, and the images that the recipe says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.data import Augmentation, ImageData, Split, load
from nas.errors import DataError, RecipeError
from nas.genotype import Genotype
from nas.job import augmentation_of
from nas.recipe import TrainSettings
from nas.recipe import load as load_recipe
from nas.runs import Run
from nas.spaces.darts.network import Cell, CellNetwork, CellShape, NetworkShape
from nas.training import Training, learning_rate

EDGES = (("sep_conv_3x3", 0), ("skip_connect", 1))
GENOTYPE = Genotype(EDGES, (2,), EDGES, (2,))


def _training(folder: Path, network: nn.Module, *settings: tuple[str, Any]) -> Training:
    recipe = load_recipe("small", [("data.limit", 64), ("train.batch_size", 32), ("machine.channels_last", False), *settings])
    return Training(Run(folder), recipe, load("digits"), network)


# -- the loss -------------------------------------------------------------------------------------------------


class _Says(nn.Module):
    """A network that says what it was told, and in training its auxiliary head something else."""

    def __init__(self, logits: Tensor, auxiliary: Tensor | None) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.auxiliary = None if auxiliary is None else nn.Parameter(auxiliary)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.logits, self.auxiliary


def _smoothed(logits: list[list[float]], labels: list[int], smoothing: float) -> float:
    """The mean over images of ``-sum over classes of q log p``, q = 1 - smoothing at the label, and smoothing / classes everywhere."""
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        normal = math.log(sum(math.exp(value) for value in row))
        for place, value in enumerate(row):
            total -= ((1 - smoothing) * (place == label) + smoothing / len(row)) * (value - normal)
    return total / len(labels)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_the_loss_is_smoothed_cross_entropy_and_a_share_of_that_of_the_auxiliary_head(
    smoothing: float, weight: float, tmp_path: Path
) -> None:
    logits, auxiliary, labels = [[2.0, -1.0, 0.5], [0.1, 0.2, 0.3]], [[-1.0, 1.0, 0.0], [3.0, 0.0, 0.0]], [0, 2]
    network = _Says(torch.tensor(logits), torch.tensor(auxiliary))
    job = _training(tmp_path, network, ("train.label_smoothing", smoothing), ("train.auxiliary", weight))
    loss, said = job._loss(torch.zeros(2, 1, 8, 8), torch.tensor(labels))
    assert loss.item() == pytest.approx(_smoothed(logits, labels, smoothing) + weight * _smoothed(auxiliary, labels, smoothing), rel=1e-6)
    assert said.tolist() == torch.tensor(logits).tolist()


def test_without_an_auxiliary_head_the_loss_is_that_of_the_logits(tmp_path: Path) -> None:
    job = _training(tmp_path, _Says(torch.tensor([[1.0, 0.0]]), None), ("train.auxiliary", 0.4))
    assert job._loss(torch.zeros(1, 1, 8, 8), torch.tensor([0]))[0].item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)


# -- drop-path ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduces", [False, True], ids=["normal", "reduction"])
def test_a_path_is_dropped_for_each_image_apart_and_scaled_but_for_skips(reduces: bool) -> None:
    torch.manual_seed(0)
    cell = Cell(EDGES, (2,), CellShape(2, reduces, False), 2, 2).train()
    before, last, share = torch.randn(600, 2, 4, 4), torch.randn(600, 2, 4, 4), 0.4
    with torch.no_grad():
        whole = [layer(state) for layer, state in zip(cell.edges, (cell.preprocess0(before), cell.preprocess1(last)), strict=True)]
        found = cell(before, last, share)
    kept = torch.zeros(600, 2)
    for image in range(600):
        choices = {
            (one, two): one * whole[0][image] / (1 - share) + (two * whole[1][image] / (1 - share)) for one in (0, 1) for two in (0, 1)
        }
        if not reduces:  # a skip that changes nothing is never dropped, and never scaled
            choices = {(one, 1): one * whole[0][image] / (1 - share) + whole[1][image] for one in (0, 1)}
        same = [choice for choice, value in choices.items() if torch.allclose(found[image], value, atol=1e-5)]
        assert len(same) == 1
        kept[image] = torch.tensor(same[0])
    assert kept[:, 0].mean().item() == pytest.approx(1 - share, abs=0.06)
    assert kept[:, 1].mean().item() == pytest.approx(1 - share if reduces else 1, abs=0.06)
    assert torch.equal(cell.eval()(before, last, share), cell(before, last, 0.0))


def test_drop_path_rises_and_the_learning_rate_falls_from_epoch_to_epoch(tmp_path: Path) -> None:
    network = CellNetwork(GENOTYPE, NetworkShape(2, 3), 10, 1)
    job = _training(
        tmp_path, network, ("train.drop_path", 0.3), ("train.epochs", 4), ("train.schedule", "exponential"), ("train.decay", 0.5)
    )
    for epoch, (dropped, rate) in enumerate(((0.0, 0.05), (0.075, 0.025), (0.15, 0.0125), (0.225, 0.00625))):
        job.epoch = epoch
        job.one_step()
        assert network.drop_path == pytest.approx(dropped)
        assert job.optimizer.param_groups[0]["lr"] == pytest.approx(rate)


# -- the learning rate and the images -------------------------------------------------------------------------


def test_learning_rates() -> None:
    cosine = TrainSettings(epochs=4, lr=0.1, lr_min=0.02)
    expected = (0.1, 0.06 + 0.04 * math.sqrt(0.5), 0.06, 0.06 - 0.04 * math.sqrt(0.5))
    assert [learning_rate(cosine, epoch) for epoch in range(4)] == pytest.approx(expected)
    imagenet = load_recipe("imagenet").train
    assert [learning_rate(imagenet, epoch) for epoch in range(3)] == pytest.approx([0.1, 0.097, 0.09409])
    assert learning_rate(imagenet, 249) == pytest.approx(0.1 * math.exp(249 * math.log(0.97)))
    assert learning_rate(TrainSettings(schedule="exponential", lr=0.1, decay=0.5, lr_min=0.04), 3) == 0.04


def test_one_image_is_not_enough_to_train_with(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is only 1 image to train with, and batch normalisation needs 2"):
        _training(tmp_path, _Says(torch.zeros(1, 10), None), ("data.limit", 1))


def test_a_cutout_that_leaves_nothing_is_refused() -> None:
    split = Split(torch.zeros(1, dtype=torch.int64), lambda indices: torch.zeros(len(indices), 1, 8, 8))
    data = ImageData("any", split, split, ("a",), (1, 8, 8), torch.zeros(1), torch.ones(1), "", "")
    assert augmentation_of(data, True, 7).cutout == 7
    assert augmentation_of(data, True, 7, crop_area=0.5, jitter=0.2) == Augmentation(1, False, 7, 0.5, 0.2)
    assert augmentation_of(data, False, 8) == Augmentation.none()
    with pytest.raises(RecipeError, match=r"a cutout of 8 pixels can leave nothing of images of 8x8.*--set train\.cutout=0$"):
        augmentation_of(data, True, 8)
