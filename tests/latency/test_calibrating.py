"""Calibrating this machine: what is written is what is read, and the clock is the test's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import flopscope
from flopscope.errors import OptionError
from flopscope.latency.calibrating import Peaks, calibrate, device_text, last_cache_bytes, lines_of
from flopscope.latency.calibration_models import NETWORKS, Network
from flopscope.latency.ceilings import assumed, known
from flopscope.latency.device import device, parse_device
from flopscope.latency.families import CONTRACTIONS, family_of
from flopscope.latency.table.setting import Setting
from flopscope.rules import price

PEAKS = Peaks(1e11, 2e10, 1e10, 5e10, 2e-6, 2**25)


def tiny(number: int) -> Network:
    def make() -> Any:
        return nn.Sequential(nn.Linear(8 * number, 8), nn.ReLU(), nn.Linear(8, 8))

    return Network(f"tiny {number}", str(number), make, (number, 8 * number))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "flopscope"


def test_this_machine_is_a_device_once_it_is_calibrated(cache: Path) -> None:
    with pytest.raises(OptionError, match=r"there is no .*here\.toml: calibrate first"):
        device("here")
    said: list[tuple[int, int, str]] = []
    found = calibrate(1, [tiny(number) for number in range(1, 11)], lambda *words: said.append(words))
    found.save(cache)
    assert device("here") == found.device
    assert known(device("here"), "eager", None) == found.ceilings
    assert known(device("here"), "compile", None) == assumed(found.device)  # not measured
    assert found.ceilings.calibrated
    assert said[-1] == (10, 10, "tiny 10")
    assert set(found.seconds) == {f"tiny {number}" for number in range(1, 11)}
    told = flopscope.analyze(nn.Linear(8, 8), "1x8").latency("here").total
    assert 0 < told.low < told.seconds < told.high
    assert "calibrated on this machine: 10 small networks" in told.why
    assert "nine networks in ten" in "\n".join(lines_of(found))


def test_a_device_text_holds_what_was_measured() -> None:
    found = parse_device(device_text(Setting('an "odd" name', "eager", "2.9", 2), PEAKS), "here", "the text")
    assert found.title == 'an "odd" name'
    assert (found.peak("float32"), found.vector("float32"), found.bandwidth_bytes_per_second) == (1e11, 2e10, 1e10)
    assert (found.launch_seconds, found.cache_bytes) == (2e-6, 2**25)
    assert found.sources["peak_flops.float32"].startswith("measured with 2 threads of PyTorch 2.9")


def test_the_last_cache_is_the_largest(tmp_path: Path) -> None:
    for number, text in enumerate(["32K\n", "32M", "nonsense"]):
        (tmp_path / f"index{number}").mkdir()
        (tmp_path / f"index{number}" / "size").write_text(text)
    assert last_cache_bytes(tmp_path) == 32 * 2**20
    assert last_cache_bytes(tmp_path / "none") == 0


def test_too_few_networks_are_refused() -> None:
    with pytest.raises(OptionError, match="ten models or more"):
        calibrate(1, [tiny(1), tiny(2)])


def test_the_networks_are_of_all_families() -> None:
    found = set()
    for network in NETWORKS:
        model, example = network.build()
        assert not any(parameter.is_meta for parameter in model.parameters())
        for op in flopscope.analyze(model, example).graph.ops:
            cost = price(op.signature)
            if cost is not None and cost.macs:
                found.add(family_of(op.signature, cost))
        if network.family in ("encoder", "decoder", "perceptron"):  # the rest are torchvision's, which are known to run
            with torch.inference_mode():
                assert bool(model(example).isfinite().all())
    assert found == set(CONTRACTIONS)


def test_a_file_of_another_machine_is_not_taken_for_this_one(cache: Path) -> None:
    cache.mkdir()
    (cache / "here.toml").write_text(device_text(Setting("m", "eager", "2.9", 1), PEAKS))
    (cache / "here-eager-float32.json").write_text("{}")
    with pytest.raises(OptionError, match="holds no ceilings"):
        known(device("here"), "eager", None)
