"""The memory of ONNX models: by hand, against a walk over the raw nodes, and against what ONNX Runtime says of its own run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

import flopscope
from flopscope.graph import SHAPE_UNKNOWN
from flopscope.report.memory import Memory
from tests.analyses.memory.runtime import live_bytes, named, reordered, run

UNIT = 16 * 4 * 4
DATA = os.environ.get("FLOPSCOPE_DATA")
X = "agraph (float[16,4] x) => "
CASES = {
    "a chain": (X + "(float[16,4] y) {a=Softmax(x) b=Softmax(a) y=Softmax(b)}", [1, 2, 2]),
    "an unread result": (X + "(float[16,4] y) {a=Softmax(x) b=Softmax(a) y=Softmax(a)}", [1, 2, 2]),
    "a view": (X + "(float[4,16] y) {s=Constant<value_ints=[4,16]>() a=Softmax(x) b=Reshape(a,s) y=Softmax(b)}", [1, 1, 2]),
    "a view that is returned": (X + "(float[4,16] y) {s=Constant<value_ints=[4,16]>() a=Softmax(x) y=Reshape(a,s)}", [1, 2]),
    "a view of the input": (X + "(float[4,16] y) {s=Constant<value_ints=[4,16]>() b=Reshape(x,s) y=Softmax(b)}", [0, 1]),
    "views of views": (X + "(float[16,4] y) {a=Softmax(x) b=Identity(a) c=Flatten(b) d=Identity(c) y=Softmax(d)}", [1, 1, 1, 1, 2]),
    "a view and its base": (
        X + "(float[4,16] y, float[16,4] z) {s=Constant<value_ints=[4,16]>() a=Softmax(x) b=Reshape(a,s) y=Softmax(b) z=Softmax(a)}",
        [1, 1, 2, 3],
    ),
    "copies": (X + "(float[16,4] y) {a=Softmax(x) b=Transpose(a) c=Transpose(b) y=Softmax(c)}", [1, 2, 2, 2]),
    "concatenation": (X + "(float[32,4] y) {a=Softmax(x) b=Abs(x) y=Concat<axis=0>(a,b)}", [1, 2, 4]),
    "parts": (X + "(float[8,4] y) {a=Softmax(x) b,c=Split(a) y=Add(b,c)}", [1, 2, 1.5]),
    "the input is returned": (X + "(float[16,4] x, float[16,4] y) {y=Softmax(x)}", [1]),
    "two heads": (X + "(float[16,4] y, float[16,4] z) {y=Softmax(x) a=Softmax(y) z=Softmax(a)}", [1, 2, 3]),
}


def model(text: str) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>{text}')


def memory(text: str) -> Memory:
    return flopscope.analyze(model(text)).memory


def live(found: Memory) -> list[float]:
    return [(count - found.input_bytes) / UNIT for count in found.timeline.live_bytes]


@pytest.mark.parametrize("name", CASES)
def test_live_bytes_by_hand(name: str) -> None:
    text, expected = CASES[name]
    assert live(memory(text)) == expected


def test_what_is_made_of_weights_alone_is_no_activation() -> None:
    numbers = ",".join(["0.5"] * 32)
    found = memory(X + f"(float[16,8] y) <float[8,4] w = {{{numbers}}}> {{t=Transpose(w) y=MatMul(x,t)}}")
    assert live(found) == [0, 2]
    assert found.folded_bytes == 8 * 4 * 4
    assert found.parameter_bytes == 8 * 4 * 4
    assert any("128 bytes are made of weights alone" in note for note in found.notes)


def test_weights_of_four_bits_are_packed() -> None:
    w = onnx.helper.make_tensor("w", onnx.TensorProto.INT4, [3, 5], [1] * 15)
    s = onnx.helper.make_tensor("s", onnx.TensorProto.FLOAT, [], [0.5])
    io = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, size]) for name, size in (("x", 3), ("y", 5))]
    nodes = [onnx.helper.make_node("DequantizeLinear", ["w", "s"], ["f"]), onnx.helper.make_node("MatMul", ["x", "f"], ["y"])]
    graph = onnx.helper.make_graph(nodes, "four", io[:1], io[1:], [w, s])
    found = flopscope.analyze(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)])).memory
    assert found.parameter_bytes == 8  # 15 half bytes
    assert found.activation_peak_bytes == 2 * 5 * 4


def test_an_unknown_shape_makes_a_lower_bound() -> None:
    found = memory("agraph (float[16,4] x, int64[n] s) => (float[a,b] y) {z=Softmax(x) r=Reshape(z,s) y=Softmax(r)}")
    assert found.partial
    assert "at least" in found.to_text()
    assert found.to_dict()["partial"] is True
    assert found.notes[0].startswith("lower bound")


BODY = "<body=b (int64 i, bool k, float[16,4] h) => (bool k2, float[16,4] h2{out}) {{k2=Identity(k) t=Softmax(h) h2=Softmax(t){more}}}>"
LOOP = X + "(float[16,4] y{out}) {{n=Constant<value_int=5>() c=Constant<value=bool {{1}}>() a=Softmax(x) y{result}=Loop(n,c,a){body} }}"


def test_a_loop_counts_once_with_what_it_carries() -> None:
    body = BODY.format(out="", more="")
    found = memory(LOOP.format(out="", result="", body=body))
    # Before: a. In a turn after the first: a, what the turn before made, t, and at last h2.
    assert [count for count in live(found) if count] == [1, 2, 3, 4]
    assert any("one turn after the first" in note for note in found.notes)


def test_what_a_loop_gathers_is_there_in_parts_and_as_a_whole() -> None:
    body = BODY.format(out=", float[16,4] o", more=" o=Transpose(h2) ".replace("Transpose", "Softmax"))
    found = memory(LOOP.format(out=", float[5,16,4] s", result=", s", body=body))
    # At the end of the last turn: a, the last h, t is gone, h2, five parts, and the five side by side.
    assert live(found)[-1] == 1 + 1 + 1 + 5 + 5


def test_the_branch_that_counts_holds_what_is_outside() -> None:
    text = (
        "agraph (float[16,4] x, bool c) => (float[16,4] y) {a=Softmax(x) d=If(c)<then_branch=t () => (float[16,4] q) "
        "{e=Softmax(a) g=Softmax(e) q=Softmax(g)}, else_branch=f () => (float[16,4] r) {r=Identity(a)}> y=Softmax(d)}"
    )
    assert live(memory(text)) == [1, 2, 3, 3, 2]


def runtime_cases() -> list[tuple[str, onnx.ModelProto]]:
    return [(name, model(text)) for name, (text, _) in CASES.items() if name not in ("an unread result", "the input is returned", "parts")]


def compared(proto: onnx.ModelProto, folder: Path) -> tuple[dict[str, int], dict[str, int], dict[str, int], Memory]:
    """Live bytes by node: ours, those of a walk over the raw nodes, and those of the runtime."""
    graph = flopscope.analyze(named(proto)).graph
    weights = {tensor.name for tensor in proto.graph.initializer}
    names = [value.name for value in proto.graph.input if value.name not in weights]
    feeds = {name: np.ones(value.shape, value.type.dtype) for name, value in zip(names, graph.inputs, strict=True)}
    ran = run(proto, feeds, folder)
    if ran is None:
        pytest.skip("this version of onnxruntime does not report the memory of nodes")
    again = reordered(proto, ran)
    report = flopscope.analyze(again)
    by_node: dict[str, int] = defaultdict(int)
    for op, count in zip(report.graph.ops, report.memory.timeline.live_bytes, strict=True):
        by_node[op.name] = max(by_node[op.name], count - report.memory.input_bytes)
    walked = live_bytes(again, {item.name: item.outputs for item in ran})
    return dict(by_node), walked, {item.name: item.live for item in ran}, report.memory


@pytest.mark.parametrize(("name", "proto"), runtime_cases(), ids=lambda value: value if isinstance(value, str) else "")
def test_against_onnxruntime_by_node(name: str, proto: onnx.ModelProto, tmp_path: Path) -> None:
    """Of models whose ops the runtime does not write in place, every number is equal; else ours lie on either side."""
    pytest.importorskip("onnxruntime")
    ours, walked, measured, found = compared(proto, tmp_path)
    assert ours == walked
    assert max(measured.values()) <= found.activation_peak_bytes


def test_against_onnxruntime_exactly(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    text = (
        X + "(float[4,16] y) {a=Transpose(x) b=MatMul(a,x) c=Concat<axis=0>(b,b) d=MatMul(b,a) e=MatMul(c,d) f=Transpose(e) y=MatMul(f,c) }"
    )
    text = text.replace("float[4,16] y", "float[16,4] y")
    ours, walked, measured, _ = compared(model(text), tmp_path)
    assert ours == walked == measured


def test_onnxruntime_keeps_memory_for_a_later_tensor_of_the_same_shape(tmp_path: Path) -> None:
    """What our note says: of two models that differ in a later shape alone, one holds a tensor that nobody reads any more."""
    pytest.importorskip("onnxruntime")
    text = (
        "agraph (float[256,64] x) => (float[64,64] y) {s=Constant<value_ints=[64,256]>() a=Transpose(x) r=ReduceMax<axes=[1]>(a) "
        "t=Transpose(r) u=Transpose(t) w=Expand(u,s) y=MatMul(w,x)}"
    )
    other = text.replace("[64,256]", "[64,128]").replace("y=MatMul(w,x)", "v=Transpose(w) y=MatMul(w,v)")
    for case, kept in ((text, 256 * 64 * 4), (other, 0)):
        ours, walked, measured, _ = compared(model(case), tmp_path)
        assert ours == walked
        turned = "node3"  # the first op after the last that reads a
        assert ours[turned] == 2 * 64 * 4
        assert measured[turned] == 2 * 64 * 4 + kept


SAMPLE = (
    "cnn/libfacedetecti__yunet_n_320_320.onnx",
    "cnn/onnxruntime-im__mnist.onnx",
    "transformer/onnxruntime-im__attention_mask1d_fp32.onnx",
)


@pytest.mark.skipif(DATA is None, reason="FLOPSCOPE_DATA is not set")
@pytest.mark.parametrize("path", SAMPLE)
def test_peaks_of_real_models_against_onnxruntime(path: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    _, walked, measured, found = compared(onnx.load(Path(str(DATA)) / "onnx" / path), tmp_path)
    assert found.activation_peak_bytes == max(walked.values())
    ideal = found.fused.activation_peak_bytes
    assert ideal <= max(measured.values()) <= found.activation_peak_bytes + 64  # a few bytes of scratch memory


@pytest.mark.skipif(DATA is None, reason="FLOPSCOPE_DATA is not set")
def test_no_model_breaks_it(tmp_path: Path) -> None:
    """Every file that can be analysed has a peak that is the sum of what is alive, and a plan without overlaps."""
    paths = sorted(Path(str(DATA)).joinpath("onnx").rglob("*.onnx"))
    met = 0
    for path in paths if os.environ.get("FLOPSCOPE_ALL") else paths[::6]:
        try:
            report = flopscope.analyze(path)
        except flopscope.FlopscopeError:
            continue
        found = report.memory
        assert sum(piece.bytes for piece in found.alive) == (found.timeline.peak_bytes if report.graph.ops else found.input_bytes)
        found.plan.verify(found.planned)
        assert found.fused.peak_bytes <= found.peak_bytes
        assert found.partial or not any(op.kind == SHAPE_UNKNOWN for op in report.graph.ops)
        met += 1
    assert met > 15


def test_torch_is_not_imported(tmp_path: Path) -> None:
    path = tmp_path / "chain.onnx"
    onnx.save(model(CASES["a chain"][0]), path)
    code = f"import sys; from flopscope.cli.main import main; main(['memory', {str(path)!r}], standalone_mode=False); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("peak")
