"""Contrib ops: what they count, written out as arithmetic, and types as onnxruntime really gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flopscope.errors import InputError
from flopscope.frontends.onnx import trace
from flopscope.frontends.onnx.ops import known_ops
from flopscope.report import Report
from tests.frontends.onnx.contrib_models import CASES, Case, f, model_of

IDS = [f"{case.op} {case.name}".strip() for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_op_is_counted_as_its_formula_says(case: Case) -> None:
    report = Report(trace(model_of(case)))
    report.graph.verify()
    assert report.complete, [row.op for row in report.uncounted] + report.notes
    assert report.total.macs == case.macs


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_types_are_those_that_onnxruntime_gives(case: Case) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = model_of(case)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        results = session.run(None, {f"x{i}": x for i, x in enumerate(case.inputs) if x is not None and i not in case.constants})
    except Exception as error:  # noqa: BLE001 - the installed build has no such kernel on a CPU, or none for these types
        pytest.skip(f"not on this CPU: {str(error)[:200]}")
    found = [(value.type.shape, value.type.dtype) for value in trace(model).outputs]
    if case.op == "Unique":  # an upper bound, which arange(6) reaches
        assert len(np.unique(case.inputs[0])) == 6
    assert found == [(result.shape, str(result.dtype)) for result in results]


def test_every_op_of_the_table_is_among_the_cases_or_known_to_be_uncounted() -> None:
    known = {op for domain, op in known_ops() if domain == "com.microsoft"}
    uncounted = {"GreedySearch", "BeamSearch", "WhisperBeamSearch", "Sampling", "NGramRepeatBlock"}
    assert known == {case.op for case in CASES if case.domain == "com.microsoft"} | uncounted


def _one(op: str, inputs: tuple[Any, ...], outputs: int = 1, constants: tuple[int, ...] = (), **attributes: Any) -> Report:
    return Report(trace(model_of(Case(op, inputs, 0, attributes, outputs, constants=constants))))


def test_what_does_not_fit_is_refused_with_the_node_and_the_reason() -> None:
    with pytest.raises(InputError, match=r"'node' \(FusedMatMul\): .*\[3, 16\] and \[7, 16\]"):
        _one("FusedMatMul", (f(3, 16), f(7, 16)))
    with pytest.raises(InputError, match=r"'node' \(Attention\): its inputs .* do not fit"):
        _one("Attention", (f(3, 16), f(16, 48), f(48)), num_heads=4)
    with pytest.raises(InputError, match=r"K = 64"):
        _one("MatMulNBits", (f(3, 32), np.ones((8, 2, 16), np.uint8), f(16)), constants=(1, 2), K=64, N=8, bits=4, block_size=32)


def test_skip_layer_norm_costs_its_additions_and_the_norm() -> None:
    # 2 additions per element (skip and bias), 6 + 2 for the norm with weight and bias, 4 per row
    assert _one("SkipLayerNormalization", (f(2, 5, 16), f(2, 5, 16), f(16), f(16), f(16))).total.flops == 160 * (2 + 8) + 10 * 4


def test_biased_gelu_costs_the_addition_too() -> None:
    assert _one("BiasGelu", (f(2, 5, 16), f(16))).total.flops == 160 * (1 + 5)
    assert _one("FastGelu", (f(2, 5, 16), f(16))).total.flops == 160 * (1 + 9)


def test_rotation_costs_two_products_and_an_addition_of_the_part_that_is_rotated() -> None:
    positions = np.arange(5).reshape(1, 5).repeat(2, 0)
    assert _one("RotaryEmbedding", (f(2, 4, 5, 8), positions, f(5, 4), f(5, 4))).total.flops == 3 * 2 * 4 * 5 * 8
    part = _one("RotaryEmbedding", (f(2, 4, 5, 8), positions, f(5, 2), f(5, 2)), rotary_embedding_dim=4, num_heads=4)
    assert part.total.flops == 3 * 2 * 4 * 5 * 4


def test_an_attention_over_an_unknown_cache_and_experts_say_so() -> None:
    grouped = _one("GroupQueryAttention", (f(1, 1, 16), f(1, 1, 8), f(1, 1, 8), f(1, 2, 7, 4), f(1, 2, 7, 4), np.array([7], np.int32), np.array(8, np.int32)), 3, num_heads=4, kv_num_heads=2)  # fmt: skip
    assert grouped.total.macs == 2 * 4 * (7 + 1) * 4
    assert any("over all positions that the shapes allow" in note for note in grouped.notes)
    routed = _one("MoE", (f(6, 8), f(6, 4), f(4, 12, 8), None, f(4, 8, 12)), k=1, activation_type="gelu")
    assert routed.total.macs == 6 * 2 * 8 * 12
    assert any("routed with the model's own k" in note for note in routed.notes)


def test_a_fused_attention_costs_what_the_layers_of_pytorch_cost() -> None:
    import torch

    import flopscope

    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = torch.nn.Linear(16, 48)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part.view(2, 5, 4, 4).transpose(1, 2) for part in self.project(x).chunk(3, -1))
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)

    wanted = flopscope.analyze(Layer(), torch.zeros(2, 5, 16)).total
    fused = _one("Attention", (f(2, 5, 16), f(16, 48), f(48)), constants=(1, 2), num_heads=4, unidirectional=1).total
    assert (fused.macs, fused.flops, fused.params) == (wanted.macs, wanted.flops, wanted.params)


def test_gated_experts_have_three_matrices() -> None:
    three = _one("MoE", (f(6, 8), f(6, 4), f(4, 12, 8), None, f(4, 8, 12), None, f(4, 12, 8)), k=2, activation_type="silu")
    assert three.total.macs == 6 * 2 * 3 * 8 * 12
    fused = _one("MoE", (f(6, 8), f(6, 4), f(4, 24, 8), None, f(4, 8, 12)), k=2, activation_type="swiglu")
    assert fused.total.macs == 6 * 2 * (8 * 24 + 12 * 8)


def test_generation_is_not_counted_and_says_why() -> None:
    from onnx import helper

    node = helper.make_node("GreedySearch", ["ids", "length"], ["y"], domain="com.microsoft", eos_token_id=1, pad_token_id=1)
    ids = helper.make_tensor_value_info("ids", 6, [1, 4])
    length = helper.make_tensor("length", 6, [1], [20])
    graph = helper.make_graph([node], "g", [ids], [helper.make_tensor_value_info("y", 6, [1, 20])], [length])
    report = Report(trace(helper.make_model(graph, opset_imports=[helper.make_opsetid("com.microsoft", 1)])))
    assert not report.complete
    assert "as many steps as the tokens" in report.to_text()
