"""Formulas with their letters filled in: what is printed must be true, and must come from the rule."""

from __future__ import annotations

import json
import re

import pytest
import torch
from torch import nn

import flopscope
from flopscope.analyses.formula import METRICS, filled, letters_of, with_names
from flopscope.analyses.totals import cost_of
from flopscope.errors import OptionError
from flopscope.rules import rule_for


@pytest.fixture(scope="module")
def report() -> flopscope.Report:
    block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.ReLU())
    return flopscope.analyze(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), block, block).eval(), "1x3x6x6")


def test_a_convolution(report: flopscope.Report) -> None:
    found = report.why("1.0")
    assert (found.class_name, found.macs, found.params) == ("Conv2d", 2 * 8 * 36 * 4 * 9, 8 * 4 * 9 + 8)
    text = str(found)
    assert "macs = n*o*s'₁*s'₂ * c/g*k₁*k₂ = 1*8*6*6 * 4*3*3 = 10,368" in text
    assert "(2 times)" in text
    assert "params = 8x4x3x3 = 288 (1.0.weight)" in text
    assert "arXiv:1703.09039" in text


def test_a_module_lists_its_ops(report: flopscope.Report) -> None:
    found = report.why("1")
    assert [op.ops[0].target for op in found.ops] == ["aten::conv2d", "aten::relu"]
    loaded = json.loads(found.to_json())
    assert loaded["ops"][0]["formulas"]["macs"]["count"] == 8 * 36 * 4 * 9
    assert loaded["ops"][0]["letters"]["c/g"] == 4
    assert "`aten::relu`" in found.to_markdown()
    assert len(report.why("").ops) == 3


def test_an_op(report: flopscope.Report) -> None:
    assert report.why("#0").macs == 8 * 36 * 27
    with pytest.raises(OptionError, match="there is no op #99: the ops of this model are #0 to #4"):
        report.why("#99")


def test_unknown_scope(report: flopscope.Report) -> None:
    with pytest.raises(OptionError, match=r"no module '1\.00' in this model\. Did you mean 1\.0"):
        report.why("1.00")


def test_an_op_without_a_rule() -> None:
    @torch.library.custom_op("whytest::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @twice.register_fake
    def _(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)

    assert "NOT COUNTED" in str(flopscope.analyze(lambda x: twice(x), "2x3").why(""))


class Everything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 6, 2, bidirectional=True)
        self.attention = nn.MultiheadAttention(12, 3)
        self.pool = nn.AdaptiveAvgPool1d(2)
        self.up = nn.ConvTranspose1d(12, 4, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, _ = self.lstm(x)
        x = nn.functional.layer_norm(self.attention(x, x, x)[0], (12,))
        y = torch.einsum("tnd,snd->nts", x, x).softmax(-1) @ x.transpose(0, 1)
        return nn.functional.gelu(self.up(self.pool(y.transpose(1, 2)))).cumsum(0).topk(1).values


def _value(text: str) -> int:
    """A formula in values, worked out by Python."""
    assert re.fullmatch(r"[\d*/+\- ()]+", text), text
    return int(eval(text))


def test_every_formula_is_its_count() -> None:
    report = flopscope.analyze(Everything().eval(), "5x2x8")
    checked = 0
    for op in report.graph.ops:
        for formula in filled(op.signature):
            assert formula.number == getattr(cost_of(op.signature), formula.metric)
            assert _value(formula.values) == formula.number, (op, formula)
            checked += formula.number > 0
    assert checked > 20


def _identifier(text: str) -> str:
    """Letters as Python can read them: neither primes nor small digits."""
    return text.replace("'", "_").translate(str.maketrans("₀₁₂₃₄", "01234"))


def test_letters_stand_for_the_sizes_they_have() -> None:
    report = flopscope.analyze(Everything().eval(), "5x2x8")
    checked = 0
    for op in report.graph.ops:
        rule = rule_for(op.signature)
        assert rule is not None
        letters = letters_of(rule.formula.__doc__ or "", op.signature)
        sizes = {}
        for argument, names in letters.items():
            type = op.signature.outputs[int(argument[3:] or 0)] if argument.startswith("out") else op.signature[argument]
            sizes |= dict(zip(names, type.shape, strict=True))
        plain = {_identifier(name): size for name, size in sizes.items()}
        for formula in filled(op.signature):
            text = _identifier(formula.letters)
            if set(re.findall(r"[a-z]\w*", text)) <= set(plain):
                assert eval(text, {}, plain) == formula.number
                checked += 1
    assert checked > 20


def test_a_formula_follows_the_rule() -> None:
    signature = flopscope.analyze(nn.Linear(8, 4), "2x8").graph.ops[0].signature
    named = with_names(signature, {"weight": ["o", "i"]})
    assert [f.metric for f in filled(signature)] == list(METRICS)
    assert int(cost_of(named).macs) == 2 * 8 * 4
