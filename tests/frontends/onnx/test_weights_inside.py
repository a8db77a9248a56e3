"""Weights that graphs inside nodes and local functions use, and operands that early versions placed by an axis."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import flopscope
from flopscope.errors import InputError
from tests.frontends.onnx.models import BOOL, INT64, graph, ints, model, node, value, weight

_STATISTICS = ("scale", "shift", "mean", "variance")
_OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
_IMAGE = value("x", [1, 4, 8, 8])


def _own(name: str, inputs: list[str], nodes: list[onnx.NodeProto]) -> onnx.FunctionProto:
    return helper.make_function("own", name, inputs, ["y"], nodes, _OPSETS)


def _names(found: flopscope.Report) -> tuple[list[str], list[str]]:
    return sorted(weight.name for weight in found.graph.parameters), sorted(weight.name for weight in found.graph.buffers)


def test_statistics_that_a_branch_reads_are_buffers() -> None:
    then = graph([node("BatchNormalization", ["x", *_STATISTICS], ["t"])], (), [value("t", None)], name="then")
    other = graph([node("Identity", ["x"], ["e"])], (), [value("e", None)], name="else")
    nodes = [node("If", ["c"], ["y"], then_branch=then, else_branch=other)]
    found = model(nodes, [value("c", [], BOOL), _IMAGE], [value("y", None)], [weight(name, [4]) for name in _STATISTICS])
    assert _names(flopscope.analyze(found)) == (["scale", "shift"], ["mean", "variance"])


def test_integers_that_a_loop_multiplies_with_are_parameters() -> None:
    steps = [node("MatMulInteger", ["h", "q"], ["sums"]), node("Cast", ["sums"], ["h2"], to=TensorProto.INT8)]
    body = graph(
        steps,
        [value("i", [], INT64), value("go", [], BOOL), value("h", [4, 8], TensorProto.INT8)],
        [value("go", [], BOOL), value("h2", None, TensorProto.INT8)],
    )
    nodes = [node("Loop", ["m", "", "x"], ["y"], body=body)]
    weights = [weight("q", [8, 8], np.int8), ints("m", 5)]
    report = flopscope.analyze(model(nodes, [value("x", [4, 8], TensorProto.INT8)], [value("y", None, TensorProto.INT8)], weights))
    assert (report.total.macs, report.total.params) == (5 * 4 * 8 * 8, 64)


@pytest.mark.parametrize("called", ["norm", "around"])
def test_what_a_function_gets_stands_as_its_nodes_use_it(called: str) -> None:
    norm = _own("norm", ["a", "b", "c", "d", "e"], [node("BatchNormalization", ["a", "b", "c", "d", "e"], ["y"])])
    around = _own("around", ["p", "q", "r", "s", "t"], [node("norm", ["p", "q", "r", "s", "t"], ["y"], domain="own")])
    weights = [weight(name, [4]) for name in _STATISTICS]
    nodes = [node(called, ["x", *_STATISTICS], ["y"], domain="own")]
    found = model(nodes, [_IMAGE], [value("y", None)], weights, functions=[norm, around], domains=["own"])
    assert _names(flopscope.analyze(found)) == (["scale", "shift"], ["mean", "variance"])


def _branching(then_width: int, else_width: int) -> tuple[onnx.NodeProto, int]:
    """Two branches that both call their own weight ``W``."""
    branches = [
        graph([node("MatMul", ["x", "W"], [f"y{width}"])], (), [value(f"y{width}", None)], [weight("W", [8, width])])
        for width in (then_width, else_width)
    ]
    return node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1]), 8 * then_width + 8 * else_width


def test_branches_that_name_their_weights_alike_have_two_weights() -> None:
    choice, params = _branching(8, 16)
    report = flopscope.analyze(model([choice], [value("c", [], BOOL), value("x", [4, 8])], [value("y", None)]))
    assert (report.total.macs, report.total.params) == (4 * 8 * 16, params)
    assert sum(row.cost.params for row in report.by_kind()) == params


def test_weights_inside_a_function_are_counted_once_however_often_it_is_called() -> None:
    choice, params = _branching(8, 16)
    twice = [node("pick", ["c", "x"], [name], domain="own") for name in ("first", "second")]
    found = model(
        twice, [value("c", [], BOOL), value("x", [4, 8])], [value("first", None), value("second", None)],
        functions=[_own("pick", ["c", "x"], [choice])], domains=["own"],
    )  # fmt: skip
    report = flopscope.analyze(found)
    assert (report.total.macs, report.total.params) == (2 * 4 * 8 * 16, params)


def test_an_input_that_a_call_leaves_out_is_missing_in_the_graphs_of_the_function_too() -> None:
    branches = [graph([node("Conv", ["x", "w", "b"], [out])], (), [value(out, None)], name=out) for out in ("t", "e")]
    choice = node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    call = node("pick", ["c", "x", "w"], ["y"], domain="own")
    found = model(
        [call], [value("c", [], BOOL), _IMAGE], [value("y", None)], [weight("w", [6, 4, 3, 3])],
        functions=[_own("pick", ["c", "x", "w", "b"], [choice])], domains=["own"],
    )  # fmt: skip
    report = flopscope.analyze(found)
    assert report.total.macs == 6 * 6 * 6 * 4 * 9
    assert report.total.flops == 2 * report.total.macs


@pytest.mark.parametrize(("shape", "other", "axis"), [((2, 4, 5, 5), (4,), 1), ((3, 4), (3,), 0), ((2, 3, 4, 5), (3, 4), -3)])
@pytest.mark.parametrize("op", ["Add", "Less"])
def test_early_versions_place_the_second_operand_by_an_axis(op: str, shape: tuple[int, ...], other: tuple[int, ...], axis: int) -> None:
    nodes = [node(op, ["x", "b"], ["y"], broadcast=1, axis=axis)]
    report = flopscope.analyze(model(nodes, [value("x", shape)], [value("y", None)], [weight("b", other)], opset=6))
    assert report.graph.outputs[0].shape == shape
    assert report.total.flops == int(np.prod(shape))


def test_weights_that_only_branches_read_are_parameters_of_a_file_of_pytorch() -> None:
    """``torch.cond`` becomes an ``If`` whose branches read the weights of the outermost graph."""
    branches = []
    for name in ("left", "right"):
        inner = node("Conv", ["x", f"{name}.weight"], [f"{name}_y"])
        inner.metadata_props.add(
            key="pkg.torch.onnx.fx_node", value=f"%{name} : target=torch.ops.aten.conv2d.default](args = (%x, %p_{name}_weight))"
        )
        branches.append(graph([inner], (), [value(f"{name}_y", None)], name=name))
    choice = node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    after = node("Relu", ["y"], ["z"])
    after.metadata_props.add(key="pkg.torch.onnx.fx_node", value="%relu : target=torch.ops.aten.relu.default](args = (%cond,))")
    weights = [weight("left.weight", [6, 4, 3, 3]), weight("right.weight", [5, 4, 3, 3])]
    found = model([choice, after], [value("c", [], BOOL), _IMAGE], [value("z", None)], weights)
    found.producer_name = "pytorch"
    assert flopscope.analyze(found).total.params == 6 * 4 * 9 + 5 * 4 * 9


def test_constants_that_are_moved_on_the_way_to_a_layer_are_its_weights() -> None:
    def constant(name: str, *shape: int) -> onnx.NodeProto:
        return node("Constant", [], [name], value=weight(name, shape))

    nodes = [
        *(constant(name, 4 * 6, width) for name, width in (("w", 8), ("r", 6))),
        *(constant(name, 4 * 6) for name in ("wb", "rb")),
        node("Unsqueeze", ["w", "zero"], ["w1"]),
        node("Unsqueeze", ["r", "zero"], ["r1"]),
        node("Concat", ["wb", "rb"], ["b"], axis=0),
        node("Unsqueeze", ["b", "zero"], ["b1"]),
        node("LSTM", ["x", "w1", "r1", "b1"], ["y"], hidden_size=6),
        constant("frequencies", 6, 3),
        node("Transpose", ["frequencies"], ["turned"]),
        node("MatMul", ["turned", "positions"], ["angles"]),
    ]
    inputs = [value("x", [5, 2, 8]), value("positions", [6, 7])]
    report = flopscope.analyze(model(nodes, inputs, [value("y", None), value("angles", None)], [ints("zero", [0])]))
    assert report.total.params == 4 * 6 * (8 + 6 + 2)
    assert report.total.macs == 5 * 2 * 4 * 6 * (8 + 6) + 3 * 6 * 7


def test_numbers_that_say_what_an_op_does_are_no_parameters() -> None:
    scales = onnx.numpy_helper.from_array(np.asarray([1, 1, 2.5, 1.5], np.float32), "scales")
    nodes = [node("Resize", ["x", "", "scales"], ["y"], mode="linear"), node("OneHot", ["ids", "depth", "off_on"], ["z"])]
    inputs = [_IMAGE, value("ids", [3], INT64)]
    weights = [scales, ints("depth", 5), weight("off_on", [2])]
    report = flopscope.analyze(model(nodes, inputs, [value("y", None), value("z", None)], weights))
    assert report.total.params == 0
    assert [found.shape for found in report.graph.outputs] == [(1, 4, 20, 12), (3, 5)]


def _damaged(**changes: object) -> onnx.ModelProto:
    choice, _ = _branching(8, 16)
    inner = choice.attribute[0].g.initializer
    if "dims" in changes:
        inner[0].dims[0] = changes["dims"]
    if "place" in changes:
        inner[0].ClearField("raw_data")
        inner[0].data_location = TensorProto.EXTERNAL
        inner[0].external_data.add(key="location", value=changes["place"])
    if "again" in changes:
        inner.append(inner[0])
    return model([choice], [value("c", [], BOOL), value("x", [4, 8])], [value("y", None)])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"dims": -8}, "negative size"),
        ({"dims": 9}, "takes"),
        ({"place": "../outside"}, "outside the model's folder"),
        ({"again": 1}, "two"),
    ],
)
def test_weights_in_branches_are_checked_as_others_are(changes: dict[str, object], what: str) -> None:
    with pytest.raises(InputError, match=what):
        flopscope.analyze(_damaged(**changes))
