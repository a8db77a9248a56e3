"""Shapes of inputs: given, bound by name, learned from weights, or chosen and said so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import flopscope
from flopscope.errors import InputError, OptionError
from tests.frontends.onnx.models import INT64, ints, model, node, value, weight


def _dense(batch: int | str | None = "batch", length: int | str | None = "seq", width: int | str | None = 16) -> onnx.ModelProto:
    return model([node("MatMul", ["x", "w"], ["y"])], [value("x", [batch, length, width])], [value("y", None)], [weight("w", [16, 32])])


def test_sizes_that_the_file_leaves_open_are_chosen_and_said() -> None:
    report = flopscope.analyze(_dense())
    assert report.graph.inputs[0].shape == (1, 128, 16)
    assert report.total.macs == 128 * 16 * 32
    (note,) = report.notes
    assert "chosen here: batch = 1, seq = 128; choose others with --dim" in note


def test_dimensions_by_name() -> None:
    report = flopscope.analyze(_dense(), dims={"batch": 3, "seq": 7})
    assert report.total.macs == 3 * 7 * 16 * 32
    assert not report.notes


@pytest.mark.parametrize("text", ["3x7x16", "x:3x7x16", "x=3x7x16", "x:3x7x16:float32"])
def test_shapes_as_text(text: str) -> None:
    assert flopscope.analyze(_dense(), text).total.macs == 3 * 7 * 16 * 32


def test_arrays_and_named_inputs() -> None:
    assert flopscope.analyze(_dense(), np.zeros((3, 7, 16), np.float32)).total.macs == 3 * 7 * 16 * 32
    assert flopscope.analyze(_dense(), x="3x7x16").total.macs == 3 * 7 * 16 * 32


def test_a_size_that_a_weight_demands_is_learned() -> None:
    report = flopscope.analyze(_dense(1, 4, None))
    assert report.graph.inputs[0].shape == (1, 4, 16)
    assert "x[2] = 16" in report.notes[0]


def test_one_name_is_one_size() -> None:
    found = model([node("Add", ["a", "b"], ["y"])], [value("a", ["n", 4]), value("b", ["n", 4])], [value("y", None)])
    assert flopscope.analyze(found, "9x4").total.flops == 9 * 4  # b follows a
    with pytest.raises(InputError, match="'b' was given as"):
        flopscope.analyze(found, "9x4", "8x4")


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        (("3x7",), "3 dimensions"),
        (("3x7x17",), "the model declares"),
        (("3x7x16", "1x1"), "2 inputs were given"),
        (("z:1x1x16",), "no input 'z'"),
        (("3xax16",), "no shape"),
        (("3x7x16:float33",), "element type"),
        ((object(),), "NumPy array"),
    ],
)
def test_inputs_that_do_not_fit(inputs: tuple[object, ...], match: str) -> None:
    with pytest.raises(InputError, match=match):
        flopscope.analyze(_dense(), *inputs)


def test_a_dimension_that_there_is_not() -> None:
    with pytest.raises(OptionError, match="did you mean 'batch'"):
        flopscope.analyze(_dense(), dims={"bacth": 2})
    with pytest.raises(OptionError, match="at least 1"):
        flopscope.analyze(_dense(), dims={"batch": 0})


def test_given_sizes_that_do_not_fit_are_an_error_and_chosen_ones_a_partial_answer() -> None:
    nodes = [node("Reshape", ["x", "s"], ["h"]), node("MatMul", ["h", "w"], ["y"])]
    found = model(nodes, [value("x", ["n", "m"])], [value("y", None)], [weight("w", [16, 8]), ints("s", [-1, 33])])
    with pytest.raises(InputError, match="ncompatible"):
        flopscope.analyze(found, "33x2")
    report = flopscope.analyze(found)
    assert not report.complete
    assert any("do not fit" in note for note in report.notes)


def test_a_length_that_is_too_short_gives_way_to_a_longer_one() -> None:
    nodes = [node("Conv", ["x", "w"], ["y"], strides=[256])]
    found = model(nodes, [value("x", [1, 1, "samples"])], [value("y", None)], [weight("w", [8, 1, 400])])
    report = flopscope.analyze(found)
    assert report.complete
    assert report.graph.inputs[0].shape == (1, 1, 512)
    assert report.total.macs == 8 * 1 * 400


def test_small_integers_that_are_given_keep_their_values() -> None:
    found = model([node("Reshape", ["x", "s"], ["y"])], [value("x", [4, 6]), value("s", [2], INT64)], [value("y", None)])
    report = flopscope.analyze(found, "4x6", np.asarray([3, 8]))
    assert report.graph.outputs[0].shape == (3, 8)


def test_a_file_without_shapes(tmp_path: Path) -> None:
    found = model([node("Relu", ["x"], ["y"])], [value("x", None)], [value("y", None)])
    report = flopscope.analyze(found)
    assert not report.complete
    assert "shapes around them are not known" in report.to_text()
    assert flopscope.analyze(found, "2x3").total.flops == 6
    path = tmp_path / "m.onnx"
    onnx.save(found, path)
    assert flopscope.analyze(path, "2x3").total.flops == 6


def test_weights_are_shared_once_and_constants_are_none() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "w"], ["b"]), node("Mul", ["b", "half"], ["c"]),
        node("BatchNormalization", ["c", "s", "t", "m", "v"], ["y"]),
    ]  # fmt: skip
    channels = [weight(name, [16]) for name in "stmv"]
    found = model(nodes, [value("x", [4, 16])], [value("y", None)], [weight("w", [16, 16]), weight("half", []), *channels])
    report = flopscope.analyze(found)
    assert report.total.params == 16 * 16 + 2 * 16  # running statistics are buffers, and a single number is a constant
    assert sum(buffer.type.elements for buffer in report.graph.buffers) == 2 * 16
    assert report.total.macs == 2 * 4 * 16 * 16


def test_sparse_weights_count_what_they_store() -> None:
    found = model([node("MatMul", ["x", "w"], ["y"])], [value("x", [4, 16])], [value("y", None)])
    values = onnx.helper.make_tensor("w", 1, [5], [1.0] * 5)
    places = onnx.helper.make_tensor("w_places", 7, [5], list(range(5)))
    found.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, places, [16, 8]))
    report = flopscope.analyze(found)
    assert report.total.params == 5
    assert report.total.macs == 4 * 16 * 8  # as dense kernels compute it


def test_one_call_empties_what_was_learned_of_both_front_ends() -> None:
    from flopscope.frontends.onnx import learning

    flopscope.analyze(_dense())
    assert learning._memo
    flopscope.clear_memo()
    assert not learning._memo
