"""Damaged and hostile models: one clear error, at once, whatever is in them."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import flopscope
from flopscope.errors import FlopscopeError, InputError
from tests.frontends.onnx.models import BOOL, graph, model, node, value, weight


def _refused(found: onnx.ModelProto | bytes, match: str) -> None:
    with pytest.raises(InputError, match=match):
        flopscope.analyze(found)


def _small() -> onnx.ModelProto:
    nodes = [node("Conv", ["x", "w"], ["h"], name="conv"), node("Relu", ["h"], ["y"], name="relu")]
    return model(nodes, [value("x", [1, 3, 8, 8])], [value("y", None)], [weight("w", [4, 3, 3, 3])])


def test_the_model_of_these_tests_is_sound() -> None:
    assert flopscope.analyze(_small()).total.macs == 4 * 6 * 6 * 3 * 3 * 3


@pytest.mark.parametrize("size", [1, 7, 40, 90, 99])
def test_a_file_that_is_cut_off(tmp_path: Path, size: int) -> None:
    data = _small().SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: len(data) * size // 100])
    with pytest.raises(InputError, match=r"cut\.onnx"):
        flopscope.analyze(str(path))


def test_a_large_file_that_is_cut_off(tmp_path: Path) -> None:
    found = model([node("MatMul", ["x", "w"], ["y"])], [value("x", [1, 512])], [value("y", None)], [weight("w", [512, 512])])
    path = tmp_path / "cut.onnx"
    path.write_bytes(found.SerializeToString()[:-100_000])
    with pytest.raises(InputError, match="cut off"):
        flopscope.analyze(str(path))


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "empty"), (b"\x1f\x8b" + bytes(99), "gzip"), (b"<!DOCTYPE html>", "web page"), (bytes(999), "zeros"), (b"PK\x03\x04", "zip")],
)  # fmt: skip
def test_files_that_are_something_else(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=what):
        flopscope.analyze(str(path))


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    for name, what in (("folder.onnx", "is a folder"), ("nothing.onnx", "there is no such file")):
        with pytest.raises(InputError, match=what):
            flopscope.analyze(str(tmp_path / name))


def test_a_cycle() -> None:
    nodes = [node("Relu", ["b"], ["a"]), node("Relu", ["a"], ["b"])]
    _refused(model(nodes, [value("x", [1])], [value("b", None)]), "cycle")


def test_a_node_that_reads_itself() -> None:
    _refused(model([node("Relu", ["a"], ["a"])], [value("x", [1])], [value("a", None)]), "cycle")


def test_a_value_that_nobody_makes() -> None:
    _refused(model([node("Relu", ["z"], ["y"])], [value("x", [1])], [value("y", None)]), "'z'")


def test_names_that_are_there_twice() -> None:
    twice = [node("Relu", ["x"], ["y"]), node("Abs", ["x"], ["y"])]
    _refused(model(twice, [value("x", [1])], [value("y", None)]), "'y' is made a second time")
    _refused(model([node("Relu", ["x"], ["y"])], [value("x", [1]), value("x", [1])], [value("y", None)]), "two inputs")
    _refused(
        model([node("Relu", ["x"], ["y"])], [value("x", [1])], [value("y", None)], [weight("w", [1]), weight("w", [1])]), "two initializers"
    )


def test_nodes_out_of_order_are_sorted_and_that_is_said() -> None:
    found = _small()
    swapped = [found.graph.node[1], found.graph.node[0]]
    del found.graph.node[:]
    found.graph.node.extend(onnx.NodeProto.FromString(one.SerializeToString()) for one in swapped)
    report = flopscope.analyze(found)
    assert report.total.macs == 4 * 6 * 6 * 3 * 3 * 3
    assert any("out of order" in note for note in report.notes)


@pytest.mark.parametrize("shape", [[2**20, 2**20], [2**62]])
def test_absurd_sizes(shape: list[int]) -> None:
    _refused(model([node("Relu", ["x"], ["y"])], [value("x", shape)], [value("y", None)]), "no machine")


def test_a_small_node_that_makes_an_absurd_tensor() -> None:
    sizes = numpy_helper.from_array(np.asarray([2**30, 2**30], np.int64), "s")
    _refused(model([node("Expand", ["x", "s"], ["y"])], [value("x", [1])], [value("y", None)], [sizes]), "no machine")


def test_shape_arithmetic_is_not_computed_when_it_is_large() -> None:
    sizes = numpy_helper.from_array(np.asarray([2**30], np.int64), "s")
    nodes = [node("ConstantOfShape", ["s"], ["a"]), node("Add", ["a", "a"], ["y"])]
    assert flopscope.analyze(model(nodes, [value("x", [1])], [value("y", None)], [sizes])).total.flops == 2**30


@pytest.mark.parametrize("levels", [5, 20])
def test_ifs_inside_ifs(levels: int) -> None:
    assert flopscope.analyze(_deeper(_small(), levels)).total.macs == 4 * 6 * 6 * 3 * 3 * 3


def test_ifs_inside_ifs_without_end() -> None:
    with pytest.raises(InputError, match=r"nested|damaged"):
        flopscope.analyze(_deeper(_small(), 2000))


def _deeper(found: onnx.ModelProto, levels: int) -> bytes:
    """A model whose graph is wrapped into Ifs by writing the bytes of the format."""

    def field(number: int, content: bytes) -> bytes:
        length, encoded = len(content), bytearray()
        while length > 0x7F:
            encoded.append(length & 0x7F | 0x80)
            length >>= 7
        return bytes([number << 3 | 2, *encoded, length]) + content

    inputs, weights = b"".join(field(11, one.SerializeToString()) for one in found.graph.input), found.graph.initializer
    given = inputs + b"".join(field(5, one.SerializeToString()) for one in weights) + field(11, value("c", [], BOOL).SerializeToString())
    outputs = field(12, value("y", None).SerializeToString())
    inner = b"".join(field(1, one.SerializeToString()) for one in found.graph.node) + outputs
    relu, is_graph = field(1, field(1, b"x") + field(2, b"y") + field(4, b"Relu")), b"\xa0\x01\x05"
    for _ in range(levels):
        then = field(5, field(1, b"then_branch") + field(6, inner) + is_graph)
        other = field(5, field(1, b"else_branch") + field(6, relu + outputs) + is_graph)
        inner = field(1, field(1, b"c") + field(2, b"y") + field(4, b"If") + then + other) + outputs
    found.ClearField("graph")
    return found.SerializeToString() + field(7, inner + given + field(2, b"g"))


@pytest.mark.parametrize("place", ["/etc/hostname", "../secret.bin", "a/../../b.bin", "C:\\w.bin", "..\\w.bin", ""])
def test_weights_outside_the_folder_are_never_followed(place: str) -> None:
    found = _small()
    tensor = found.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", place
    _refused(found, "'w'")


def _outside(folder: Path, nbytes: int | None) -> str:
    found = _small()
    tensor = found.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "w.bin"
    if nbytes is not None:
        (folder / "w.bin").write_bytes(bytes(nbytes))
    path = folder / "model.onnx"
    path.write_bytes(found.SerializeToString())
    return str(path)


def test_missing_weights_are_not_needed_unless_a_check_is_asked_for(tmp_path: Path) -> None:
    path = _outside(tmp_path, None)
    assert flopscope.analyze(path).total.macs == 4 * 6 * 6 * 3 * 3 * 3
    with pytest.raises(InputError, match="is not there"):
        flopscope.analyze(path, check=True)


def test_the_size_of_weights_is_checked_if_asked_for(tmp_path: Path) -> None:
    path = _outside(tmp_path, 4 * 4 * 3 * 3 * 3 - 1)
    assert flopscope.analyze(path).complete
    with pytest.raises(InputError, match="takes 432 bytes"):
        flopscope.analyze(path, check=True)
    (tmp_path / "w.bin").write_bytes(bytes(432))
    assert flopscope.analyze(path, check=True).complete


def test_weights_are_never_opened(tmp_path: Path) -> None:
    path = _outside(tmp_path, None)
    os.mkfifo(tmp_path / "w.bin")  # whoever opens it waits for ever
    assert flopscope.analyze(path).complete
    with pytest.raises(InputError, match="no plain file"):
        flopscope.analyze(path, check=True)


def test_bits_that_flip_give_an_answer_or_one_error() -> None:
    """A few hundred damaged files: nothing but our own errors may come out."""
    rng = random.Random(0)
    sound = _small().SerializeToString()
    for _ in range(400):
        data = bytearray(sound)
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            report = flopscope.analyze(bytes(data))
        except FlopscopeError:
            continue
        assert report.to_text()


def test_declared_types_that_do_not_fit_are_an_error() -> None:
    found = model([node("MatMul", ["x", "w"], ["y"])], [value("x", [4, 8])], [value("y", None)], [weight("w", [9, 8])])
    _refused(found, r"node MatMul that makes 'y'.*[Ii]ncompatible")


def test_the_least_ir() -> None:
    found = helper.make_model(graph([node("Relu", ["x"], ["y"])], [value("x", [4])], [value("y", None)]))
    del found.opset_import[:]
    _refused(found, "opset_import")
