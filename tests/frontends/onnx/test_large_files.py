"""Files whose weights are far larger than their structure: these are skipped, not read."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import flopscope
from flopscope.errors import InputError
from tests.frontends.onnx.models import graph, node, value

_ROWS, _COLUMNS = 40_000, 20_000


def _start(number: int, length: int) -> bytes:
    """The start of a field of so many bytes, as protobuf writes it."""
    encoded = bytearray()
    for whole in (number << 3 | 2, length):
        while whole > 0x7F:
            encoded.append(whole & 0x7F | 0x80)
            whole >>= 7
        encoded.append(whole)
    return bytes(encoded)


def _write(path: Path, nbytes: int) -> None:
    """A model of one matrix product, whose weight lies in a hole of the file at its end."""
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[_ROWS, _COLUMNS]).SerializeToString()
    weight = tensor + _start(9, nbytes)
    rest = graph([node("MatMul", ["x", "w"], ["y"])], [value("x", [1, _ROWS])], [value("y", None)]).SerializeToString()
    around = rest + _start(5, len(weight) + nbytes)
    model = onnx.ModelProto(ir_version=9, opset_import=[onnx.helper.make_opsetid("", 17)]).SerializeToString()
    with path.open("wb") as file:
        file.write(model + _start(7, len(around) + len(weight) + nbytes) + around + weight)
        file.truncate(file.tell() + nbytes)


def test_a_file_larger_than_protobuf_can_read(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    _write(path, 4 * _ROWS * _COLUMNS)
    assert path.stat().st_size > 2**31
    report = flopscope.analyze(path)
    assert report.total.macs == _ROWS * _COLUMNS
    assert report.total.params == _ROWS * _COLUMNS


def test_contents_that_are_shorter_than_their_shape(tmp_path: Path) -> None:
    path = tmp_path / "short.onnx"
    _write(path, 4 * _ROWS * _COLUMNS - 4)
    with pytest.raises(InputError, match="takes 3,200,000,000 bytes, but holds 3,199,999,996"):
        flopscope.analyze(path)
