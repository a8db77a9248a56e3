"""Control flow and local functions: which branch counts, and how often a body does. Every number is written as arithmetic."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

import flopscope
from flopscope.errors import InputError, OptionError
from tests.frontends.onnx.models import BOOL, INT64, graph, ints, model, node, value, weight

_SMALL, _LARGE = 4 * 8 * 8, 4 * 8 * 100 + 4 * 100 * 8


def _branches(condition: str = "c") -> onnx.ModelProto:
    then = graph([node("MatMul", ["x", "small"], ["t"])], (), [value("t", [4, 8])], name="then")
    other = graph([node("MatMul", ["x", "wide"], ["h"]), node("MatMul", ["h", "narrow"], ["e"])], (), [value("e", [4, 8])], name="else")
    nodes = [node("If", [condition], ["y"], then_branch=then, else_branch=other)]
    weights = [weight("small", [8, 8]), weight("wide", [8, 100]), weight("narrow", [100, 8])]
    return model(nodes, [value("c", [], BOOL), value("x", [4, 8])], [value("y", [4, 8])], weights)


def test_the_costlier_branch_is_an_upper_bound() -> None:
    report = flopscope.analyze(_branches())
    assert report.total.macs == _LARGE
    assert any("upper bound" in note and "--branch" in note for note in report.notes)
    assert report.total.params == 8 * 8 + 8 * 100 + 100 * 8  # every weight is in the file, whichever branch runs


@pytest.mark.parametrize(("branch", "macs"), [("then", _SMALL), ("else", _LARGE)])
def test_a_branch_that_was_asked_for(branch: str, macs: int) -> None:
    report = flopscope.analyze(_branches(), branch=branch)
    assert report.total.macs == macs
    assert not any("upper bound" in note for note in report.notes)


def test_a_branch_that_there_is_not() -> None:
    with pytest.raises(OptionError, match="costlier, then, else"):
        flopscope.analyze(_branches(), branch="both")


def test_a_known_condition_is_no_bound() -> None:
    found = _branches("known")
    found.graph.initializer.append(onnx.numpy_helper.from_array(__import__("numpy").asarray(True), "known"))
    report = flopscope.analyze(found)
    assert report.total.macs == _SMALL
    assert not report.notes


def _loop(trips: list[onnx.TensorProto], count: str = "m") -> onnx.ModelProto:
    body = graph(
        [node("MatMul", ["h", "w"], ["h2"]), node("Identity", ["go"], ["go2"]), node("Identity", ["h2"], ["scan"])],
        [value("i", [], INT64), value("go", [], BOOL), value("h", [4, 8])],
        [value("go2", [], BOOL), value("h2", [4, 8]), value("scan", [4, 8])],
        name="body",
    )
    nodes = [node("Loop", [count, "", "x"], ["last", "all"], body=body)]
    return model(nodes, [value("x", [4, 8])], [value("last", [4, 8]), value("all", None)], [weight("w", [8, 8]), *trips])


def test_a_loop_of_known_length() -> None:
    report = flopscope.analyze(_loop([ints("m", 1_000_000)]))
    assert report.total.macs == 1_000_000 * 4 * 8 * 8
    assert report.total.params == 8 * 8
    (row,) = [row for row in report.ops if row.kind == "matmul"]
    assert row.times == 1_000_000
    assert [value.shape for value in report.graph.outputs] == [(4, 8), (1_000_000, 4, 8)]


def test_a_loop_of_unknown_length_is_counted_per_turn() -> None:
    found = _loop([], "n")
    found.graph.input.append(value("n", [], INT64))
    report = flopscope.analyze(found)
    assert report.total.macs == 4 * 8 * 8
    assert any("per turn" in note for note in report.notes)


def test_a_loop_whose_shapes_grow_is_unrolled() -> None:
    body = graph(
        [node("Concat", ["h", "one"], ["h2"], axis=0), node("MatMul", ["h2", "w"], ["p"]), node("Identity", ["go"], ["go2"])],
        [value("i", [], INT64), value("go", [], BOOL), value("h", None)],
        [value("go2", [], BOOL), value("h2", None)],
        name="body",
    )
    nodes = [node("Loop", ["m", "", "x"], ["last"], body=body)]
    found = model(nodes, [value("x", [1, 8])], [value("last", None)], [weight("w", [8, 16]), weight("one", [1, 8]), ints("m", 5)])
    report = flopscope.analyze(found)
    assert report.total.macs == sum(rows * 8 * 16 for rows in (2, 3, 4, 5, 6))
    assert report.graph.outputs[0].shape == (6, 8)


def test_a_scan_runs_its_body_for_every_element() -> None:
    body = graph(
        [node("MatMul", ["x_t", "w"], ["p"]), node("Add", ["h", "p"], ["h2"]), node("Identity", ["h2"], ["out"])],
        [value("h", [4, 16]), value("x_t", [4, 8])],
        [value("h2", [4, 16]), value("out", [4, 16])],
        name="body",
    )
    nodes = [node("Scan", ["h0", "xs"], ["h_last", "hs"], body=body, num_scan_inputs=1)]
    found = model(
        nodes, [value("h0", [4, 16]), value("xs", [30, 4, 8])], [value("h_last", None), value("hs", None)], [weight("w", [8, 16])]
    )
    report = flopscope.analyze(found)
    assert report.total.macs == 30 * 4 * 8 * 16
    assert report.total.flops == 2 * 30 * 4 * 8 * 16 + 30 * 4 * 16
    assert [value.shape for value in report.graph.outputs] == [(4, 16), (30, 4, 16)]


def _chain(length: int) -> onnx.ModelProto:
    """Functions each of which calls the next one twice; the last one is a matrix product."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    functions = [helper.make_function("f", f"f{length}", ["x", "w"], ["y"], [node("MatMul", ["x", "w"], ["y"])], opsets)]
    for i in range(length):
        inner = [node(f"f{i + 1}", ["x", "w"], ["t"], domain="f"), node(f"f{i + 1}", ["t", "w"], ["y"], domain="f")]
        functions.append(helper.make_function("f", f"f{i}", ["x", "w"], ["y"], inner, opsets))
    call = [node("f0", ["x", "w"], ["y"], domain="f")]
    return model(call, [value("x", [4, 8])], [value("y", [4, 8])], [weight("w", [8, 8])], functions=functions, domains=["f"])


@pytest.mark.parametrize("length", [1, 5, 39, 100])
def test_functions_that_double_are_counted_not_written_out(length: int) -> None:
    report = flopscope.analyze(_chain(length))
    assert report.total.macs == 2**length * 4 * 8 * 8
    assert report.total.params == 8 * 8
    assert len(report.ops) <= 2**5
    report.graph.verify()


def test_a_function_with_attributes_and_optional_inputs() -> None:
    opsets = [helper.make_opsetid("", 17)]
    softmax = node("Softmax", ["t"], ["y"])
    axis = softmax.attribute.add()
    axis.name, axis.ref_attr_name, axis.type = "axis", "axis", onnx.AttributeProto.INT
    body = [node("Gemm", ["x", "w", "b"], ["t"], transB=1), softmax]
    function = helper.make_function("f", "layer", ["x", "w", "b"], ["y"], body, opsets, ["axis"])
    calls = [node("layer", ["x", "w"], ["y"], domain="f", axis=1)]
    found = model(calls, [value("x", [4, 8])], [value("y", None)], [weight("w", [16, 8])], functions=[function], domains=["f"])
    report = flopscope.analyze(found)
    assert report.total.macs == 4 * 8 * 16
    assert report.total.flops == 2 * 4 * 8 * 16 + 5 * 4 * 16  # no bias was given


def test_recursion_is_an_error() -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    one = helper.make_function("f", "a", ["x"], ["y"], [node("b", ["x"], ["y"], domain="f")], opsets)
    two = helper.make_function("f", "b", ["x"], ["y"], [node("a", ["x"], ["y"], domain="f")], opsets)
    calls = [node("a", ["x"], ["y"], domain="f")]
    with pytest.raises(InputError, match="calls itself"):
        flopscope.analyze(model(calls, [value("x", [4])], [value("y", [4])], functions=[one, two], domains=["f"]))


def test_outer_names_are_seen_from_inside() -> None:
    inner = graph([node("MatMul", ["h", "w"], ["t"])], (), [value("t", None)], name="then")
    other = graph([node("Identity", ["h"], ["e"])], (), [value("e", None)], name="else")
    nodes = [node("Relu", ["x"], ["h"]), node("If", ["c"], ["y"], then_branch=inner, else_branch=other)]
    report = flopscope.analyze(model(nodes, [value("x", [4, 8]), value("c", [], BOOL)], [value("y", None)], [weight("w", [8, 8])]))
    assert report.total.macs == 4 * 8 * 8
