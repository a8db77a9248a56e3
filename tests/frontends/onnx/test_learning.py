"""What is learned of a call is kept for calls that are equal: nothing that only one file says may go into it."""

from __future__ import annotations

import onnx
import pytest

import flopscope
from flopscope.errors import InputError
from flopscope.frontends.onnx.trace import trace_values
from tests.frontends.onnx.models import INT64, model, node, value, weight


def _unknown_op(rows: int | None) -> onnx.ModelProto:
    nodes = [node("Odd", ["x"], ["h"], domain="odd"), node("MatMul", ["h", "w"], ["y"])]
    found = model(nodes, [value("x", [3, 8])], [value("y", None)], [weight("w", [8, 5])], domains=["odd"])
    if rows is not None:
        found.graph.value_info.append(value("h", [rows, 8]))
    return found


def test_a_shape_that_one_file_declares_is_for_that_file_alone() -> None:
    counts = [flopscope.analyze(_unknown_op(rows)).total.macs for rows in (None, 7, 2, None, 7)]
    assert counts == [0, 7 * 8 * 5, 2 * 8 * 5, 0, 7 * 8 * 5]


def test_what_was_learned_without_prices_is_still_checked_by_the_rules() -> None:
    found = model([node("Einsum", ["a", "b"], ["y"], equation="ij,jk->ik")], [value("a", [3, 4]), value("b", [5, 6])], [value("y", None)])
    trace_values(found)  # for --save-shapes; no rule is asked
    with pytest.raises(InputError, match="Einsum"):
        flopscope.analyze(found)


def test_what_is_inferred_counts_for_more_than_what_a_file_declares() -> None:
    """A resize to a size that only data knows: the file declares it for another batch than the one that was asked for."""
    nodes = [node("Resize", ["x", "", "", "sizes"], ["h"]), node("Conv", ["h", "k"], ["y"])]
    inputs = [value("x", ["batch", 3, 4, 4]), value("sizes", [2], INT64)]
    nodes[0].attribute.append(onnx.helper.make_attribute("axes", [2, 3]))
    found = model(nodes, inputs, [value("y", None)], [weight("k", [5, 3, 1, 1])], opset=18)
    found.graph.value_info.append(value("h", [1, 3, 8, 8]))
    report = flopscope.analyze(found, dims={"batch": 4})
    assert report.total.macs == 4 * 5 * 3 * 64
