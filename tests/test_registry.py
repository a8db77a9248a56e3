"""Registering rules: for custom ops and for module classes, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import flopscope
from flopscope import Cost
from flopscope.errors import RuleError, UncountedError
from flopscope.rules import registered

LIBRARY = torch.library.Library("flopscope_test", "DEF")
LIBRARY.define("scan(Tensor x, int steps) -> Tensor")
LIBRARY.impl("scan", lambda x, steps: x * steps, "CompositeExplicitAutograd")
LIBRARY.define("opaque(Tensor x) -> Tensor")
LIBRARY.impl("opaque", lambda x: torch.from_numpy(x.numpy() * 2), "CPU")


def scan(x: Tensor) -> Tensor:
    return torch.ops.flopscope_test.scan(x, 3)  # type: ignore[no-any-return]


@pytest.fixture
def forgetting() -> Iterator[list[Any]]:
    keys: list[Any] = []
    yield keys
    for key in keys:
        flopscope.forget_rule(key)


def test_an_op_without_a_rule_makes_the_total_partial() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    report = flopscope.analyze(lambda x: model[1](scan(model[0](x))), "1x4")
    assert not report.complete
    assert report.total.partial
    assert report.total.macs == 16 + 8
    assert [(row.op, row.scope) for row in report.uncounted] == [("flopscope_test::scan", "")]
    assert "at least 24" in str(report)
    assert "NOT COUNTED, because no rule prices them: flopscope_test::scan (1x, first in the model itself)" in str(report)
    assert report.to_dict()["uncounted"] == [{"op": "flopscope_test::scan", "scope": ""}]
    assert "≥" in report.to_table("kind")


def test_strict_raises_with_the_report_attached() -> None:
    with pytest.raises(UncountedError, match=r"flopscope_test::scan in the model itself.*flopscope.rule") as caught:
        flopscope.analyze(scan, "1x4", strict=True)
    assert caught.value.report.uncounted[0].op == "flopscope_test::scan"


def test_a_rule_for_a_custom_op(forgetting: list[Any]) -> None:
    @flopscope.rule("flopscope_test::scan", flops="1 per element and step", source="this test")
    def price_scan(op: Any) -> Cost:
        return flopscope.count(op, macs=op["steps"] * op["x"].elements, other=1)

    forgetting.append("flopscope_test::scan")
    total = flopscope.analyze(scan, "2x4", strict=True).total
    assert (total.macs, total.flops) == (3 * 8, 2 * 3 * 8 + 1)
    assert (total.elements_read, total.elements_written) == (8, 8)


def test_an_op_without_a_meta_kernel_is_run_once_on_zeros() -> None:
    flopscope.clear_memo()
    report = flopscope.analyze(lambda x: torch.ops.flopscope_test.opaque(x) @ x.t(), "2x4")
    assert report.total.macs == 2 * 4 * 2
    assert [row.op for row in report.uncounted] == ["flopscope_test::opaque"]


class Kernel(nn.Module):
    """Stands for a module whose inside is not what is to be counted."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.zeros(width, width))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(5):
            x = torch.tanh(x @ self.weight)
        return x


def test_a_rule_for_a_module_class(forgetting: list[Any]) -> None:
    @flopscope.rule(Kernel, flops="none", source="this test")
    def price_kernel(op: Any) -> Cost:
        return flopscope.count(op, macs=op["input"].elements * op["width"])

    forgetting.append(Kernel)
    model = nn.Sequential(nn.Linear(4, 4), Kernel(4), nn.Linear(4, 4))
    report = flopscope.analyze(model, "3x4")
    report.graph.verify()
    assert [row.kind for row in report.ops] == ["linear", "Kernel", "linear"]
    assert report.total.macs == 3 * (3 * 4 * 4)
    assert report.total.params == sum(p.numel() for p in model.parameters())
    assert {row.path: row.cost.macs for row in report.by_module()} == {"": 144, "0": 48, "1": 48, "2": 48}


def one(op: Any) -> Cost:
    return Cost(macs=1)


@pytest.mark.parametrize(
    ("keys", "formula", "message"),
    [
        (("conv",), one, r"'conv' already has a rule: flopscope.rules.convolution.conv. Remove it first"),
        (("aten::conv2d.default",), one, r"no op name: expected 'namespace::name' without an overload"),
        (("a b",), one, "no op name"),
        ((), one, "a rule needs the op or module class"),
        ((3,), one, "registered for a string or a module class, but 3 was given"),
        ((dict,), one, "dict is no torch.nn.Module class"),
        (("mine::op",), lambda: None, "must be callable with one argument"),
        (("mine::op",), 7, "must be a function of one signature, but 7 was given"),
    ],
)
def test_what_is_refused(keys: tuple[Any, ...], formula: Any, message: str) -> None:
    before = registered()
    with pytest.raises(RuleError, match=message) as caught:
        flopscope.rule(*keys, flops="", source="")(formula)
    assert '@flopscope.rule("mylib::myop"' in str(caught.value) or "forget_rule" in str(caught.value)
    assert registered() == before


def test_forgetting_what_is_not_there() -> None:
    with pytest.raises(RuleError, match="no rule for 'mine::op'"):
        flopscope.forget_rule("mine::op")


def test_a_rule_that_breaks_says_on_what(forgetting: list[Any]) -> None:
    @flopscope.rule("flopscope_test::scan", flops="", source="")
    def broken(op: Any) -> Cost:
        return flopscope.count(op, macs=op["steeps"])

    forgetting.append("flopscope_test::scan")
    with pytest.raises(
        RuleError, match=r"flopscope_test::scan .*broken.* cannot price a call with float32\[2, 4\] and .*'steps': 3.*steeps"
    ):
        _ = flopscope.analyze(scan, "2x4").total


def test_every_rule_states_its_convention_and_source() -> None:
    for key, rule in registered().items():
        assert rule.flops, key
        assert rule.source, key
        assert (rule.formula.__doc__ or "").strip(), key
