"""Images: reading, dividing, batching and augmenting, each against something that does it another way."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from flopscope.errors import OptionError
from nas.data import (
    Augmentation,
    Batches,
    ImageData,
    Split,
    cutout,
    default_augmentation,
    generator_for,
    halves,
    in_order,
    load,
    permutation,
)
from nas.data.parts import every_fifth
from nas.errors import DataError


def numbered(count: int, shape: tuple[int, int, int] = (3, 8, 8)) -> ImageData:
    """Images that say which one they are: every pixel of image i is i."""
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, *shape)
    split = Split(torch.arange(count), lambda indices: images[indices])
    channels = shape[0]
    return ImageData("numbered", split, split, ("?",) * count, shape, torch.zeros(channels), torch.ones(channels) / 255, "here", "")


def images_of(split: Split) -> Tensor:
    return split.fetch(torch.arange(len(split)))


def arrays(train: int = 20, test: int = 10, shape: tuple[int, ...] = (6, 6, 3), classes: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (train, *shape), dtype=np.uint8),
        "y_train": (np.arange(train) % classes).astype(np.uint8),
        "x_test": rng.integers(0, 256, (test, *shape), dtype=np.uint8),
        "y_test": (np.arange(test) % classes).astype(np.int64),
    }


def saved(path: Path, **changes: np.ndarray | None) -> Path:
    content = {key: value for key, value in {**arrays(), **changes}.items() if value is not None}
    np.savez(path, **content)
    return path


def picture(path: Path, size: tuple[int, int] = (40, 32), colour: tuple[int, int, int] = (10, 20, 30), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


# ---------------------------------------------------------------------------------------------------- random numbers


def test_generators_are_told_apart_by_their_numbers_and_by_nothing_else():
    keys = [(), (0,), (1,), (0, 1), (1, 0), (0, 0), (12,), (1, 2), (0, 0, 1), (-1,), (2**70,)]
    draws = {key: tuple(torch.rand(4, generator=generator_for(*key)).tolist()) for key in keys}
    assert len(set(draws.values())) == len(keys)
    torch.manual_seed(5)
    assert all(tuple(torch.rand(4, generator=generator_for(*key)).tolist()) == drawn for key, drawn in draws.items())


def test_neighbouring_seeds_are_unrelated():
    draws = torch.stack([torch.rand(2000, generator=generator_for(seed)) for seed in range(6)])
    correlation = torch.corrcoef(draws) - torch.eye(6)
    assert correlation.abs().max() < 0.1


def test_the_seed_of_a_generator_is_the_stated_hash():
    digest = hashlib.sha256(b"3,4").digest()
    assert generator_for(3, 4).initial_seed() == int.from_bytes(digest[:8], "big") // 2


def test_the_global_generator_is_left_alone():
    data = numbered(10)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    Batches(data, data.train, 4, seed=0, augmentation=Augmentation(cutout=2)).batch(0, 0)
    halves(data.train, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_permutation_depends_on_seed_and_epoch():
    order = permutation(100, 3, 5)
    assert sorted(order.tolist()) == list(range(100))
    assert torch.equal(order, permutation(100, 3, 5))
    assert not torch.equal(order, permutation(100, 3, 6))
    assert not torch.equal(order, permutation(100, 4, 5))
    assert not torch.equal(order, permutation(100, 5, 3))


# ------------------------------------------------------------------------------------------------------- augmentation


def test_crop_and_flip_equal_a_plain_loop_over_images():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (16, 3, 7, 5), dtype=np.uint8))
    padding = 2
    result = Augmentation(padding, flip=True).apply(images, generator_for(1))

    told = generator_for(1)
    tops, lefts = torch.randint(2 * padding + 1, (2, 16, 1), generator=told)[..., 0].tolist()
    mirrored = (torch.rand(16, generator=told) < 0.5).tolist()
    for index, image in enumerate(images.numpy()):
        padded = np.zeros((3, 7 + 2 * padding, 5 + 2 * padding), np.uint8)
        padded[:, padding:-padding, padding:-padding] = image
        expected = padded[:, tops[index] : tops[index] + 7, lefts[index] : lefts[index] + 5]
        expected = expected[:, :, ::-1] if mirrored[index] else expected
        assert np.array_equal(result[index].numpy(), expected)
    assert result.dtype == torch.uint8


def test_crops_are_all_the_possible_ones_and_no_others():
    # All pixels differ, so a crop can be recognised.
    image = torch.arange(1, 17, dtype=torch.float32).view(1, 1, 4, 4)
    padded = np.pad(image[0, 0].numpy(), 1)
    possible = {padded[top : top + 4, left : left + 4].tobytes() for top in range(3) for left in range(3)}
    result = Augmentation(1, flip=False).apply(image.expand(900, 1, 4, 4), generator_for(0))
    counts = Counter(crop.contiguous().numpy().tobytes() for crop in result[:, 0])
    assert set(counts) == possible
    # 100 of each are expected, with a deviation of 9.4.
    assert all(50 < count < 150 for count in counts.values())


def test_about_half_of_the_images_are_flipped_and_the_others_stay():
    image = torch.rand(1, 3, 4, 6, generator=generator_for(0))
    result = Augmentation(0, flip=True).apply(image.expand(2000, -1, -1, -1), generator_for(0))
    flipped = (result == image.flip(3)).flatten(1).all(1)
    same = (result == image).flatten(1).all(1)
    assert bool((flipped ^ same).all())
    assert 900 < int(flipped.sum()) < 1100


def test_no_augmentation_changes_nothing():
    images = torch.rand(4, 1, 5, 5)
    assert torch.equal(Augmentation.none().apply(images, generator_for(0)), images)
    assert torch.equal(cutout(images, 0, generator_for(0)), images)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9, 20])
def test_cutout_blanks_exactly_the_clipped_square(size):
    images = torch.ones(64, 2, 6, 8)
    result = cutout(images, size, generator_for(2)).numpy()

    told = generator_for(2)
    rows = torch.randint(6, (64, 1), generator=told).flatten().tolist()
    columns = torch.randint(8, (64, 1), generator=told).flatten().tolist()
    for index in range(64):
        top, left = rows[index] - size // 2, columns[index] - size // 2
        expected = np.ones((2, 6, 8), np.float32)
        expected[:, max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = 0
        assert np.array_equal(result[index], expected)
    assert bool((images == 1).all())


def test_cutout_centres_are_uniform():
    blanked = (cutout(torch.ones(6000, 1, 3, 4), 1, generator_for(0)) == 0).sum(0)[0]
    assert int(blanked.sum()) == 6000
    assert 400 < int(blanked.min()) <= int(blanked.max()) < 600


@pytest.mark.parametrize("wrong", [{"crop_padding": -1}, {"cutout": -2}])
def test_negative_augmentation_is_refused(wrong):
    with pytest.raises(OptionError, match=f"{next(iter(wrong))} is -"):
        Augmentation(**wrong)


def test_default_augmentations():
    assert default_augmentation("digits", (1, 8, 8)) == Augmentation(crop_padding=1, flip=False)
    assert default_augmentation("fashion_mnist", (1, 28, 28)) == Augmentation(crop_padding=2, flip=True)
    for name in ("cifar10", "cifar100", "folder"):
        assert default_augmentation(name, (3, 32, 32)) == Augmentation(crop_padding=4, flip=True)
    assert not default_augmentation("letters", (1, 28, 28)).flip


# ------------------------------------------------------------------------------------------------------------ batches


def test_an_epoch_has_each_image_once_and_an_order_of_its_own():
    data = numbered(60)
    orders = {}
    for seed in (0, 1):
        batches = Batches(data, data.train, 12, seed=seed)
        assert len(batches) == 5
        for epoch in (0, 1):
            drawn = [batches.batch(epoch, step) for step in range(5)]
            labels = torch.cat([labels for _, labels in drawn]).tolist()
            assert sorted(labels) == list(range(60))
            pixels = torch.cat([images for images, _ in drawn])
            assert torch.allclose(pixels, torch.tensor(labels, dtype=torch.float32)[:, None, None, None].expand_as(pixels), atol=1e-4)
            orders[seed, epoch] = tuple(labels)
    assert len(set(orders.values())) == 4


def test_batches_do_not_depend_on_what_was_asked_before():
    data = load("digits")
    augmentation = Augmentation(1, flip=True, cutout=3)
    straight = Batches(data, data.train, 64, seed=7, augmentation=augmentation)
    expected = {(epoch, step): straight.batch(epoch, step) for epoch in range(2) for step in range(3)}
    resumed = Batches(data, data.train, 64, seed=7, augmentation=augmentation)
    for key in [(1, 2), (0, 1), (1, 0), (0, 1)]:
        images, labels = resumed.batch(*key)
        assert torch.equal(images, expected[key][0])
        assert torch.equal(labels, expected[key][1])
    other = Batches(data, data.train, 64, seed=8, augmentation=augmentation)
    assert not torch.equal(other.batch(0, 0)[0], expected[0, 0][0])


def test_augmentation_of_a_batch_is_crop_and_flip_then_normalising_then_cutout():
    data = load("digits")
    augmentation = Augmentation(2, flip=True, cutout=4)
    images, labels = Batches(data, data.train, 32, seed=3, augmentation=augmentation).batch(4, 5)
    indices = permutation(len(data.train), 3, 4)[160:192]
    generator = generator_for(3, 4, 5)
    cropped = augmentation.apply(data.train.fetch(indices), generator).numpy()
    normal = (cropped / np.float32(255) - data.mean.numpy()[:, None, None]) / data.std.numpy()[:, None, None]
    expected = cutout(torch.from_numpy(normal), 4, generator)
    assert torch.allclose(images, expected, atol=1e-6)
    assert torch.equal(labels, data.train.labels[indices])


def test_the_last_batch_is_left_out_unless_it_is_the_only_one():
    data = numbered(10)
    assert len(Batches(data, data.train, 4, seed=0)) == 2
    only = Batches(data, data.train, 64, seed=0)
    assert len(only) == 1
    images, labels = only.batch(0, 0)
    assert images.shape == (10, 3, 8, 8)
    assert sorted(labels.tolist()) == list(range(10))


def test_batches_have_the_layout_asked_for():
    data = numbered(8)
    images, labels = Batches(data, data.train, 4, seed=0, channels_last=True, augmentation=Augmentation()).batch(0, 0)
    assert images.shape == (4, 3, 8, 8)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    plain, _ = Batches(data, data.train, 4, seed=0, augmentation=Augmentation()).batch(0, 0)
    assert plain.is_contiguous()
    assert torch.equal(plain, images)


def test_batches_that_cannot_be():
    data = numbered(8)
    batches = Batches(data, data.train, 4, seed=0)
    for step in (-1, 2):
        with pytest.raises(IndexError, match="steps 0 to 1"):
            batches.batch(0, step)
    empty = data.train.subset(torch.tensor([], dtype=torch.int64))
    for make in (lambda split, size: Batches(data, split, size, seed=0), lambda split, size: in_order(data, split, size, "cpu")):
        with pytest.raises(OptionError, match="batches of 0 images"):
            make(data.train, 0)
        with pytest.raises(DataError, match=r"numbered.*no images"):
            make(empty, 4)


def test_in_order_gives_all_images_once_in_their_order():
    data = numbered(10)
    drawn = list(in_order(data, data.test, 4, "cpu"))
    assert [len(labels) for _, labels in drawn] == [4, 4, 2]
    assert torch.cat([labels for _, labels in drawn]).tolist() == list(range(10))
    assert torch.cat([images for images, _ in drawn])[:, 0, 0, 0].round().tolist() == list(range(10))


# -------------------------------------------------------------------------------------------------------------- parts


@pytest.mark.parametrize(("fraction", "first"), [(0.5, 25), (0.8, 41), (0.02, 1)])
def test_halves_are_disjoint_and_complete(fraction, first):
    split = numbered(51).train
    one, other = halves(split, 3, fraction)
    assert abs(len(one) - first) <= 1
    assert set(one.labels.tolist()) | set(other.labels.tolist()) == set(range(51))
    assert len(one) + len(other) == 51
    for part in (one, other):
        assert images_of(part)[:, 0, 0, 0].tolist() == part.labels.tolist()
    assert torch.equal(halves(split, 3, fraction)[0].labels, one.labels)
    assert not torch.equal(halves(split, 4, fraction)[0].labels, one.labels)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 1.5, 0.001])
def test_halves_are_never_empty(fraction):
    with pytest.raises(OptionError, match="leaves one part empty"):
        halves(numbered(20).train, 0, fraction)


def test_subsets_of_subsets():
    split = numbered(20).train.subset(torch.arange(0, 20, 2)).subset(torch.tensor([9, 0, 3]))
    assert len(split) == 3
    assert split.labels.tolist() == [18, 0, 6]
    assert split.fetch(torch.tensor([2, 2, 0]))[:, 0, 0, 0].tolist() == [6, 6, 18]


def test_every_fifth_equals_a_plain_loop():
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 7, 200))
    seen: Counter[int] = Counter()
    expected = []
    for index, label in enumerate(labels.tolist()):
        if seen[label] % 5 == 1:
            expected.append(index)
        seen[label] += 1
    train, test = every_fifth(labels)
    assert test.tolist() == expected
    assert train.tolist() == sorted(set(range(200)) - set(expected))


# ------------------------------------------------------------------------------------------------------------- digits


def test_digits():
    from sklearn.datasets import load_digits

    data = load("digits")
    assert (data.name, data.shape, len(data.classes)) == ("digits", (1, 8, 8), 10)
    assert len(data.train) + len(data.test) == 1797
    bunch = load_digits()
    everything = {
        (image * 255 / 16).round().astype(np.uint8).tobytes() + bytes([label])
        for image, label in zip(bunch.images, bunch.target, strict=True)
    }
    parts = [
        {image.numpy().tobytes() + bytes([label]) for image, label in zip(images_of(split), split.labels.tolist(), strict=True)}
        for split in (data.train, data.test)
    ]
    assert parts[0] | parts[1] == everything
    assert not parts[0] & parts[1]
    for label, count in enumerate(np.bincount(bunch.target).tolist()):
        assert abs(int((data.test.labels == label).sum()) - count / 5) < 1
    images = images_of(data.train)
    assert images.dtype == torch.uint8
    assert (int(images.min()), int(images.max())) == (0, 255)


def test_normalised_training_images_have_mean_0_and_deviation_1():
    data = load("digits")
    images = data.normalised(images_of(data.train))
    assert images.dtype == torch.float32
    assert float(images.mean()) == pytest.approx(0, abs=1e-5)
    assert float(images.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_fingerprints_tell_data_apart():
    prints = {load("digits").fingerprint, load("digits", size=4).fingerprint, load("digits").fingerprint}
    assert len(prints) == 2
    assert all(len(bytes.fromhex(fingerprint)) == 32 for fingerprint in prints)


def test_a_data_set_can_be_sent_to_another_process():
    data = load("digits")
    part = pickle.loads(pickle.dumps(data.train.subset(torch.tensor([5, 2]))))
    assert torch.equal(images_of(part), data.train.fetch(torch.tensor([5, 2])))


# ---------------------------------------------------------------------------------------------------------- npz files


def test_npz_in_colour(tmp_path):
    content = arrays()
    path = saved(tmp_path / "some.npz", classes=np.array(list("abcde")))
    data = load(str(path))
    assert (data.name, data.shape, data.classes, data.source) == ("some", (3, 6, 6), tuple("abcde"), str(path))
    assert np.array_equal(images_of(data.train).numpy(), np.moveaxis(content["x_train"], 3, 1))
    assert np.array_equal(images_of(data.test).numpy(), np.moveaxis(content["x_test"], 3, 1))
    assert data.train.labels.tolist() == content["y_train"].tolist()
    assert data.train.labels.dtype == torch.int64
    pixels = content["x_train"].reshape(-1, 3) / 255
    assert np.allclose(data.mean.numpy(), pixels.mean(0), atol=1e-6)
    assert np.allclose(data.std.numpy(), pixels.std(0), atol=1e-6)


def test_npz_in_grey_without_class_names(tmp_path):
    content = arrays(shape=(5, 5))
    np.savez(tmp_path / "grey.npz", **content)
    data = load(str(tmp_path / "grey.npz"))
    assert data.shape == (1, 5, 5)
    assert data.classes == ("0", "1", "2", "3", "4")
    assert np.array_equal(images_of(data.train).numpy()[:, 0], content["x_train"])


def test_class_names_as_bytes(tmp_path):
    assert load(str(saved(tmp_path / "some.npz", classes=np.array([b"v", b"w", b"x", b"y", b"z"])))).classes == tuple("vwxyz")


def test_a_channel_without_contrast_can_be_normalised(tmp_path):
    path = saved(tmp_path / "flat.npz", x_train=np.full((20, 6, 6, 3), 51, np.uint8))
    data = load(str(path))
    assert float(data.normalised(images_of(data.train)).abs().max()) < 1e-4


MALFORMED = {
    "missing": ({"y_test": None}, "no y_test .it holds: x_test, x_train, y_train"),
    "type of images": ({"x_train": np.zeros((20, 6, 6, 3), np.float32)}, "x_train is of type float32"),
    "type of labels": ({"y_train": np.zeros(20, np.float64)}, "y_train is of type float64"),
    "too few labels": ({"y_train": np.zeros(19, np.uint8)}, r"y_train has the shape \(19,\), and there are 20 images"),
    "labels in a column": ({"y_test": np.zeros((10, 1), np.uint8)}, r"y_test has the shape \(10, 1\)"),
    "rank of images": ({"x_train": np.zeros((20, 108), np.uint8)}, r"x_train has the shape \(20, 108\)"),
    "channels first": ({"x_test": np.zeros((10, 3, 6, 6), np.uint8)}, r"x_test has the shape \(10, 3, 6, 6\)"),
    "two shapes": ({"x_test": np.zeros((10, 5, 6, 3), np.uint8)}, r"two shapes, \(20, 6, 6, 3\) and \(10, 5, 6, 3\)"),
    "no images": ({"x_test": np.zeros((0, 6, 6, 3), np.uint8), "y_test": np.zeros(0, np.uint8)}, "x_test is empty"),
    "no pixels": ({"x_train": np.zeros((20, 0, 6, 3), np.uint8)}, "x_train is empty"),
    "negative label": ({"y_train": np.arange(-1, 19)}, "y_train has labels from -1 to 18"),
    "huge label": ({"y_train": np.full(20, 2**64 - 1, np.uint64)}, "y_train has labels from 18446744073709551615"),
    "counted from 1": ({"y_train": np.arange(20) % 5 + 1}, "5 different labels, from 1 to 5"),
    "unknown test label": ({"y_test": np.full(10, 5)}, "y_test has the label 5, and there are 5 classes"),
    "too few names": ({"classes": np.array(["a", "b"])}, "y_train has the label 4, and there are 2 classes"),
    "no names": ({"classes": np.arange(5)}, "classes is of type int64"),
    "pickled": ({"y_train": np.array([object()] * 20)}, "cannot be read.*allow_pickle=False"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_npz(tmp_path, kind):
    changes, message = MALFORMED[kind]
    path = saved(tmp_path / "bad.npz", **changes)
    with pytest.raises(DataError, match=message) as caught:
        load(str(path))
    assert str(path) in str(caught.value)
    assert "An .npz file of images holds x_train" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 and no more"])
def test_files_that_are_no_npz(tmp_path, content):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"not an \.npz file at all"):
        load(str(tmp_path / "bad.npz"))


def test_an_archive_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        for key in arrays():
            archive.writestr(key, "text")
    with pytest.raises(DataError, match=r"x_train is of type \|S4"):
        load(str(tmp_path / "bad.npz"))


def test_a_damaged_npz(tmp_path):
    path = saved(tmp_path / "bad.npz")
    content = bytearray(path.read_bytes())
    content[500] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read .BadZipFile"):
        load(str(path))


def test_a_single_array_is_no_npz(tmp_path):
    with (tmp_path / "bad.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match=r"not an \.npz file at all"):
        load(str(tmp_path / "bad.npz"))


# ----------------------------------------------------------------------------------------------------------- resizing


def test_shrinking_averages_areas(tmp_path):
    path = saved(tmp_path / "some.npz")
    data = load(str(path), size=3)
    assert data.shape == (3, 3, 3)
    blocks = arrays()["x_train"].astype(np.float64).reshape(20, 3, 2, 3, 2, 3).mean((2, 4))
    expected = np.moveaxis(np.rint(blocks), 3, 1)
    assert np.array_equal(images_of(data.train).numpy(), expected.astype(np.uint8))
    assert images_of(data.train).dtype == torch.uint8


def test_growing_keeps_flat_images_flat(tmp_path):
    flat = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None], (20, 6, 6, 3))
    data = load(str(saved(tmp_path / "flat.npz", x_train=flat)), size=9)
    assert images_of(data.train).shape == (20, 3, 9, 9)
    assert bool((images_of(data.train) == torch.arange(20)[:, None, None, None]).all())


def test_the_middle_of_oblong_images_is_taken(tmp_path):
    content = arrays(shape=(4, 8, 3))
    np.savez(tmp_path / "wide.npz", **content)
    data = load(str(tmp_path / "wide.npz"), size=4)
    assert np.array_equal(images_of(data.test).numpy(), np.moveaxis(content["x_test"][:, :, 2:6], 3, 1))
    assert load(str(tmp_path / "wide.npz")).shape == (3, 4, 8)


@pytest.mark.parametrize("size", [0, -3])
def test_sizes_below_1_are_refused(size):
    with pytest.raises(OptionError, match=f"size {size}"):
        load("digits", size=size)


# ------------------------------------------------------------------------------------------------ published data sets


def test_a_published_data_set_is_found_by_its_file_name(tmp_path):
    saved(tmp_path / "cifar100.npz", y_train=np.arange(20) % 4, y_test=np.arange(10) % 4)
    saved(tmp_path / "cifar10_small.npz")
    data = load("cifar10", tmp_path)
    assert data.source == str(tmp_path / "cifar10_small.npz")
    assert (data.name, data.classes[3]) == ("cifar10", "cat")
    assert load("cifar100", tmp_path).source == str(tmp_path / "cifar100.npz")
    saved(tmp_path / "cifar10_other.npz")
    with pytest.raises(DataError, match=r"has several: cifar10_other\.npz, cifar10_small\.npz\. Name one"):
        load("cifar10", tmp_path)
    assert load("cifar10", tmp_path / "cifar10_small.npz").fingerprint == data.fingerprint
    saved(tmp_path / "cifar10.npz")
    assert load("cifar10", tmp_path).source == str(tmp_path / "cifar10.npz")


def test_errors_about_published_data_sets_say_where_was_looked(tmp_path, monkeypatch):
    monkeypatch.delenv("FLOPSCOPE_DATA", raising=False)
    with pytest.raises(DataError, match="FLOPSCOPE_DATA is not set"):
        load("cifar10")
    monkeypatch.setenv("FLOPSCOPE_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        load("cifar10")
    assert str(tmp_path / "images" / "cifar10_10k_2k.npz") in str(caught.value)
    with pytest.raises(DataError) as caught:
        load("fashion_mnist", tmp_path)
    assert str(tmp_path / "fashion_mnist*.npz") in str(caught.value)
    assert str(tmp_path / "FashionMNIST" / "raw") in str(caught.value)
    with pytest.raises(DataError, match="does not exist"):
        load("cifar10", tmp_path / "nowhere")


def test_another_data_set_under_a_published_name_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"fashion_mnist was asked for, whose images have 1 channels, and those in .* have 3"):
        load("fashion_mnist", saved(tmp_path / "other.npz"))


def fashion_files(folder: Path, content: dict[str, np.ndarray]) -> None:
    """What torchvision keeps of Fashion-MNIST: big-endian headers, then bytes."""
    folder.mkdir(parents=True)
    for prefix, part in (("train", "train"), ("t10k", "test")):
        images, labels = content[f"x_{part}"], content[f"y_{part}"].astype(np.uint8)
        header = np.array([0x803, *images.shape], ">i4").tobytes()
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = np.array([0x801, len(labels)], ">i4").tobytes()
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


def test_fashion_mnist_as_torchvision_keeps_it(tmp_path):
    content = arrays(shape=(28, 28), classes=10)
    fashion_files(tmp_path / "FashionMNIST" / "raw", content)
    data = load("fashion_mnist", tmp_path)
    assert (data.shape, data.classes[9]) == ((1, 28, 28), "Ankle boot")
    assert np.array_equal(images_of(data.train)[:, 0].numpy(), content["x_train"])
    assert data.test.labels.tolist() == content["y_test"].tolist()


def test_cifar10_as_torchvision_keeps_it(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    content = arrays(shape=(32, 32, 3), classes=10)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    listed = {}
    for part, name in (("train", "data_batch_1"), ("test", "test_batch")):
        rows = np.moveaxis(content[f"x_{part}"], 3, 1).reshape(-1, 3072)
        (folder / name).write_bytes(pickle.dumps({"data": rows, "labels": content[f"y_{part}"].tolist()}))
        listed[part] = [[name, hashlib.md5((folder / name).read_bytes()).hexdigest()]]
    names = [f"class {label}" for label in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    with pytest.raises(DataError, match=r"torchvision cannot read .*cifar-10-batches-py"):
        load("cifar10", tmp_path)
    monkeypatch.setattr(CIFAR10, "train_list", listed["train"])
    monkeypatch.setattr(CIFAR10, "test_list", listed["test"])
    meta = {**CIFAR10.meta, "md5": hashlib.md5((folder / "batches.meta").read_bytes()).hexdigest()}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    data = load("cifar10", tmp_path)
    assert data.classes == tuple(names)
    assert np.array_equal(images_of(data.test).numpy(), np.moveaxis(content["x_test"], 3, 1))
    assert data.train.labels.tolist() == content["y_train"].tolist()


def test_a_damaged_folder_of_torchvision(tmp_path):
    folder = tmp_path / "FashionMNIST" / "raw"
    fashion_files(folder, arrays(shape=(28, 28), classes=10))
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"torchvision cannot read .*name an \.npz"):
        load("fashion_mnist", tmp_path)


def test_real_cifar10(data):
    cifar = load("cifar10", data / "images")
    assert (len(cifar.train), len(cifar.test), cifar.shape) == (10_000, 2_000, (3, 32, 32))
    assert cifar.classes[:2] == ("airplane", "automobile")
    assert torch.bincount(cifar.train.labels).tolist() == [1000] * 10
    # Of all 50,000 images, as everyone uses them.
    assert cifar.mean.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=0.01)
    assert cifar.std.tolist() == pytest.approx([0.2470, 0.2435, 0.2616], abs=0.01)


def test_real_fashion_mnist(data, monkeypatch):
    monkeypatch.setenv("FLOPSCOPE_DATA", str(data))
    fashion = load("fashion_mnist")
    assert (len(fashion.train), len(fashion.test), fashion.shape) == (60_000, 10_000, (1, 28, 28))
    assert fashion.classes[9] == "Ankle boot"
    assert float(fashion.mean) == pytest.approx(0.2860, abs=1e-4)
    assert float(fashion.std) == pytest.approx(0.3530, abs=1e-4)


# ------------------------------------------------------------------------------------------------------ image folders


def colours(root: Path, count: int) -> None:
    """Classes red and green, whose images differ in the level of blue."""
    for index in range(count):
        picture(root / "red" / f"{index:02}.png", colour=(200, 0, index))
        picture(root / "green" / f"{index:02}.JPG" if index == 0 else root / "green" / f"{index:02}.png", colour=(0, 200, index))


def test_a_folder_with_parts(tmp_path):
    colours(tmp_path / "train", 6)
    colours(tmp_path / "val", 2)
    (tmp_path / "train" / "red" / "notes.txt").write_text("no image")
    (tmp_path / "train" / ".hidden").mkdir()
    data = load("folder", tmp_path)
    assert (len(data.train), len(data.test), data.classes, data.shape) == (12, 4, ("green", "red"), (3, 32, 32))
    images = images_of(data.train)
    assert images.dtype == torch.uint8
    assert images.shape == (12, 3, 32, 32)
    red = data.train.labels == 1
    assert images[red][:, 2, 0, 0].tolist() == list(range(6))
    assert bool((images[red][:, 0] == 200).all())
    assert float(data.mean[0]) == pytest.approx(100 / 255, abs=2 / 255)
    colours(tmp_path / "test", 3)
    assert len(load("folder", tmp_path).test) == 6


def test_a_folder_of_classes_is_divided(tmp_path):
    colours(tmp_path, 10)
    data = load(str(tmp_path), size=16)
    assert (len(data.train), len(data.test), data.shape) == (16, 4, (3, 16, 16))
    assert torch.bincount(data.test.labels).tolist() == [2, 2]
    red = data.test.labels == 1
    assert images_of(data.test)[red][:, 2, 0, 0].tolist() == [1, 6]
    assert data.name == tmp_path.name
    assert data.train.fetch(torch.tensor([], dtype=torch.int64)).shape == (0, 3, 16, 16)


def test_images_are_scaled_by_their_shorter_side_and_cropped_in_the_middle(tmp_path):
    picture(tmp_path / "a" / "0.png")
    # White but for the outer quarters, which the crop leaves out.
    image = np.full((16, 32, 3), 255, np.uint8)
    image[:, :8] = image[:, 24:] = 0
    Image.fromarray(image).save(tmp_path / "a" / "1.png")
    Image.fromarray(image.transpose(1, 0, 2).copy()).save(tmp_path / "a" / "2.png")
    data = load("folder", tmp_path, size=16)
    assert bool((images_of(data.test) == 255).all())
    assert bool((data.train.fetch(torch.tensor([1])) == 255).all())


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_images_of_other_modes_become_rgb(tmp_path, mode):
    for index in range(2):
        picture(tmp_path / "a" / f"{index}.{'tif' if mode == 'CMYK' else 'png'}", colour=(255, 255, 255), mode=mode)
    assert bool((images_of(load("folder", tmp_path).test) == 255).all())


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "gone"])
def test_a_corrupt_image_is_named(tmp_path, damage):
    colours(tmp_path / "train", 3)
    colours(tmp_path / "val", 3)
    bad = tmp_path / "val" / "red" / "01.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(bad)
    content = bad.read_bytes()
    bad.write_bytes({"cut": content[:900], "text": b"not an image", "empty": b"", "gone": content}[damage])
    data = load("folder", tmp_path)
    if damage == "gone":
        bad.unlink()
    with pytest.raises(DataError) as caught:
        images_of(data.test)
    assert str(bad) in str(caught.value)
    assert data.test.fetch(torch.tensor([0])).shape == (1, 3, 32, 32)


def test_the_fingerprint_of_a_folder_is_that_of_its_files_wherever_it_lies(tmp_path):
    for name in ("one", "two"):
        colours(tmp_path / name, 4)
    first = load("folder", tmp_path / "one").fingerprint
    assert load("folder", tmp_path / "two").fingerprint == first
    assert load("folder", tmp_path / "one", size=8).fingerprint != first
    picture(tmp_path / "two" / "red" / "new.png")
    assert load("folder", tmp_path / "two").fingerprint != first


def test_folders_that_are_not_laid_out_right(tmp_path):
    with pytest.raises(DataError, match="is not there"):
        load("folder", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no folders of images"):
        load("folder", tmp_path / "empty")
    colours(tmp_path / "half" / "train", 2)
    with pytest.raises(DataError, match=r"neither .*half/test nor .*half/val"):
        load("folder", tmp_path / "half")
    picture(tmp_path / "half" / "val" / "blue" / "0.png")
    with pytest.raises(DataError, match="has not: blue"):
        load("folder", tmp_path / "half")
    (tmp_path / "half" / "train" / "blue").mkdir()
    with pytest.raises(DataError, match="blue is a class without images"):
        load("folder", tmp_path / "half")
    picture(tmp_path / "single" / "a" / "0.png")
    with pytest.raises(DataError, match="every class has only one"):
        load("folder", tmp_path / "single")


# ------------------------------------------------------------------------------------------------------ names in general


def test_unknown_names_are_told_the_known_ones(tmp_path):
    with pytest.raises(DataError, match=r"'cifar': the known ones are digits, fashion_mnist, cifar10, cifar100, folder.*not there"):
        load("cifar")
    (tmp_path / "some.txt").write_text("text")
    with pytest.raises(DataError, match=r"neither a folder nor an \.npz file"):
        load(str(tmp_path / "some.txt"))
    with pytest.raises(DataError, match=r"gone\.npz is not there"):
        load(str(tmp_path / "gone.npz"))


def test_a_root_is_needed_for_folders_and_refused_where_it_means_nothing(tmp_path):
    with pytest.raises(DataError, match="without saying which"):
        load("folder")
    for name in ("digits", str(tmp_path)):
        with pytest.raises(DataError, match="does not need one"):
            load(name, tmp_path)
