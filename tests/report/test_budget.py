"""Limits: what is kept, what is over, and what nobody can tell."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import flopscope
from flopscope.cost import Cost
from flopscope.errors import OptionError
from flopscope.report.budget import Check, check
from flopscope.report.snapshot import LIMITED, Snapshot, snapshot
from tests.report.test_schema import REPORTS
from tests.report.test_schema import check as keeps_to_schema


@pytest.fixture(scope="module")
def linear() -> Snapshot:
    """Two linear layers: 2 x (8 x 4 + 4 x 4) MACs."""
    return snapshot(flopscope.analyze(nn.Sequential(nn.Linear(8, 4, bias=False), nn.Linear(4, 4, bias=False)), "2x8"))


@pytest.fixture(scope="module")
def partial() -> Snapshot:
    return snapshot(REPORTS["partial"]())


def status(found: Check) -> list[str]:
    return [limit.status for limit in found.limits]


def test_a_limit_that_is_just_reached_is_kept(linear: Snapshot) -> None:
    assert linear.total.macs == 2 * (8 * 4 + 4 * 4) == 96
    assert status(check(linear, {"macs": 96})) == ["ok"]
    over = check(linear, {"macs": 95})
    assert status(over) == ["over"]
    assert not over.passed
    assert over.limits[0].over == 1
    assert over.limits[0].reason == "96 MACs found, 95 MACs allowed: 1 over (1.1 %); the most is in 0 (64), 1 (32)"


@pytest.mark.parametrize("metric", LIMITED)
def test_every_metric_is_held_against_its_own_total(linear: Snapshot, metric: str) -> None:
    found = linear.count(metric)
    assert check(linear, {metric: found}).passed
    assert not check(linear, {metric: found - 1}).passed


def test_a_lower_bound_keeps_no_limit(partial: Snapshot) -> None:
    assert partial.total.macs == 4 * 4 * 4
    found = check(partial, {"macs": 10**9, "params": 0, "peak_bytes": 10**9, "flops": 1})
    assert status(found) == ["unknown", "ok", "ok", "over"]  # parameters and shapes are known; what is over stays over
    reason = found.limits[0].reason
    assert reason.startswith("at least 64 MACs found, 1,000,000,000 MACs allowed; nobody can tell whether that is kept, because")
    assert "not everything was counted: schema_test::f in the model itself" in reason
    assert found.limits[3].reason.startswith("at least 128 FLOPs found, 1 FLOPs allowed: at least 127 over")


def test_a_baseline_allows_its_tolerance_and_no_more(linear: Snapshot) -> None:
    grown = replace(linear, total=replace(linear.total, macs=97))
    assert status(check(grown, {}, linear, Fraction(1, 100), ["macs"])) == ["over"]  # 96 x 1.01 = 96.96, and a count is whole
    assert status(check(grown, {}, linear, Fraction(1, 96), ["macs"])) == ["ok"]
    assert status(check(linear, {}, grown, Fraction(0), ["macs"])) == ["ok"]
    same = check(linear, {}, linear)
    assert [limit.metric for limit in same.limits] == list(LIMITED)
    assert same.passed


def test_a_partial_baseline_is_a_lower_bound_of_the_limit(linear: Snapshot) -> None:
    baseline = replace(linear, total=replace(linear.total, uncounted=1))
    more = replace(linear, total=replace(linear.total, macs=97))
    assert status(check(linear, {}, baseline, metrics=["macs"])) == ["ok"]  # 96 is no more than at least 96
    unknown = check(more, {}, baseline, metrics=["macs"])
    assert status(unknown) == ["unknown"]
    assert "the baseline is a lower bound itself" in unknown.limits[0].reason
    both = replace(more, total=replace(more.total, uncounted=1, macs=96))
    assert status(check(both, {}, baseline, metrics=["macs"])) == ["unknown"]
    assert status(check(both, {}, linear, metrics=["macs"])) == ["unknown"]


def test_the_memory_has_its_own_completeness(linear: Snapshot) -> None:
    dim = replace(linear, memory_partial=True)
    assert status(check(dim, {"peak_bytes": 10**9, "macs": 96})) == ["unknown", "ok"]
    assert "the shapes or element types of some tensors are not known" in check(dim, {"peak_bytes": 10**9}).limits[0].reason


def test_growth_is_told_by_module(linear: Snapshot) -> None:
    wider = snapshot(flopscope.analyze(nn.Sequential(nn.Linear(8, 4, bias=False), nn.Linear(4, 8, bias=False)), "2x8"))
    (limit,) = check(wider, {}, linear, metrics=["macs"]).limits
    assert [(one.scope, one.count, one.baseline) for one in limit.worst] == [("1", 64, 32)]
    assert limit.reason.endswith("the growth is in 1 (32 → 64)")


def test_other_inputs_and_versions_are_said(linear: Snapshot) -> None:
    other = replace(linear, inputs=("float32[1, 8]",), version="0.0")
    notes = "\n".join(check(linear, {}, other).notes)
    assert "the baseline was counted on other inputs: float32[1, 8], and here float32[2, 8]" in notes
    assert "was counted by flopscope 0.0" in notes


def test_nothing_to_check_is_refused(linear: Snapshot) -> None:
    with pytest.raises(OptionError, match="there is nothing to check"):
        check(linear, {})
    with pytest.raises(OptionError, match="there is no limit for 'seconds'"):
        check(linear, {"seconds": 1})


def test_formats_say_the_same(linear: Snapshot, partial: Snapshot) -> None:
    found = check(partial, {"macs": 100, "params": 0, "flops": 1})
    data = keeps_to_schema("check", found.to_json())
    assert [limit["status"] for limit in data["limits"]] == ["unknown", "ok", "over"]
    assert data["passed"] is False
    assert "FAILED: 2 of 3 limits not kept" in found.to_text()
    assert "❓ unknown" in found.to_markdown()
    rows = found.to_csv().splitlines()
    assert rows[0].startswith("metric,source,allowed,found,over,partial,status")
    assert len(rows) == 4
    passed = check(linear, {"macs": 96}, linear, Fraction(1, 100))
    assert keeps_to_schema("check", passed.to_json())["passed"] is True
    assert "PASSED: all limits are kept" in passed.to_text()


def test_junit_is_what_servers_read(linear: Snapshot) -> None:
    found = check(linear, {"macs": 95, "params": 48}, linear)
    suites = ElementTree.fromstring(found.to_junit())
    (suite,) = suites
    assert (suites.tag, suite.tag) == ("testsuites", "testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("7", "1", "0", "0")
    cases = suite.findall("testcase")
    assert len(cases) == 7
    assert all(case.get("name") and case.get("classname") for case in cases)
    (failure,) = [case.find("failure") for case in cases if case.find("failure") is not None]
    assert failure is not None
    assert failure.get("type") == "over"
    assert failure.get("message") == failure.text == found.limits[0].reason


@pytest.mark.parametrize(
    "name", ['<script>alert("x")</script>', "a&b", "\x00\x1b[31mred", "]]>", "\u202eright to left", "|`*_@everyone #1"]
)
def test_hostile_names_stay_text(name: str, linear: Snapshot) -> None:
    hostile = replace(linear, name=name, notes=(name,), total=replace(linear.total, uncounted=1), uncounted=((name, name),))
    found = check(hostile, {"macs": 1})
    suites = ElementTree.fromstring(found.to_junit())  # well-formed, whatever the name
    assert "\x1b" not in found.to_junit()
    assert suites.find(".//script") is None
    assert json.loads(found.to_json())["model"] == name
    markdown = found.to_markdown()
    assert "<script" not in markdown
    assert "@everyone" not in markdown


def test_costs_of_nothing(linear: Snapshot) -> None:
    empty = snapshot(REPORTS["nothing"]())
    assert empty.total == Cost()
    limits: dict[str, Any] = dict.fromkeys(("macs", "flops", "params"), 0)
    assert check(empty, limits).passed


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.inner(x)) @ x.T


def test_a_module_that_runs_twice_is_worst_once() -> None:
    found = snapshot(flopscope.analyze(Shared(), "2x4"))
    (limit,) = check(found, {"macs": 1}).limits
    assert [(one.scope, one.count) for one in limit.worst] == [("inner", 2 * 2 * 16), ("", 2 * 2 * 4)]
