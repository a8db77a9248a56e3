"""ONNX files from many projects: sound ones get an answer, broken ones one clear error, and what can be counted twice is."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import onnx
import pytest

import flopscope
from flopscope.errors import FlopscopeError, InputError

_FOLDER = Path(os.environ.get("FLOPSCOPE_DATA", "nowhere")) / "onnx"
_NAMES = sorted(json.loads((_FOLDER / "manifest.json").read_text())) if (_FOLDER / "manifest.json").exists() else []
_SOUND = [name for name in _NAMES if "malformed" not in name]
_BROKEN = [name for name in _NAMES if "malformed" in name]
_EVERYTHING = bool(os.environ.get("FLOPSCOPE_ALL"))
pytestmark = pytest.mark.skipif(not _NAMES, reason="FLOPSCOPE_DATA names no folder with ONNX files")

ANSWERED = {
    "bitflip_6": "the flipped bit lies in a weight, which no count depends on",
    "ext_missing_file": "weights are not needed: sound files of the collection lack theirs too; --check refuses it",
    "nested_if_20": "twenty Ifs inside each other are legal, and nothing is wrong in them",
    "unsorted": "four sound files of the collection have nodes out of order too; they are sorted, and a note says so",
    "TensorRT__bad_graph_with_no_name": "a sound file of the collection has a graph without a name too",
    "onnxruntime-im__invalid_dim_param_value_repetition": "every shape in it fits; only one runtime's inputs did not",
    "onnxruntime-im__model_with_invalid_ort_config_json": "what is broken is a runtime's own settings among its metadata",
}
"""Files that are called malformed, and that can be counted all the same, each with the reason."""


@pytest.mark.parametrize("name", _SOUND)
def test_a_sound_file_gets_a_complete_or_an_honestly_partial_answer(name: str) -> None:
    report = flopscope.analyze(str(_FOLDER / name))
    report.graph.verify()
    assert report.complete == (not report.uncounted)
    text = report.to_text()
    assert report.complete or ("at least" in text and "NOT COUNTED" in text)
    assert json.loads(report.to_json())["complete"] == report.complete
    assert report.total == flopscope.analyze(str(_FOLDER / name)).total


@pytest.mark.parametrize("name", _BROKEN)
def test_a_broken_file_gives_one_error_that_names_it(name: str) -> None:
    path = _FOLDER / name
    if path.stem in ANSWERED:
        assert flopscope.analyze(str(path)).to_text()
        return
    with pytest.raises(InputError, match=path.name) as caught:
        flopscope.analyze(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", _BROKEN if _EVERYTHING else _BROKEN[::9])
def test_the_command_refuses_a_broken_file_quickly_and_in_little_memory(name: str) -> None:
    path = _FOLDER / name
    command = [sys.executable, "-m", "flopscope", "analyze", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, preexec_fn=_limited)
    assert done.returncode == (0 if path.stem in ANSWERED else 2), done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.stdout == ""
        assert path.name in done.stderr


def _limited() -> None:
    """Five seconds of processor time and 500 MB of data for what comes next."""
    resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
    resource.setrlimit(resource.RLIMIT_DATA, (500 * 2**20, 500 * 2**20))


def test_a_missing_file_of_weights_is_refused_where_a_check_is_asked_for() -> None:
    path = next((_FOLDER / name for name in _BROKEN if "ext_missing_file" in name), None)
    if path is None:
        pytest.skip("the collection lacks the file")
    with pytest.raises(InputError, match="is not there"):
        flopscope.analyze(str(path), check=True)


# -- a second count, from onnx's own shape inference over the whole model ----------------------------------------------------------


@cache
def _inferred(name: str) -> onnx.ModelProto | None:
    model = onnx.load(str(_FOLDER / name), load_external_data=False)
    if model.functions or any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        return None
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # noqa: BLE001 - what it cannot infer is not compared
        return None


def _macs_of(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int | None:
    """Multiply-accumulates by the definition of the op in ONNX's manual; ``None`` for other ops."""
    if node.op_type in ("Conv", "ConvTranspose", "ConvInteger"):
        weight, out = shapes[node.input[1]], shapes[node.output[0]]
        source = shapes[node.input[0]] if node.op_type == "ConvTranspose" else out
        return prod(source) * prod(weight[1:])
    if node.op_type == "Gemm":
        inner = shapes[node.input[0]]
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return prod(shapes[node.output[0]]) * inner[0 if transposed else 1]
    if node.op_type in ("MatMul", "MatMulInteger"):
        return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return None


def _second_count(model: onnx.ModelProto) -> dict[str, int] | None:
    shapes: dict[str, list[int]] = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    values: list[Any] = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    for value in values:
        dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in value.type.tensor_type.shape.dim]
        if value.type.tensor_type.HasField("shape") and all(size > 0 for size in dims):
            shapes.setdefault(value.name, dims)
    counts: dict[str, int] = {}
    for node in model.graph.node:
        try:
            macs = _macs_of(node, shapes)
        except KeyError:
            return None
        if macs is not None:
            counts[node.op_type] = counts.get(node.op_type, 0) + macs
    return counts


def test_contractions_equal_a_second_count() -> None:
    """Every file whose shapes onnx infers as a whole: convolutions and matrix products, op by op of their names."""
    compared = 0
    for name in _SOUND:
        model = _inferred(name)
        wanted = None if model is None else _second_count(model)
        if not wanted:
            continue
        try:
            report = flopscope.analyze(str(_FOLDER / name))
        except FlopscopeError:
            continue
        counts: dict[str, int] = {}
        for row in report.ops:
            counts[row.op.partition("::")[2]] = counts.get(row.op.partition("::")[2], 0) + row.cost.macs
        assert {op: counts.get(op, 0) for op in wanted} == wanted, name
        compared += 1
    assert compared > len(_SOUND) // 5
