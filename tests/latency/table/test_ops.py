"""Ops made from their signatures alone: what they return is what the trace says, and what they multiply is what the rules count."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import flopscope
from flopscope.errors import InputError
from flopscope.graph import Graph, Signature
from flopscope.latency.features import features_of
from flopscope.latency.table import keys
from flopscope.latency.table.calls import call_of
from flopscope.latency.table.compiled import compiled_graph, program
from flopscope.latency.table.contractions import priced_parts
from flopscope.latency.table.eager import keys_of
from flopscope.rules import price
from flopscope.tensor_type import TensorType


def vision(name: str) -> tuple[Any, Any]:
    with flopscope.building():
        return getattr(torchvision.models, name)(weights=None).eval(), torch.empty(1, 3, 64, 64)


def encoder() -> tuple[Any, Any]:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 2, 64, batch_first=True), 1).eval(), torch.empty(2, 5, 32)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.rnn = nn.Embedding(11, 8), nn.LSTM(8, 8, batch_first=True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x, _ = self.rnn(self.table(ids))
        x = x.masked_fill(ids[..., None] > 3, 0.5)
        y = torch.cat([x, x.transpose(1, 2).reshape(x.shape)], -1)
        y[:, 0] += 1
        return torch.einsum("bik,bjk->bij", y, y).softmax(-1).to(torch.float64).sum(-1)


def odd() -> tuple[Any, Any]:
    return Odd().eval(), torch.zeros(2, 8, dtype=torch.int64)


MAKERS: list[Callable[[], tuple[Any, Any]]] = [
    *(lambda name=name: vision(name) for name in ("mobilenet_v3_small", "swin_t", "shufflenet_v2_x0_5", "densenet121")),
    encoder,
    odd,
]  # type: ignore[list-item]


@pytest.fixture(scope="module", params=range(len(MAKERS)))
def graph(request: pytest.FixtureRequest) -> Graph:
    model, example = MAKERS[request.param]()
    found: Graph = flopscope.analyze(model, example).graph
    return found


def results(value: Any) -> list[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else list(value)


def test_every_op_runs_and_returns_what_the_trace_says(graph: Graph) -> None:
    for key, op in keys_of(graph).items():
        call = call_of(op.signature)
        assert call is not None, op
        with torch.inference_mode():
            found = results(call())
        for wanted, tensor in zip(op.outputs, found, strict=True):
            assert (tuple(tensor.shape), str(tensor.dtype)) == (wanted.shape, f"torch.{wanted.type.dtype}"), op
            if wanted.type.strides is not None and tensor.numel():
                assert tensor.stride() == wanted.type.strides or 1 in tensor.shape, op
        assert keys.written(keys.read(key)) == key


def test_inputs_are_written_and_weights_are_not() -> None:
    conv = nn.Conv2d(2, 3, 1)
    op = next(op for op in flopscope.analyze(conv, "1x2x4x4").graph.ops if op.kind == "conv")
    call = call_of(op.signature, weights=[1, 2])
    assert call is not None
    assert [tuple(tensor.shape) for tensor in call.inputs] == [(1, 2, 4, 4)]


def test_a_kernel_of_a_compiled_model_computes_what_its_ops_do(graph: Graph) -> None:
    inside = 0
    for op in compiled_graph(graph).ops:
        function = program(op.signature)
        tensors = [torch.zeros(type.shape, dtype=getattr(torch, type.dtype)) for type in op.signature.inputs]
        with torch.inference_mode():
            found = function(*tensors)
        assert [tuple(tensor.shape) for tensor in found] == [value.shape for value in op.outputs]
        inside += len(json.loads(op.signature["program"])[0])
    assert inside >= sum(1 for op in graph.ops if (cost := price(op.signature)) is not None and cost.flops)


def test_kernels_have_the_products_of_the_model(graph: Graph) -> None:
    whole = sum(op.times * (cost.macs if (cost := price(op.signature)) else 0) for op in graph.ops)
    parts = 0
    for op in compiled_graph(graph).ops:
        parts += op.times * sum(cost.macs if (cost := price(part)) else 0 for part in priced_parts(op.signature))
    assert parts == whole


def test_a_key_that_cannot_be_read_is_named() -> None:
    for text in ("{", "[]", '{"target": 1}', '{"target":"a","kind":"b","effect":"x","arguments":{},"outputs":[]}'):
        with pytest.raises(InputError, match="no key of a table of times"):
            keys.read(text)
    symbolic = Signature("a", "a", {"x": TensorType(("B",))}, ())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one size of each dimension"):
        keys.written(symbolic)


class Tail(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU6(), nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.ReLU())
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x).mean((2, 3))
        z: torch.Tensor = self.head(y) @ torch.ones(5, 4)
        return z


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("onnx") / "tail.onnx"
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Tail().eval(), (torch.zeros(1, 3, 16, 16),), str(path), dynamo=False, opset_version=17)
    return path


def test_nodes_of_onnx_runtime_have_the_products_of_the_file(file: Path) -> None:
    from flopscope.latency.table.nodes import runtime_graph

    found = runtime_graph(file)
    macs = sum(cost.macs if (cost := price(part)) else 0 for op in found.ops for part in priced_parts(op.signature))
    assert macs == flopscope.analyze(str(file)).total.macs == 8 * 8 * 16 * 27 + 8 * 8 * 16 * 9 + 16 * 5 + 5 * 4
    assert not any(op.target.endswith("Clip") for op in found.ops)  # it is a part of its convolution
    for op in found.ops:
        assert features_of(op.signature)["output_elements"] == op.outputs[0].type.elements


def test_nodes_run_alone_and_are_timed(file: Path) -> None:
    from flopscope.latency.table.nodes import runtime_graph
    from flopscope.latency.table.onnx_runtime import measured_nodes, node_keys
    from flopscope.latency.table.rounds import LEAST_ROUNDS

    ops = node_keys(runtime_graph(file))
    asked = frozenset(list(ops)[:2])
    runs, failed = measured_nodes(ops, asked, threads=1)
    assert not failed
    assert runs.keys() == asked
    assert all(len(found) >= LEAST_ROUNDS and min(found) >= 0 for found in runs.values())


def test_a_node_that_cannot_run_alone_is_named_and_the_others_are_timed(file: Path) -> None:
    from dataclasses import replace

    from flopscope.latency.table.nodes import runtime_graph
    from flopscope.latency.table.onnx_runtime import measured_nodes, node_keys

    found = runtime_graph(file)
    broken = found.ops[-1]
    broken.signature = replace(broken.signature, target="onnxruntime::ai.onnx::NoSuchOp")
    ops = node_keys(found)
    runs, failed = measured_nodes(ops, frozenset(ops), threads=1)
    assert len(failed) == 1
    assert "NoSuchOp cannot be run alone" in next(iter(failed.values()))
    assert len(runs) == len(ops) - 1


def test_a_file_that_the_runtime_cannot_load_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from flopscope.latency.table.nodes import runtime_graph

    path = tmp_path / "bad.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(InputError, match=r"ONNX Runtime cannot run .*bad\.onnx"):
        runtime_graph(path)
