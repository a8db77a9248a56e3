"""Every op of the installed torch is priced, free with a reason, or listed as uncounted with a reason."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import flopscope
from flopscope.analyses.coverage import Group, Standing, standings
from flopscope.rules import registered, why_uncounted
from flopscope.rules.uncounted import CLOSED, OPENED, UNCOUNTED

MOST_UNCOUNTED = 63
"""The third group only shrinks: lower this when a rule is added."""


@pytest.fixture(scope="module")
def all_ops() -> list[Standing]:
    return list(standings())


def test_every_op_is_in_a_group(all_ops: list[Standing]) -> None:
    missing = sorted({f"{found.op}.{found.overload}" for found in all_ops if found.group is Group.UNKNOWN})
    assert missing == [], "write a rule, or list the op in flopscope/rules/uncounted.py with the reason why there can be none"
    assert len(all_ops) > 3000
    assert all(found.reason for found in all_ops)


def test_no_op_is_listed_that_has_a_rule(all_ops: list[Standing]) -> None:
    assert sorted({found.op for found in all_ops if found.group in (Group.UNCOUNTED, Group.OPENED) and found.has_rule}) == []
    assert not UNCOUNTED.keys() & registered().keys()
    assert not OPENED & CLOSED.keys()


def test_no_op_is_listed_that_torch_does_not_have(all_ops: list[Standing]) -> None:
    known = {found.op for found in all_ops}
    listed = {*UNCOUNTED, *(f"higher_order::{name}" for name in (*OPENED, *CLOSED))}
    assert sorted(listed - known) == []


def test_no_rule_prices_an_op_that_torch_does_not_have(all_ops: list[Standing]) -> None:
    """Rules of qualified names; a kind may have no torch op of its own."""
    known = {found.op for found in all_ops}
    qualified = {key for key in registered() if "::" in key and not key.startswith(("module::", "flopscope", "module"))}
    assert sorted(qualified - known) == []


def test_the_third_group_is_small(all_ops: list[Standing]) -> None:
    groups = Counter({found.op: found.group for found in all_ops}.values())
    assert groups[Group.UNCOUNTED] <= MOST_UNCOUNTED
    assert groups[Group.PRICED] > 1500
    assert groups[Group.FREE] > 100


def test_the_reason_is_told_by_name() -> None:
    assert "non-zeros" in (why_uncounted("aten::_sparse_mm") or "")
    assert "Triton" in (why_uncounted("higher_order::triton_kernel_wrapper_mutation") or "")
    assert why_uncounted("aten::mm") is None


def test_a_report_tells_the_reason() -> None:
    pytest.importorskip("torchvision")
    boxes = torch.rand(3, 5)
    report = flopscope.analyze(torch.ops.torchvision.box_iou_rotated, boxes, boxes)
    assert not report.complete
    assert "  torchvision::box_iou_rotated: how many corners two rotated boxes share depends on the values" in str(report)
