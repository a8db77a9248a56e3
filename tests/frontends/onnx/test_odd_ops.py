"""Ops that ONNX no longer has, sizes that only data knows, sequences, and fused layers, each against arithmetic written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flopscope.errors import InputError
from flopscope.frontends.onnx import trace
from flopscope.report import Report

onnx = pytest.importorskip("onnx")


def parsed(text: str, opset: int = 17) -> Any:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')


def shapes(graph: Any) -> list[tuple[int, ...]]:
    return [tensor.type.shape for tensor in graph.outputs]


def test_experiments_of_the_first_version() -> None:
    text = """
    g (float[1, 3, 8, 10] x) => (y) {
        a = ImageScaler <scale = 2.0, bias = [0.0, 0.0, 0.0]> (x)
        b = Affine <alpha = 2.0, beta = 1.0> (a)
        y = Crop <border = [1, 2, 3, 4]> (b)
    }"""
    graph = trace(parsed(text, 1))
    assert shapes(graph) == [(1, 3, 8 - 2 - 4, 10 - 1 - 3)]
    assert Report(graph).total.flops == 2 * 240 + 2 * 240  # a product and an addition per element, twice


def test_layer_norm_before_onnx_had_it() -> None:
    text = "g (float[2, 5, 8] x, float[8] w, float[8] b) => (y, m, s) { y, m, s = LayerNormalization <axis = -1> (x, w, b) }"
    graph = trace(parsed(text, 11))
    assert shapes(graph) == [(2, 5, 8), (2, 5, 1), (2, 5, 1)]
    assert Report(graph).complete


def test_a_slice_between_unknown_places_is_bounded() -> None:
    text = (
        "g (float[4, 6] x, int64[1] start, int64[1] stop) => (y) { axis = Constant <value_ints = [1]> () y = Slice (x, start, stop, axis) }"
    )
    graph = trace(parsed(text))
    assert shapes(graph) == [(4, 6)]
    assert [op for op, _ in graph.data_dependent] == ["ai.onnx::Slice"]
    known = trace(parsed(text), [], {"start": np.array([2]), "stop": np.array([5])})
    assert shapes(known) == [(4, 3)]
    assert not known.data_dependent


def test_different_elements_are_counted_where_they_are_known() -> None:
    text = "g (float[6] x) => (y, first, which, number) { y, first, which, number = Unique (x) }"
    assert shapes(trace(parsed(text))) == [(6,), (6,), (6,), (6,)]
    x = np.array([2.0, 1.0, 1.0, 3.0, 4.0, 3.0], np.float32)
    assert shapes(trace(parsed(text), [], {"x": x})) == [(4,), (4,), (6,), (4,)]


def test_a_sequence_is_cut_and_joined() -> None:
    text = """
    g (float[5, 4] x) => (y, z, n) {
        two = Constant <value_int = 2> ()
        s = SplitToSequence <axis = 0> (x, two)
        n = SequenceLength (s)
        last = Constant <value_int = -1> ()
        z = SequenceAt (s, last)
        e = SequenceErase (s, last)
        y = ConcatFromSequence <axis = 1> (e)
    }"""
    graph = trace(parsed(text))
    graph.verify()
    assert shapes(graph) == [(2, 8), (1, 4), ()]  # 5 rows are 2, 2 and 1; the last is taken out, and two lie side by side
    report = Report(graph)
    assert report.complete
    assert report.total.elements_read == 20 + 16


@pytest.mark.parametrize("place", [3, -4])
def test_a_place_outside_a_sequence_is_refused(place: int) -> None:
    text = f"""
    g (float[2] x) => (y) {{
        s = SequenceConstruct (x, x, x)
        p = Constant <value_int = {place}> ()
        y = SequenceAt (s, p)
    }}"""
    with pytest.raises(InputError, match=r"SequenceAt.*place"):
        trace(parsed(text))


def test_capped_attention_costs_its_cap() -> None:
    text = "g (float[2, 4, 5, 8] q, float[2, 2, 7, 8] k, float[2, 2, 7, 6] v) => (y) { y = Attention %s (q, k, v) }"
    plain, capped = (Report(trace(parsed(text % attributes, 23))).total for attributes in ("", "<softcap = 2.0>"))
    scores = 2 * 4 * 5 * 7
    assert plain.macs == capped.macs == scores * (8 + 6)
    assert plain.flops == 2 * plain.macs + scores * (1 + 5)  # the scale, and a softmax
    assert capped.flops == plain.flops + 3 * scores  # a division, tanh, a product


def test_peepholes_cost_three_products_and_additions_per_unit() -> None:
    text = """
    g (float[5, 2, 3] x, float[1, 16, 3] w, float[1, 16, 4] r, float[1, 12] p) => (y) {
        y = LSTM <hidden_size = 4> (x, w, r, , , , , %s)
    }"""
    plain, seeing = (Report(trace(parsed(text % name))).total for name in ("", "p"))
    assert plain.macs == seeing.macs == 5 * 2 * 16 * (3 + 4)
    assert seeing.flops - plain.flops == 5 * 2 * 4 * 3 * 2


def test_boxes_of_each_class_suppress_each_other() -> None:
    text = "g (float[2, 9, 4] boxes, float[2, 3, 9] scores, int64[1] most) => (y) { y = NonMaxSuppression (boxes, scores, most) }"
    graph = trace(parsed(text))
    assert shapes(graph) == [(2 * 3 * 9, 3)]
    assert Report(graph).total.flops == 2 * 3 * 12 * (9 * 8 // 2)
    assert shapes(trace(parsed(text), [], {"most": np.array([4])})) == [(2 * 3 * 4, 3)]


def test_transforms() -> None:
    text = "g (float[1, 16, 1] x) => (whole, half) { whole = DFT <axis = 1> (x) half = DFT <axis = 1, onesided = 1> (x) }"
    graph = trace(parsed(text))
    assert shapes(graph) == [(1, 16, 2), (1, 9, 2)]
    assert Report(graph).total.flops == 5 * 16 * 4 + 5 * 16 * 4 // 2


def test_a_map_over_a_sequence_counts_every_element() -> None:
    text = """
    g (float[6, 4] x, float[4, 5] w) => (y) {
        s = SplitToSequence <axis = 0> (x)
        t = SequenceMap (s, w) <body = b (float[1, 4] row, float[4, 5] m) => (z) { z = MatMul (row, m) }>
        y = ConcatFromSequence <axis = 0> (t)
    }"""
    graph = trace(parsed(text))
    graph.verify()
    assert shapes(graph) == [(6, 5)]
    assert Report(graph).total.macs == 6 * 4 * 5


def test_saved_shapes_leave_sequences_alone(tmp_path: Any) -> None:
    from flopscope.frontends.onnx.saving import save_shapes

    text = """
    g (float[5, 4] x) => (seq(tensor(float)) s, z) {
        s = SplitToSequence <axis = 0> (x)
        first = Constant <value_int = 0> ()
        e = SequenceAt (s, first)
        o = Optional (e)
        z = OptionalGetElement (o)
    }"""
    model = parsed(text.replace("seq(tensor(float)) s", "s"), 18)
    model.graph.output[0].type.CopyFrom(onnx.helper.make_sequence_type_proto(onnx.helper.make_tensor_type_proto(1, None)))
    save_shapes(model, tmp_path / "with_shapes.onnx")
    saved = onnx.load(tmp_path / "with_shapes.onnx")
    onnx.checker.check_model(saved, full_check=True)
    assert saved.graph.output[0].type.WhichOneof("value") == "sequence_type"
    assert [dim.dim_value for dim in saved.graph.output[1].type.tensor_type.shape.dim] == [1, 4]


def test_an_op_without_a_price_says_why() -> None:
    report = Report(trace(parsed('g (string[3] x) => (y) { y = RegexFullMatch <pattern = "a+"> (x) }', 20)))
    assert not report.complete
    assert "ai.onnx::RegexFullMatch: its work is that of the characters" in str(report)


def test_parts_that_are_not_those_of_the_outputs_are_refused() -> None:
    with pytest.raises(InputError, match="an axis of 7 cannot be cut into 2 outputs"):
        trace(parsed("g (float[7] x) => (a, b) { a, b = Split <num_outputs = 1> (x) }", 18))
    assert shapes(trace(parsed("g (float[7] x) => (a, b) { a, b = Split <num_outputs = 2> (x) }", 18))) == [(4,), (3,)]


FIRST_VERSIONS = [
    ('y = Cast <to = "INT32"> (x)', "int32[2, 3, 4, 5]"),
    ("y = Max (x, x)", "float32[2, 3, 4, 5]"),
    ("y = Mean (x, x, x)", "float32[2, 3, 4, 5]"),
    ("y = Reshape <shape = [0, -1]> (x)", "float32[2, 60]"),
    ("y = Pad <paddings = [0, 0, 1, 2, 0, 0, 3, 4]> (x)", "float32[2, 3, 8, 11]"),
    ('y = Upsample <height_scale = 2.0, width_scale = 3.0, mode = "bilinear"> (x)', "float32[2, 3, 8, 15]"),
]


@pytest.mark.parametrize(("call", "expected"), FIRST_VERSIONS, ids=lambda value: value.split(" ")[2] if " = " in value else "")
def test_the_first_versions_of_ops(call: str, expected: str) -> None:
    graph = trace(parsed(f"g (float[2, 3, 4, 5] x) => (y) {{ {call} }}", 1))
    assert [str(tensor.type) for tensor in graph.outputs] == [expected]
    assert Report(graph).complete
    assert not graph.data_dependent


def test_the_first_gru() -> None:
    text = "g (float[7, 2, 3] x, float[1, 12, 3] w, float[1, 12, 4] r) => (y, h) { y, h = GRU <hidden_size = 4> (x, w, r) }"
    graph = trace(parsed(text, 1))
    assert shapes(graph) == [(7, 1, 2, 4), (1, 2, 4)]
    assert Report(graph).total.macs == 7 * 2 * 12 * (3 + 4)


def test_a_smoothed_resize_reads_more() -> None:
    text = """
    g (float[1, 2, 8, 8] x) => (y) {
        scales = Constant <value_floats = [1.0, 1.0, 0.5, 0.5]> ()
        y = Resize <mode = "MODE", antialias = 1> (x, , scales)
    }"""
    for mode, radius in (("linear", 1), ("cubic", 2)):
        graph = trace(parsed(text.replace("MODE", mode), 18))
        assert shapes(graph) == [(1, 2, 4, 4)]
        taps = 2 * (radius * 2) + 1  # the filter is twice as wide where the image shrinks to half
        assert Report(graph).total.flops == 2 * taps * (2 * 8 * 4 + 2 * 4 * 4)


def test_a_loop_that_slices_by_its_turn_is_counted_turn_by_turn() -> None:
    text = """
    g (float[8, 4] x, float[4, 3] w, float[1, 3] start) => (y) {
        turns = Constant <value_int = 5> ()
        yes = Constant <value = bool {1}> ()
        y = Loop (turns, yes, start) <body = b (int64 i, bool c, float[1, 3] sum) => (c2, more) {
            c2 = Identity (c)
            zero = Constant <value_ints = [0]> ()
            one = Constant <value_ints = [1]> ()
            first = Reshape (i, one)
            stop = Add (first, one)
            row = Slice (x, first, stop, zero)
            part = MatMul (row, w)
            more = Add (sum, part)
        }>
    }"""
    graph = trace(parsed(text))
    assert shapes(graph) == [(1, 3)]
    assert Report(graph).total.macs == 5 * 4 * 3
    assert not graph.data_dependent


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin"])
def test_a_reduction_reads_every_element_wherever_its_axes_are_given(op: str) -> None:
    inside = "g (float[4, 6] x) => (y) { axes = Constant <value_ints = [1]> () y = OP (x, axes) }"
    outside = "g (float[4, 6] x) => (y) { y = OP <axes = [1]> (x) }"
    for text, opset in ((inside, 18), (outside, 11)):
        graph = trace(parsed(text.replace("OP", op), opset))
        assert shapes(graph) == [(4, 1)]
        assert Report(graph).total.flops == 24


def test_a_slice_reads_what_it_returns() -> None:
    text = """
    g (float[100, 6] x) => (y) {
        start = Constant <value_ints = [2]> ()
        stop = Constant <value_ints = [5]> ()
        y = Slice (x, start, stop)
    }"""
    total = Report(trace(parsed(text))).total
    assert (total.elements_read, total.elements_written) == (3 * 6 + 2, 3 * 6)
