"""Classic machine learning in ONNX: shapes as ONNX's evaluator computes them, and operations counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flopscope.frontends.onnx import trace
from flopscope.report import Report

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402

ROWS, FEATURES = 5, 3
_TREE = {  # a root, two children, of which the left one splits again: at most two comparisons
    "nodes_treeids": [0] * 5, "nodes_nodeids": [0, 1, 2, 3, 4], "nodes_featureids": [0, 1, 0, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"], "nodes_values": [0.5, 0.2, 0.0, 0.0, 0.0],
    "nodes_truenodeids": [1, 3, 0, 0, 0], "nodes_falsenodeids": [2, 4, 0, 0, 0], "nodes_hitrates": [1.0] * 5,
    "nodes_missing_value_tracks_true": [0] * 5,
}  # fmt: skip
_REGRESSION = {"target_treeids": [0] * 3, "target_nodeids": [2, 3, 4], "target_ids": [0, 1, 0], "target_weights": [1.0, 2.0, 3.0]}
_CLASSES = {"class_treeids": [0] * 3, "class_nodeids": [2, 3, 4], "class_ids": [0, 1, 2], "class_weights": [1.0, 2.0, 3.0]}
_LINEAR = {"coefficients": [0.1] * 12, "intercepts": [0.0] * 4}
_VECTORS = {"support_vectors": [0.1] * 6, "rho": [0.0], "kernel_params": [0.5, 0.0, 3.0]}

CASES: list[tuple[str, dict[str, Any], int, int]] = [
    # op, attributes, multiply-accumulates, other operations
    ("Scaler", {"scale": [2.0] * 3, "offset": [1.0] * 3}, 0, 2 * 15),
    ("Normalizer", {"norm": "L2"}, 0, 2 * 15 + 5 + 15),
    ("Normalizer", {"norm": "MAX"}, 0, 15 + 15),
    ("Binarizer", {"threshold": 0.5}, 0, 15),
    ("Imputer", {"imputed_value_floats": [0.0], "replaced_value_float": float("nan")}, 0, 15),
    ("LinearRegressor", {**_LINEAR, "targets": 4}, 5 * 3 * 4, 5 * 4),
    ("LinearClassifier", {**_LINEAR, "classlabels_ints": [0, 1, 2, 3], "post_transform": "SOFTMAX"}, 5 * 3 * 4, 5 * 4 + 5 * 5 * 4 + 5 * 4),
    ("SVMRegressor", {**_VECTORS, "coefficients": [1.0, 2.0], "n_supports": 2, "kernel_type": "LINEAR"}, 5 * 2 * 3 + 5 * 2, 5),
    (
        "SVMRegressor", {**_VECTORS, "coefficients": [1.0, 2.0], "n_supports": 2, "kernel_type": "RBF"},
        5 * 2, 5 * 2 * (3 * 3 + 1) + 2 * 5 * 2 + 5,
    ),
    ("TreeEnsembleRegressor", {**_TREE, **_REGRESSION, "n_targets": 2}, 0, 5 * 2 + 5 * 2),
    ("TreeEnsembleClassifier", {**_TREE, **_CLASSES, "classlabels_int64s": [0, 1, 2]}, 0, 5 * 2 + 5 * 3 + 5 * 3),
]  # fmt: skip


def model(op: str, attributes: dict[str, Any], outputs: int) -> Any:
    node = helper.make_node(op, ["x"], ["y", "z"][:outputs], domain="ai.onnx.ml", **attributes)
    results = [helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = helper.make_graph([node], "one", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [ROWS, FEATURES])], results)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("op", "attributes", "macs", "other"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_an_op(op: str, attributes: dict[str, Any], macs: int, other: int) -> None:
    from onnx.reference import ReferenceEvaluator

    proto = model(op, attributes, 2 if op.endswith("Classifier") else 1)
    graph = trace(proto)
    graph.verify()
    x = np.random.default_rng(0).random((ROWS, FEATURES), np.float32)
    expected = ReferenceEvaluator(proto).run(None, {"x": x})
    assert [tensor.type.shape for tensor in graph.outputs] == [np.asarray(item).shape for item in expected]
    report = Report(graph)
    assert report.complete
    assert report.total.macs == macs
    assert report.total.flops == 2 * macs + other


def test_a_tree_that_contains_itself_is_refused() -> None:
    from flopscope.errors import InputError

    looped = {**_TREE, "nodes_truenodeids": [1, 0, 0, 0, 0], **_REGRESSION, "n_targets": 2}
    with pytest.raises(InputError, match="its own descendant"):
        trace(model("TreeEnsembleRegressor", looped, 1))


def test_a_map_becomes_a_row() -> None:
    entry = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    node = helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", string_vocabulary=["a", "b", "c"])
    graph = helper.make_graph([node], "one", [helper.make_value_info("x", entry)], [helper.make_empty_tensor_value_info("y")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8)
    for given in ({}, {"x": {"a": 1.0, "c": 2.0}}):
        traced = trace(proto, [], given)
        assert [str(tensor.type) for tensor in traced.outputs] == ["float32[1, 3]"]
        assert Report(traced).complete
