"""Attributes of local functions: nodes inside refer to those of the call, which decide shapes and costs."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.inliner
import onnx.parser
from onnx.reference import ReferenceEvaluator

import flopscope

_TEXT = """<ir_version: 9, opset_import: ["": 18, "f": 1]>
g (float[1,3,8,8] x, float[4,3,3,3] w, bool c) => (float y0, float y1, float y2, float y3, float y4, float y5, float y6) {
    y0 = f.window <steps = [2, 2], room = [1, 1, 1, 1]> (x, w)
    y1 = f.window <steps = [1, 1], room = [0, 0, 0, 0]> (x, w)
    y2 = f.window (x, w)
    y3 = f.outer <where = 2> (x)
    y4 = f.outer <where = 3> (x)
    y5 = f.either <ax = 1> (c, x)
    y6 = f.shaped <sizes = [3, -1]> (x)
}
<domain: "f", opset_import: ["": 18]> window <steps, room> (x, w) => (y) { y = Conv <strides: ints = @steps, pads: ints = @room> (x, w) }
<domain: "f", opset_import: ["": 18]> twice <axis> (x) => (y) { y = Concat <axis: int = @axis> (x, x) }
<domain: "f", opset_import: ["": 18, "f": 1]> outer <where> (x) => (y) { y = f.twice <axis: int = @where> (x) }
<domain: "f", opset_import: ["": 18]> shaped <sizes> (x) => (y) { s = Constant <value_ints: ints = @sizes> () y = Reshape (x, s) }
<domain: "f", opset_import: ["": 18]> either <ax> (c, x) => (y) {
    y = If (c) <
        then_branch = left () => (t) { t = Concat <axis: int = @ax> (x, x) },
        else_branch = right () => (e) { e = Concat <axis: int = @ax> (x, x) }
    >
}
"""


def test_shapes_and_costs_follow_the_attributes_of_each_call() -> None:
    found = onnx.parser.parse_model(_TEXT)
    inputs = {"x": np.ones((1, 3, 8, 8), np.float32), "w": np.ones((4, 3, 3, 3), np.float32), "c": np.asarray(True)}
    inlined = onnx.inliner.inline_local_functions(found)
    expected = [result.shape for result in ReferenceEvaluator(inlined).run(None, inputs)]
    report = flopscope.analyze(found)
    assert [value.shape for value in report.graph.outputs] == expected
    assert report.total.macs == (4 * 4 + 6 * 6 + 6 * 6) * 4 * 3 * 9
    assert report.total == flopscope.analyze(inlined).total
