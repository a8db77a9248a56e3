"""Latencies that are learned: what is learned is compared with the law that made the times, and trees with LightGBM's own answers."""

from __future__ import annotations

import copy
import csv
import gzip
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from flopscope.errors import InputError, MissingPackageError, OptionError
from flopscope.frontends.torch.trace import trace
from flopscope.graph import Op
from flopscope.latency.block import Block
from flopscope.latency.features import features_of
from flopscope.latency.predictor import NetworkPredictor, Predictor
from flopscope.latency.source import LatencySource
from flopscope.latency.spaces import cell_features, cell_of, choice_features, mirrored
from flopscope.latency.trees import grown, tree_from, value_of

lightgbm = pytest.importorskip("lightgbm")


def convolutions(sizes: list[tuple[int, int, int, int]], after: nn.Module | None = None) -> list[Op]:
    """The convolution of each (channels, outputs, kernel, positions on a side), with what runs after it."""
    found = []
    for c, o, k, s in sizes:
        net = nn.Sequential(nn.Conv2d(c, o, k, padding=k // 2, bias=False), *([after] if after else []))
        found.extend(trace(net, (torch.empty(1, c, s, s),), {}).ops)
    return found


SIZES = [(c, o, k, s) for c in (8, 16, 24) for o in (8, 32) for k in (1, 3, 5) for s in (7, 14)]
SECONDS = [1e-6 + 2e-10 * s * s * c * o * k * k for c, o, k, s in SIZES]
"""A law with a cost per op and one per multiply-accumulate."""


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.fit(convolutions(SIZES), SECONDS, "law", "a law")


def test_features_of_a_convolution() -> None:
    net = nn.Conv2d(8, 12, (3, 5), stride=2, padding=(1, 2), groups=4, bias=False)
    found = features_of(trace(net, (torch.empty(2, 8, 10, 14),), {}).ops[0])
    macs = 2 * 12 * 5 * 7 * 2 * 15
    wanted = {"kind=conv": 1, "input_elements": 2240, "output_elements": 840, "input_channels": 8, "output_channels": 12, "kernel": 15,
              "stride": 4, "groups": 4, "weight_elements": 12 * 2 * 15, "grouped_macs": macs, "dense_macs": 0, "other_flops": 0,
              "access_bytes": 4 * (2240 + 840 + 360)}  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted
    with pytest.raises(OptionError, match="a str was given"):
        features_of("conv")


def test_a_law_is_found_and_reaches_beyond_what_was_seen(predictor: Predictor) -> None:
    """Trees alone would answer a convolution that is fifty times larger with the time of the largest that they saw."""
    assert isinstance(predictor, LatencySource)
    larger = (48, 64, 5, 28)
    found = predictor.estimate(convolutions([larger])[0])
    assert found is not None
    assert found.seconds == pytest.approx(1e-6 + 2e-10 * 28 * 28 * 48 * 64 * 25, rel=0.1)
    inside = [predictor.estimate(op) for op in convolutions(SIZES)]
    errors = [abs(estimate.seconds / seconds - 1) for estimate, seconds in zip(inside, SECONDS, strict=True) if estimate is not None]
    assert len(errors) == len(SIZES)
    assert np.median(errors) < 0.05


def test_what_was_not_seen_is_unknown(predictor: Predictor) -> None:
    conv, relu = convolutions([(8, 8, 3, 7)], nn.ReLU())
    assert predictor.estimate(relu) is None
    graph = trace(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.ReLU()), (torch.empty(1, 8, 7, 7),), {})
    known = predictor.estimate(conv)
    assert known is not None
    total = predictor.total(graph)
    assert (total.seconds, total.unknown) == (known.seconds, 1)
    often = copy.copy(conv)
    often.times = 3
    thrice = predictor.estimate(often)
    assert thrice is not None
    assert thrice.seconds == pytest.approx(3 * known.seconds)


def test_the_error_bar_holds_nine_in_ten() -> None:
    """Times with a spread of a tenth, as lognormal noise: the bar is fitted on some and counted on others."""
    rng = np.random.default_rng(0)
    seconds = [value * math.exp(0.1 * rng.standard_normal()) for value in SECONDS for _ in range(6)]
    ops = [op for op in convolutions(SIZES) for _ in range(6)]
    noisy = Predictor.fit(ops, seconds)
    inside = []
    for op, value in zip(convolutions(SIZES), SECONDS, strict=True):
        found = noisy.estimate(op)
        assert found is not None
        inside += [found.low <= value * math.exp(0.1 * rng.standard_normal()) <= found.high for _ in range(50)]
    assert 0.85 <= np.mean(inside) <= 0.97


def test_trees_answer_as_lightgbm_does() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 4, (200, 5)).astype(float)
    values = rows[:, 0] * rows[:, 1] + rng.standard_normal(200)
    from flopscope.latency.trees import _SETTINGS

    booster = lightgbm.train({**_SETTINGS, "min_data_in_leaf": 10}, lightgbm.Dataset(rows, values), 150)
    asked = rng.uniform(-1, 5, (300, 5))
    np.testing.assert_allclose(value_of(grown(rows, values), asked), booster.predict(asked), rtol=1e-12)
    assert [value_of(grown(rows, values), row[None])[0] for row in asked[:20]] == value_of(grown(rows, values), asked[:20]).tolist()
    assert value_of(grown(rows, np.ones(200)), asked) == pytest.approx(np.ones(300))  # nothing to split


def test_a_predictor_is_kept_as_numbers(predictor: Predictor, tmp_path: Path) -> None:
    predictor.save(tmp_path / "p.json")
    again = Predictor.load(tmp_path / "p.json")
    assert again == predictor
    assert again.trained_on["rows"] == len(SIZES)
    assert again.trained_on["what"] == "a law"
    asked = convolutions([(9, 9, 3, 11)])[0]
    assert again.estimate(asked) == predictor.estimate(asked)
    with pytest.raises(OptionError, match="is a predictor of ops, where one of networks is needed"):
        NetworkPredictor.load(tmp_path / "p.json")
    with pytest.raises(OptionError, match="cannot write"):
        predictor.save(tmp_path / "none" / "p.json")
    with pytest.raises(OptionError, match="cannot read"):
        Predictor.load(tmp_path / "none")


def test_predicting_from_a_file_needs_no_lightgbm(predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor.save(tmp_path / "p.json")
    asked = convolutions([(9, 9, 3, 11)])[0]
    wanted = predictor.estimate(asked)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    assert Predictor.load(tmp_path / "p.json").estimate(asked) == wanted
    with pytest.raises(MissingPackageError, match=r"pip install 'flopscope\[latency\]'"):
        Predictor.fit(convolutions(SIZES), SECONDS)


def _loops(content: Any) -> None:
    content["regression"]["trees"][0]["lefts"][0] = 0


def _leaves(content: Any) -> None:
    content["regression"]["trees"][0]["rights"][0] = -100


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_loops, "no later nodes and no leaves"),
        (_leaves, "no later nodes and no leaves"),
        (lambda content: content["regression"]["trees"][0]["features"].__setitem__(0, 10**6), "asks for a feature"),
        (lambda content: content["regression"]["trees"][0]["thresholds"].__setitem__(0, "1"), "no finite number"),
        (lambda content: content["regression"]["trees"][0]["leaves"].pop(), "one leaf more"),
        (lambda content: content["regression"]["trees"].append(7), "a tree needs features"),
        (lambda content: content["regression"]["weights"].pop(), "a weight for each feature"),
        (lambda content: content["regression"].update(below=1.0), "out of range"),
        (lambda content: content["regression"].update(above=float("nan")), "no number of a sensible size"),
        (lambda content: content["regression"].update(above=1e6), "further apart"),
        (lambda content: content["regression"].update(residual="eval"), "out of range"),
        (lambda content: content["regression"].pop("trust"), "a part of it is missing"),
        (lambda content: content.update(format="pickle"), "cannot read: 'pickle'"),
        (lambda content: content.clear(), "no predictor"),
    ],
)
def test_damaged_files_are_refused(predictor: Predictor, tmp_path: Path, damage: Callable[[Any], None], message: str) -> None:
    predictor.save(tmp_path / "p.json")
    content = json.loads((tmp_path / "p.json").read_text())
    assert content["regression"]["trees"], "the law leaves nothing to trees, so there is nothing to damage"
    damage(content)
    (tmp_path / "p.json").write_text(json.dumps(content))
    with pytest.raises(OptionError, match=message):
        Predictor.load(tmp_path / "p.json")
    (tmp_path / "p.json").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(OptionError, match="no predictor"):
        Predictor.load(tmp_path / "p.json")


def test_a_single_leaf_is_a_tree() -> None:
    tree = tree_from({"features": [], "thresholds": [], "lefts": [], "rights": [], "leaves": [2.5]}, 3)
    assert tree.of(np.zeros((2, 3))).tolist() == [2.5, 2.5]
    assert tree.at([0, 0, 0]) == 2.5


@pytest.mark.parametrize(
    ("count", "seconds", "message"), [(5, 1e-3, "at least 10 rows"), (20, 0.0, "times above zero"), (20, math.nan, "times above zero")]
)
def test_what_cannot_be_learned(count: int, seconds: float, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Predictor.fit([Block("Conv", (8, 8, 3), (4, 4, channels + 1)) for channels in range(count)], [seconds] * count)


def test_networks_whose_time_is_a_sum() -> None:
    """Twelve places with four candidates: a sum over places is found from a few networks, and the trees are not in its way."""
    rng = np.random.default_rng(0)
    times, names = rng.uniform(1e-4, 1e-2, (12, 4)), ["a", "b", "c", "d"]
    choices = rng.integers(0, 4, (400, 12))
    seconds = times[np.arange(12), choices].sum(1)
    features = [choice_features(row.tolist(), names) for row in choices]
    learned = NetworkPredictor.fit(features[:150], seconds[:150])
    np.testing.assert_allclose(learned.seconds(features[150:]), seconds[150:], rtol=1e-3)
    one = learned.estimate(features[200])
    assert one.low <= seconds[200] <= one.high
    assert one.seconds == pytest.approx(learned.seconds([features[200]])[0])
    with pytest.raises(InputError, match="place 1 takes candidate 4"):
        choice_features([0, 4], names)


def test_cells() -> None:
    name = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|nor_conv_1x1~1|avg_pool_3x3~2|"
    cell = cell_of(name)
    assert cell == (3, 0, 0, 1, 2, 4)
    assert mirrored(cell) == (0, 3, 0, 1, 4, 2)
    assert mirrored(mirrored(cell) or ()) == cell
    assert mirrored((1, 1, 1, 1, 1, 1)) is None
    found = cell_features(cell)
    assert found["count=none"] == 2
    assert found["alive count=skip_connect"] == 1
    assert "alive count=avg_pool_3x3" not in found  # what it reads was never written
    assert (found["depth in convolutions"], found["depth in 3x3 convolutions"]) == (2, 1)
    assert (found["alive additions"], found["alive nodes"]) == (1, 2)
    for wrong in (name.replace("none~0", "dance~0"), name[1:], ""):
        with pytest.raises(InputError, match="is no cell of NAS-Bench-201"):
            cell_of(wrong)


def test_a_device_of_nas_bench_201(data: Path) -> None:
    """From 300 cells, the latencies of others on a GPU, which multiply-accumulates rank badly."""
    with gzip.open(data / "nas" / "nasbench201.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))[::12]
    features = [{**cell_features(cell_of(row["arch"])), "mmacs": float(row["macs_c100"]) / 1e6} for row in rows]
    seconds = np.array([float(row["lat_titan_rtx_32"]) for row in rows]) / 1e3
    learned = NetworkPredictor.fit(features[:300], seconds[:300])
    error = learned.seconds(features[300:]) - seconds[300:]
    assert np.sqrt((error**2).mean()) < 0.15 * seconds.std()
    slope, intercept = np.polyfit([row["mmacs"] for row in features[:300]], seconds[:300], 1)
    line = slope * np.array([row["mmacs"] for row in features[300:]]) + intercept
    assert np.sqrt(((line - seconds[300:]) ** 2).mean()) > 0.5 * seconds.std()
    bounds = learned.regression
    assert 0.84 <= np.mean((-error >= bounds.below) & (-error <= bounds.above)) <= 0.96
