"""What a report could not count, and what to write."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import flopscope


@torch.library.custom_op("doctortest::scale", mutates_args=())
def scale(x: torch.Tensor, factor: int) -> torch.Tensor:
    return factor * x


@scale.register_fake
def _(x: torch.Tensor, factor: int) -> torch.Tensor:
    return torch.empty_like(x)


class Ill(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.head = nn.Linear(4, 4), nn.Linear(4, 7)
        self.extra = nn.Parameter(torch.zeros(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return scale(self.used(x), 3)


@pytest.fixture
def report() -> flopscope.Report:
    return flopscope.analyze(Ill().eval(), "2x4")


def test_findings(report: flopscope.Report) -> None:
    found = report.doctor()
    assert [(u.target, u.calls, u.scopes) for u in found.uncounted] == [("doctortest::scale", 1, ("",))]
    assert [weight.name for weight in found.unused] == ["extra", "head.weight", "head.bias"]
    assert found.uncalled == ("head",)
    assert not found.healthy
    text = str(found)
    assert "NOT COUNTED: doctortest::scale, 1 calls, in the model itself" in text
    assert f"{5 + 4 * 7 + 7:,} elements" in text
    assert json.loads(found.to_json())["uncalled_modules"] == ["head"]
    assert "```python" in found.to_markdown()


def test_the_stub_counts_the_op_when_it_is_pasted(report: flopscope.Report) -> None:
    stub, before = report.doctor().uncounted[0].stub, report.total.flops
    assert "# op['x']: float32[2, 4]" in stub
    assert "# op['factor']: 3" in stub
    try:
        exec(stub, {"__name__": "pasted"})
        again = flopscope.analyze(Ill().eval(), "2x4")
        assert again.complete
        assert again.total.flops - before == 2 * 4
    finally:
        flopscope.forget_rule("doctortest::scale")


def test_data(report: flopscope.Report) -> None:
    found = flopscope.analyze(lambda x: x[x > 0].sum(), torch.ones(3, 3)).doctor()
    assert found.ran_for_real
    assert [target for target, _, _ in found.data_dependent] == ["aten::index"]
    assert "run for real" in str(found)


def test_healthy() -> None:
    found = flopscope.analyze(nn.Linear(4, 4), "2x4").doctor()
    assert found.healthy
    assert "every op is counted" in str(found)
