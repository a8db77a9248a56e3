"""Widths of what ONNX models multiply: dequantised operands are looked through, and packed weights count by their bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from flopscope.analyses.bits import Row
from flopscope.frontends.onnx import trace
from flopscope.report import Report
from tests.frontends.onnx.contrib_models import Case, f, i8, model_of, u8

S, Z = np.array(0.1, np.float32), np.array(3, np.uint8)


def _report(nodes: list[Any], inputs: dict[str, tuple[int, ...]], weights: dict[str, Any], dtype: int = TensorProto.FLOAT) -> Report:
    given = [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()]
    constants = [value if hasattr(value, "data_type") else numpy_helper.from_array(value, name) for name, value in weights.items()]
    out = helper.make_empty_tensor_value_info(nodes[-1].output[0])
    model = helper.make_model(helper.make_graph(nodes, "g", given, [out], constants), opset_imports=[helper.make_opsetid("", 21)])
    return Report(trace(model))


def _node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], **attributes)


def test_pairs_around_a_convolution_are_looked_through_also_behind_movement() -> None:
    report = _report(
        [
            _node("QuantizeLinear", "x s z", "q"), _node("DequantizeLinear", "q s z", "d"), _node("Pad", "d pads", "p"),
            _node("DequantizeLinear", "w s", "dw"), _node("Conv", "p dw", "y"),
        ],
        {"x": (1, 3, 4, 4)}, {"s": S, "z": Z, "w": i8(8, 3, 3, 3), "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
    )  # fmt: skip
    assert report.bits().rows == (Row("int8", 8, "uint8", 8, 8 * 4 * 4 * 3 * 9),)
    assert report.bits().model_bytes == 8 * 3 * 9


def test_a_result_that_is_not_quantised_again_is_no_integer() -> None:
    report = _report(
        [
            _node("QuantizeLinear", "x s z", "q"), _node("DequantizeLinear", "q s z", "d"), _node("DequantizeLinear", "w s", "dw"),
            _node("MatMul", "d dw", "y"), _node("MatMul", "y dw", "out"),
        ],
        {"x": (3, 16)}, {"s": S, "z": Z, "w": i8(16, 16)},
    )  # fmt: skip
    macs = 3 * 16 * 16
    assert report.bits().rows == (Row("int8", 8, "float32", 32, macs), Row("int8", 8, "uint8", 8, macs))
    assert report.bits().bops == macs * 8 * 32 + macs * 8 * 8
    assert report.bits().model_bytes == 16 * 16  # one weight that two products share


@pytest.mark.parametrize(
    ("code", "name", "bits"),
    [(TensorProto.INT4, "int4", 4), (TensorProto.UINT4, "uint4", 4), (TensorProto.FLOAT8E4M3FN, "float8_e4m3fn", 8)],
)
def test_weights_of_less_than_a_byte_and_small_floats(code: int, name: str, bits: int) -> None:
    weight = helper.make_tensor("w", code, [5, 7], [1] * 35)
    report = _report([_node("DequantizeLinear", "w s", "d"), _node("MatMul", "x d", "y")], {"x": (3, 5)}, {"w": weight, "s": S})
    assert report.bits().rows == (Row(name, bits, "float32", 32, 3 * 5 * 7),)
    assert report.bits().model_bytes == (35 * bits + 7) // 8


def test_attention_between_quantised_activations_has_two_activation_widths() -> None:
    report = _report(
        [
            _node("QuantizeLinear", "x s z", "q"), _node("DequantizeLinear", "q s z", "d"), _node("Transpose", "d", "t", perm=[0, 2, 1]),
            _node("MatMul", "d t", "y"),
        ],
        {"x": (2, 5, 8)}, {"s": S, "z": Z},
    )  # fmt: skip
    assert report.bits().rows == (Row(None, 8, "uint8", 8, 2 * 5 * 5 * 8),)
    assert report.bits("w4a6").bops == 2 * 5 * 5 * 8 * 6 * 6


def test_half_precision() -> None:
    found = _report([_node("MatMul", "x w", "y")], {"x": (3, 5)}, {"w": np.ones((5, 7), np.float16)}, TensorProto.FLOAT16).bits()
    assert found.rows == (Row("float16", 16, "float16", 16, 3 * 5 * 7),)
    assert found.model_bytes == 70


def test_integer_ops_count_by_their_types() -> None:
    weights = {"s": S, "z": Z, "w": i8(8, 3, 3, 3), "zw": np.array(0, np.int8), "m": i8(16, 4)}
    conv = [_node("QLinearConv", "x s z w s zw s z", "y")]
    assert _report(conv, {"x": (1, 3, 6, 6)}, weights, TensorProto.UINT8).bits().rows == (Row("int8", 8, "uint8", 8, 8 * 16 * 27),)
    dynamic = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]), _node("MatMulInteger", "q m qz", "y"),
    ]  # fmt: skip
    assert _report(dynamic, {"x": (3, 16)}, weights).bits().rows == (Row("int8", 8, "uint8", 8, 3 * 16 * 4),)


def test_packed_weights_count_by_their_bits_and_their_scales_are_buffers() -> None:
    attributes = {"K": 64, "N": 8, "bits": 4, "block_size": 32}
    report = Report(trace(model_of(Case("MatMulNBits", (f(3, 64), u8(8, 2, 16), f(16)), 0, attributes, constants=(1, 2)))))
    assert report.total.params == 64 * 8
    assert report.bits().rows == (Row("uint4", 4, "float32", 32, 3 * 64 * 8),)
    assert report.bits().model_bytes == 64 * 8 // 2
    assert report.bits().buffer_bytes == 16 * 4
    assert report.bits("w8a8").model_bytes == 64 * 8


def test_a_packed_table_counts_its_rows_by_their_bits() -> None:
    case = Case(
        "GatherBlockQuantized",
        (u8(9, 16), np.array([1, 2]), f(9, 2)),
        0,
        {"block_size": 16, "quantize_axis": 1, "bits": 4},
        constants=(0, 2),
    )
    report = Report(trace(model_of(case)))
    assert report.total.params == 9 * 32
    assert report.bits().model_bytes == 9 * 16
    assert report.bits().rows == ()


def test_other_contrib_ops_have_their_widths_too() -> None:
    def rows(op: str, inputs: tuple[Any, ...], constants: tuple[int, ...], **attributes: Any) -> tuple[Row, ...]:
        return Report(trace(model_of(Case(op, inputs, 0, attributes, constants=constants)))).bits().rows

    projection, products = 2 * 5 * 16 * 48, 2 * 2 * 4 * 5 * 5 * 4
    quantised = (u8(2, 5, 16), i8(16, 48), f(48), S, S, None, Z)
    assert rows("QAttention", quantised, (1, 2, 3, 4, 6), num_heads=4) == (
        Row("int8", 8, "uint8", 8, projection), Row(None, 32, "float32", 32, products),
    )  # fmt: skip
    assert rows("DynamicQuantizeMatMul", (f(3, 16), i8(16, 7), S), (1, 2)) == (Row("int8", 8, "uint8", 8, 3 * 16 * 7),)
    experts = (f(6, 32), f(6, 4), u8(4, 64, 16), f(4, 64), None, u8(4, 32, 32), f(4, 32))
    assert rows("QMoE", experts, (2, 3, 5, 6), k=2) == (Row("uint4", 4, "float32", 32, 6 * 2 * 2 * 32 * 64),)


def test_a_quantiser_with_a_width_of_its_own() -> None:
    def quant(source: str, width: int, out: str, signed: int) -> Any:
        return helper.make_node("Quant", [source, "s", "z", f"b{width}"], [out], domain="onnx.brevitas", signed=signed, narrow=0)

    nodes = [quant("x", 4, "qx", 0), quant("w", 2, "qw", 1), _node("MatMul", "qx qw", "y")]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 16))
    widths = {f"b{n}": np.array(n, np.float32) for n in (2, 4)}
    constants = [numpy_helper.from_array(v, k) for k, v in {"s": S, "z": np.array(0, np.float32), "w": f(16, 7), **widths}.items()]
    graph = helper.make_graph(nodes, "g", [given], [helper.make_empty_tensor_value_info("y")], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("onnx.brevitas", 1)])
    assert Report(trace(model)).bits().rows == (Row("int2", 2, "uint4", 4, 3 * 16 * 7),)


def test_what_runs_in_a_loop_counts_as_often_as_it_runs() -> None:
    body = helper.make_graph(
        [_node("Identity", "go", "go_on"), _node("MatMul", "state w", "next")], "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, ()), helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, (3, 5)),
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, ()), helper.make_tensor_value_info("next", TensorProto.FLOAT, (3, 5))],
    )  # fmt: skip
    loop = helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)
    report = _report([loop], {"x": (3, 5)}, {"count": np.array(7), "w": np.ones((5, 5), np.float32)})
    assert report.bits().rows == (Row("float32", 32, "float32", 32, 7 * 3 * 5 * 5),)
    assert report.total.macs == 7 * 3 * 5 * 5


def test_a_published_model_with_pairs_is_all_integers_and_counts_as_its_float_version(data: Path) -> None:
    import torch

    import flopscope

    torchvision = pytest.importorskip("torchvision")
    report = Report(trace(str(data / "onnx/quantized/onnxruntime-im__mobilenetv2_qdq_maui.onnx")))
    whole = flopscope.analyze(torchvision.models.mobilenet_v2(weights=None).eval(), torch.zeros(1, 3, 244, 244))  # the file's own size
    assert report.bits().rows == (Row("int8", 8, "uint8", 8, whole.total.macs),)
    assert report.total.macs == whole.total.macs


def test_a_published_model_of_four_bits(data: Path) -> None:
    found = Report(trace(str(data / "onnx/quantized/qonnx__subpixel__quant_model.onnx"))).bits()
    pixels = 128 * 128
    first, middle, last = pixels * 64 * 3 * 25, pixels * (64 * 64 + 32 * 64) * 9, pixels * 12 * 32 * 9
    assert found.rows == (
        Row("int4", 4, "uint4", 4, middle), Row("int8", 8, "float32", 32, first), Row("int8", 8, "uint4", 4, last),
    )  # fmt: skip
    assert found.bops == middle * 16 + first * 256 + last * 32
