"""Loops: turns that differ or that a condition ends, and every question to a report of ops that are kept once and run often."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import flopscope
from flopscope.analyses.activations import ACTIVATION_CONVENTIONS
from flopscope.analyses.conventions import CONVENTIONS
from flopscope.errors import InputError
from flopscope.report.explain_number import parts_of
from tests.frontends.onnx.models import BOOL, INT64, graph, ints, model, node, value, weight

_TURN = 4 * 8 * 8


def _body(condition: list[onnx.NodeProto], result: str) -> onnx.GraphProto:
    nodes = [node("MatMul", ["h", "w"], ["h2"]), *condition]
    return graph(nodes, [value("i", [], INT64), value("go", [], BOOL), value("h", [4, 8])], [value(result, [], BOOL), value("h2", [4, 8])])


def _loop(body: onnx.GraphProto, most: str, first: str, *more: onnx.TensorProto) -> onnx.ModelProto:
    nodes = [node("Loop", [most, first, "x"], ["y"], body=body)]
    return model(nodes, [value("x", [4, 8])], [value("y", None)], [weight("w", [8, 8]), ints("fifty", 50), ints("four", 4), *more])


@pytest.mark.parametrize("most", ["fifty", ""])
def test_a_condition_that_counts_turns_ends_a_loop(most: str) -> None:
    """The turns 0 to 3 say to go on, and turn 4 is the last."""
    report = flopscope.analyze(_loop(_body([node("Less", ["i", "four"], ["on"])], "on"), most, ""))
    assert report.total.macs == 5 * _TURN
    assert not report.notes


def test_a_condition_that_is_always_false_ends_a_loop_after_one_turn() -> None:
    stop = node("Constant", [], ["on"], value=numpy_helper.from_array(np.asarray(False)))
    report = flopscope.analyze(_loop(_body([stop], "on"), "fifty", ""))
    assert report.total.macs == _TURN
    assert not report.notes


def test_a_condition_that_only_data_knows_makes_an_upper_bound() -> None:
    steps = [node("ReduceSum", ["h2"], ["s"], keepdims=0), node("Less", ["s", "limit"], ["on"])]
    report = flopscope.analyze(_loop(_body(steps, "on"), "fifty", "", numpy_helper.from_array(np.float32(1), "limit")))
    assert report.total.macs == 50 * _TURN
    assert any("upper bound" in note for note in report.notes)


def test_a_loop_that_may_not_begin_is_an_upper_bound() -> None:
    found = _loop(_body([node("Identity", ["go"], ["on"])], "on"), "fifty", "begin")
    found.graph.input.append(value("begin", [], BOOL))
    report = flopscope.analyze(found)
    assert report.total.macs == 50 * _TURN
    assert any("upper bound" in note and "first condition" in note for note in report.notes)


def _growing(turns: int) -> onnx.ModelProto:
    body = graph(
        [node("Concat", ["h", "row"], ["h2"], axis=0), node("MatMul", ["h", "w"], ["p"]), node("Identity", ["go"], ["on"])],
        [value("i", [], INT64), value("go", [], BOOL), value("h", [None, 8])],
        [value("on", [], BOOL), value("h2", [None, 8])],
    )
    nodes = [node("Loop", ["m", "", "x"], ["y"], body=body), node("MatMul", ["y", "w"], ["z"])]
    return model(nodes, [value("x", [1, 8])], [value("z", None)], [weight("w", [8, 8]), weight("row", [1, 8]), ints("m", turns)])


def test_hundreds_of_turns_that_differ_are_counted_one_by_one() -> None:
    report = flopscope.analyze(_growing(700))
    assert report.total.macs == 64 * (sum(range(1, 701)) + 701)
    assert not report.notes


def test_more_turns_that_differ_than_are_walked_are_no_silent_number() -> None:
    report = flopscope.analyze(_growing(10_000_000))
    assert any("neither an upper nor a lower bound" in note for note in report.notes)
    assert not report.complete  # what follows has a shape that nobody knows


def test_a_branch_that_every_turn_knows_is_no_bound() -> None:
    then = graph([node("MatMul", ["h", "w"], ["t1"]), node("MatMul", ["t1", "w"], ["t"])], (), [value("t", [4, 8])], name="then")
    other = graph([node("MatMul", ["h", "w"], ["e"])], (), [value("e", [4, 8])], name="else")
    body = graph(
        [node("Less", ["i", "four"], ["early"]), node("If", ["early"], ["h2"], then_branch=then, else_branch=other)],
        [value("i", [], INT64), value("go", [], BOOL), value("h", [4, 8])],
        [value("go", [], BOOL), value("h2", [4, 8])],
    )
    report = flopscope.analyze(_loop(body, "fifty", ""))
    assert report.total.macs == (4 * 2 + 46) * _TURN
    assert not report.notes


def test_a_scan_over_nothing_runs_nothing() -> None:
    steps = [node("Unsqueeze", ["e", "axis"], ["row"]), node("MatMul", ["row", "w"], ["o"]), node("Identity", ["s"], ["s2"])]
    body = graph(steps, [value("s", [8]), value("e", [8])], [value("s2", [8]), value("o", [1, 8])])
    nodes = [node("Scan", ["s0", "xs"], ["last", "all"], body=body, num_scan_inputs=1)]
    inputs = [value("s0", [8]), value("xs", [0, 8])]
    report = flopscope.analyze(model(nodes, inputs, [value("last", None), value("all", None)], [weight("w", [8, 8]), ints("axis", [0])]))
    assert report.total.macs == 0
    assert [found.shape for found in report.graph.outputs] == [(8,), (0, 1, 8)]


def test_branches_of_equal_cost_and_other_shapes_are_no_silent_choice() -> None:
    branches = [graph([node("Reshape", ["x", name], [f"{name}_y"])], (), [value(f"{name}_y", None)]) for name in ("tall", "wide")]
    nodes = [node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1]), node("MatMul", ["y", "y2"], ["z"])]
    nodes.insert(1, node("Transpose", ["y"], ["y2"]))
    found = model(nodes, [value("c", [], BOOL), value("x", [4, 4])], [value("z", None)], [ints("tall", [8, 2]), ints("wide", [2, 8])])
    assert any("different shapes" in note and "--branch" in note for note in flopscope.analyze(found).notes)
    assert flopscope.analyze(found, branch="then").total.macs == 8 * 2 * 8
    assert flopscope.analyze(found, branch="else").total.macs == 2 * 8 * 2


# -- ops that run often -----------------------------------------------------------------------------------------------------------

_TURNS = 7


def _layer(x: str, y: str, mark: str = "") -> list[onnx.NodeProto]:
    names = [f"{name}{mark}" for name in ("c", "n", "a", "p")]
    steps = [("Conv", "k", "kb"), ("BatchNormalization", "s", "b", "m", "v"), ("Relu",), ("AveragePool",), ("Add", x)]
    extra = {"Conv": {"pads": [1] * 4}, "AveragePool": {"kernel_shape": [3, 3], "pads": [1] * 4}}
    return [
        node(op, [before, *more], [after], **extra.get(op, {}))
        for (op, *more), before, after in zip(steps, [x, *names], [*names, y], strict=True)
    ]


_WEIGHTS = [weight("k", [4, 4, 3, 3]), *(weight(name, [4]) for name in ("kb", "s", "b", "m", "v")), weight("fc", [5, 4 * 6 * 6])]
_END = [node("Flatten", ["y"], ["flat"]), node("Gemm", ["flat", "fc"], ["out"], transB=1)]
_IMAGE = value("x", [2, 4, 6, 6])


def _counted_once() -> flopscope.Report:
    body = graph(
        _layer("h", "h2"),
        [value("i", [], INT64), value("go", [], BOOL), value("h", [2, 4, 6, 6])],
        [value("go", [], BOOL), value("h2", None)],
    )
    nodes = [node("Loop", ["turns", "", "x"], ["y"], body=body), *_END]
    return flopscope.analyze(model(nodes, [_IMAGE], [value("out", None)], [*_WEIGHTS, ints("turns", _TURNS)]))


def _written_out() -> flopscope.Report:
    names = ["x", *(f"y{turn}" for turn in range(1, _TURNS)), "y"]
    layers = [step for turn in range(_TURNS) for step in _layer(names[turn], names[turn + 1], str(turn))]
    return flopscope.analyze(model([*layers, *_END], [_IMAGE], [value("out", None)], _WEIGHTS))


def test_ops_that_run_often_count_as_often_under_every_convention() -> None:
    once, out = _counted_once(), _written_out()
    assert len(out.ops) > len(once.ops)
    assert once.total == out.total
    for name in CONVENTIONS:
        if name != "torchinfo":  # a module's parameters are counted by call of the module, and a file has no calls
            assert once.under(name) == out.under(name), name
            assert once.explain(name).to_dict()["count"] == once.under(name)
            assert once.explain(name).to_dict()["differences"] == out.explain(name).to_dict()["differences"], name
    for name in ACTIVATION_CONVENTIONS:
        assert once.activations(name) == out.activations(name) > 0
    assert parts_of(once.graph) == parts_of(out.graph)
    assert once.bits().rows == out.bits().rows
    assert [(row.kind, row.calls, row.cost) for row in once.by_kind()] == [(row.kind, row.calls, row.cost) for row in out.by_kind()]


def test_why_says_how_often_an_op_runs() -> None:
    report = _counted_once()
    index = next(row.index for row in report.ops if row.kind == "conv")
    found = report.why(f"#{index}")
    assert f"({_TURNS} times)" in found.to_text()
    assert found.macs == _TURNS * 2 * 4 * 36 * 4 * 9
    assert found.to_dict()["ops"][0]["times"] == _TURNS


def test_doctor_says_how_often_an_op_without_a_rule_runs() -> None:
    body = graph(
        [node("Strange", ["h"], ["h1"], domain="odd"), node("Identity", ["h"], ["h2"])],
        [value("i", [], INT64), value("go", [], BOOL), value("h", [4, 8])],
        [value("go", [], BOOL), value("h2", None)],
    )
    nodes = [node("Loop", ["turns", "", "x"], ["y"], body=body)]
    found = flopscope.analyze(model(nodes, [value("x", [4, 8])], [value("y", None)], [ints("turns", 9)], domains=["odd"])).doctor()
    assert [entry.calls for entry in found.uncounted] == [9]
    assert "9 calls" in found.to_text()


def test_the_weights_of_layers_that_a_scan_runs_through_are_read_by_it() -> None:
    body = graph(
        [node("MatMul", ["h", "layer"], ["h2"]), node("Identity", ["h2"], ["o"])],
        [value("h", [4, 8]), value("layer", [8, 8])],
        [value("h2", [4, 8]), value("o", [4, 8])],
    )
    nodes = [node("Scan", ["x", "layers"], ["last", "all"], body=body, num_scan_inputs=1)]
    outputs = [value("last", None), value("all", None)]
    report = flopscope.analyze(model(nodes, [value("x", [4, 8])], outputs, [weight("layers", [6, 8, 8])]))
    assert report.total.macs == 6 * _TURN
    assert report.total.params == 6 * 8 * 8
    assert not report.doctor().unused
    assert [(row.weight, row.macs) for row in report.bits().rows] == [("float32", 6 * _TURN)]


def test_a_product_of_what_a_scan_is_given_is_one_of_activations() -> None:
    body = graph([node("MatMul", ["h", "e"], ["h2"]), node("Identity", ["h2"], ["o"])], [value("h", [8, 8]), value("e", [8, 8])], [value("h2", [8, 8]), value("o", [8, 8])])  # fmt: skip
    nodes = [node("Scan", ["x", "xs"], ["last", "all"], body=body, num_scan_inputs=1)]
    report = flopscope.analyze(model(nodes, [value("x", [8, 8]), value("xs", [6, 8, 8])], [value("last", None), value("all", None)]))
    assert [(row.weight, row.macs) for row in report.bits().rows] == [(None, 6 * 8 * 8 * 8)]


def test_a_branch_that_reads_what_a_later_node_makes_waits_for_it() -> None:
    branches = [graph([node("MatMul", ["h", "w"], [out])], (), [value(out, None)], name=out) for out in ("t", "e")]
    nodes = [node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1]), node("Relu", ["x"], ["h"])]
    found = model(nodes, [value("c", [], BOOL), value("x", [4, 8])], [value("y", None)], [weight("w", [8, 8])])
    report = flopscope.analyze(found)
    assert report.total.macs == _TURN
    assert any("out of order" in note for note in report.notes)
    del found.graph.node[1]
    with pytest.raises(InputError, match="'h', which no input"):
        flopscope.analyze(found)


def test_a_loop_without_a_body_is_named() -> None:
    with pytest.raises(InputError, match="has no graph to run"):
        flopscope.analyze(model([node("Loop", ["m", "", "x"], ["y"])], [value("x", [4])], [value("y", None)], [ints("m", 3)]))
