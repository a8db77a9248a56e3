"""The table of the benchmark of coverage, on outcomes made up here; nothing is measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("timm")
pytest.importorskip("transformers")

from benchmarks import coverage
from benchmarks.coverage import OWN, Outcome
from benchmarks.coverage_models import TIMM, TRANSFORMERS, specs


def _outcomes() -> dict[tuple[str, str], Outcome]:
    found = [
        Outcome(OWN, "torchvision:resnet18", "shapes", 1_814_073_344, 0.002, 0.01),
        Outcome(OWN, "timm:test_vit", "shapes", 1000, 0.001, 0.02),
        Outcome("thop", "torchvision:resnet18", "meta", 1.83e9, 0.05),  # 0.9 % above the published 1.814 GMACs
        Outcome("thop", "timm:test_vit", "meta", 980, 0.01),  # 2 % below, and faster
        Outcome("fvcore", "torchvision:resnet18", "real", failure="RuntimeError: no"),
        Outcome("fvcore", "timm:test_vit", "real", 1000, 0.04),
    ]
    return {(one.counter, one.model): one for one in found}


def test_the_table_counts_what_was_analysed_what_is_right_and_what_is_faster() -> None:
    lines = coverage.table(_outcomes(), [OWN, "thop", "fvcore"]).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells == [
        [OWN, "2 (100.0 %)", "2 (100.0 %)", "1.5", "0.1", "0"],
        ["thop", "2 (100.0 %)", "1 (50.0 %)", "30.0", "2.8", "1"],
        ["fvcore", "1 (50.0 %)", "1 (50.0 %)", "40.0", "2.0", "0"],
    ]
    assert coverage.failures(_outcomes(), ["fvcore"]) == "- fvcore: 1 x RuntimeError: no (torchvision:resnet18)"


def test_the_truth_is_what_torchvision_publishes_not_what_flopscope_counts() -> None:
    outcomes = _outcomes()
    outcomes[OWN, "torchvision:resnet18"].macs = 7
    assert coverage.truths(outcomes) == {"torchvision:resnet18": pytest.approx(1.814e9), "timm:test_vit": 1000}


def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.jsonl"
    whole = Outcome("thop", "timm:test_vit", "meta", 980, 0.01)
    path.write_text(json.dumps(asdict(whole)) + '\n{"counter": "thop", "mod')
    assert coverage.load(path) == {("thop", "timm:test_vit"): whole}


def test_every_model_is_there_once() -> None:
    from torchvision.models import list_models

    names = specs()
    assert len(names) == len(set(names)) == len(list_models()) + len(TIMM) + len(TRANSFORMERS)
    assert (len(TIMM), len(TRANSFORMERS)) == (60, 20)
    assert {name.partition(":")[0] for name in names[:10]} == {"torchvision", "timm", "hf"}
