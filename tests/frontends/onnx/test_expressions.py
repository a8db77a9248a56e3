"""Sizes that a file writes as sums of others, as exporters of language models do for masks over earlier and new tokens."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import flopscope
from flopscope.frontends.onnx.expressions import computed
from flopscope.relax.closed.onnx_form import onnx_form
from tests.frontends.onnx.models import model, node, value


def _with_cache() -> onnx.ModelProto:
    nodes = [
        node("Concat", ["past", "new"], ["keys"], axis=2),
        node("Transpose", ["keys"], ["turned"], perm=[0, 1, 3, 2]),
        node("MatMul", ["new", "turned"], ["scores"]),
        node("Unsqueeze", ["mask", "axes"], ["wide"]),
        node("Add", ["scores", "wide"], ["y"]),
    ]
    inputs = [
        value("mask", ["batch", "past_len + seq_len"]), value("new", ["batch", 2, "seq_len", 8]), value("past", ["batch", 2, "past_len", 8]),
    ]  # fmt: skip
    axes = onnx.numpy_helper.from_array(np.asarray([1, 2]), "axes")
    return model(nodes, inputs, [value("y", ["batch", 2, "seq_len", "past_len + seq_len"])], [axes])


@pytest.mark.parametrize("dims", [{}, {"past_len": 5}, {"past_len": 5, "seq_len": 3}, {"batch": 2, "seq_len": 1}])
def test_a_mask_over_past_and_new_tokens_is_as_long_as_both(dims: dict[str, int]) -> None:
    report = flopscope.analyze(_with_cache(), dims=dims)
    mask, new, past = (found.shape for found in report.graph.inputs)
    assert mask[1] == new[2] + past[2]
    assert report.complete
    assert not any("do not fit" in note for note in report.notes)
    assert report.total.macs == new[0] * 2 * new[2] * 8 * mask[1]
    for name, size in dims.items():
        assert {"batch": new[0], "seq_len": new[2], "past_len": past[2]}[name] == size


def test_a_formula_in_the_sizes_that_make_up_the_sum() -> None:
    form = onnx_form(_with_cache(), symbols={"P": "past_len", "S": "seq_len"}, dims={"batch": 1})
    assert form.evaluate("macs", P=7, S=3) == 2 * 3 * 8 * (7 + 3)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("a + b", 7), ("a+1", 4), ("2*a + b", 10), ("(a + 1) // 2", 2), ("b - a", 1), ("a", None), ("a + z", None), ("a - b", None),
        ("a / b", None), ("a-0_dim", None), ("f(a) + 1", None), ("a // 0", None), ("a + 'x'", None), ("a ** 99", None),
    ],
)  # fmt: skip
def test_expressions(text: str, size: int | None) -> None:
    assert computed(text, {"a": 3, "b": 4}.get) == size
