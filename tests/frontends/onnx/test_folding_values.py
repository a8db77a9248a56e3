"""Values that are folded are those that ONNX's reference computes, in the corners of the ops too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import flopscope
from flopscope.frontends.onnx.trace import trace_values
from tests.frontends.onnx.models import model, node, value

_TIES = np.asarray([[2, 1, 2, 0], [1, 1, 1, 1], [0, 2, 2, 2]], np.float32)
_SMALL = np.arange(6).reshape(2, 3)


@pytest.mark.parametrize(
    ("op", "arrays", "attributes"),
    [
        *(("ArgMax", [_TIES], {"axis": axis, "select_last_index": last}) for axis in (0, 1, -1) for last in (0, 1)),
        *(("ArgMin", [_TIES], {"axis": 1, "select_last_index": last, "keepdims": 0}) for last in (0, 1)),
        *((f"Reduce{name}", [_SMALL], {"noop_with_empty_axes": 1}) for name in ("Sum", "Max", "Prod")),
        ("OneHot", [np.asarray([0, 2, -1, -3, 1]), np.asarray(3), np.asarray([0, 1])], {}),
        ("Slice", [np.arange(7), np.asarray([-1]), np.asarray([-(2**63) + 1]), np.asarray([0]), np.asarray([-2])], {}),
        ("Mod", [np.asarray([-5, 5, -4]), np.asarray([3, -3, 3])], {}),
        ("Mod", [np.asarray([-5, 5, -4]), np.asarray([3, -3, 3])], {"fmod": 1}),
        ("Div", [np.asarray([-5, 5, 7]), np.asarray([3, -3, 2])], {}),
        ("GatherND", [_SMALL, np.asarray([[0, -1], [1, 0]])], {}),
    ],
)
def test_folded_values_are_those_of_the_reference(op: str, arrays: list[Any], attributes: dict[str, Any]) -> None:
    names = [f"i{place}" for place in range(len(arrays))]
    weights = [numpy_helper.from_array(array, name) for name, array in zip(names, arrays, strict=True)]
    found = model([node(op, names, ["y"], **attributes)], [], [value("y", None)], weights, opset=18)
    (expected,) = ReferenceEvaluator(found).run(None, {})
    folded = next(known for known in trace_values(found) if known.name == "y")
    assert folded.data is not None
    assert folded.data.dtype == expected.dtype
    assert np.array_equal(folded.data, expected)


def test_indices_outside_a_one_hot_are_off() -> None:
    """The reference wraps them around, against the text of the op; runtimes do not."""
    arrays = {"at": np.asarray([1, 5, -7]), "depth": np.asarray(3), "values": np.asarray([0, 1])}
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    found = trace_values(model([node("OneHot", list(arrays), ["y"])], [], [value("y", None)], weights))
    assert next(known.data for known in found if known.name == "y").tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_a_reduction_over_nothing_costs_nothing() -> None:
    found = model([node("ReduceSum", ["x"], ["y"], noop_with_empty_axes=1)], [value("x", [3, 4])], [value("y", None)], opset=18)
    report = flopscope.analyze(found)
    assert report.graph.outputs[0].shape == (3, 4)
    assert report.total.flops == 0
