"""Every way to write attention counts the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import flopscope

B, H, L, S, E, V = 2, 3, 5, 7, 4, 6
query, key, value = torch.rand(B, H, L, E), torch.rand(B, H, S, E), torch.rand(B, H, S, V)
MACS = B * H * L * S * E + B * H * L * S * V


def with_matmul(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.transpose(-2, -1) * E**-0.5, -1) @ v


def with_einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("bhls,bhsv->bhlv", torch.softmax(torch.einsum("bhle,bhse->bhls", q, k), -1), v)


def with_bmm(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.baddbmm(torch.zeros(B * H, L, S), q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2))
    return torch.bmm(torch.softmax(scores, -1), v.flatten(0, 1))


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=torch.ones(L, S, dtype=torch.bool))


@pytest.mark.parametrize("attention", [with_matmul, with_einsum, with_bmm, F.scaled_dot_product_attention, causal, masked])
@pytest.mark.parametrize("execute", ["never", "always"])
def test_forms_of_attention(attention: Callable[..., Tensor], execute: str) -> None:
    report = flopscope.analyze(attention, query, key, value, execute=execute)  # type: ignore[arg-type]
    assert report.total.macs == MACS
    assert report.uncounted == []


def test_grouped_query_attention_counts_every_query_head() -> None:
    few = torch.rand(B, 1, S, E)
    report = flopscope.analyze(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True), query, few, few)
    assert report.total.macs == B * H * L * S * 2 * E


def multi_head(need_weights: bool, batch_first: bool = True) -> Callable[[], tuple[nn.Module, tuple[Tensor, ...], bool]]:
    def make() -> tuple[nn.Module, tuple[Tensor, ...], bool]:
        model = nn.MultiheadAttention(12, 4, batch_first=batch_first)
        x = torch.rand(2, 5, 12) if batch_first else torch.rand(5, 2, 12)
        return model, (x, x, x), need_weights

    return make


PROJECTIONS = 4 * (2 * 5) * 12 * 12
PRODUCTS = 2 * (2 * 4) * 5 * 5 * 3


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("execute", ["never", "always"])
@pytest.mark.parametrize("training", [False, True])
def test_multi_head_attention(need_weights: bool, batch_first: bool, requires_grad: bool, execute: str, training: bool) -> None:
    """Also the fused fast path, which a real run of a model in evaluation takes."""
    model, inputs, _ = multi_head(need_weights, batch_first)()
    model.requires_grad_(requires_grad).train(training)
    report = flopscope.analyze(lambda *xs: model(*xs, need_weights=need_weights), *inputs, execute=execute)  # type: ignore[arg-type]
    assert report.total.macs == PROJECTIONS + PRODUCTS
    assert report.uncounted == []


@pytest.mark.parametrize("execute", ["never", "always"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("layers", [1, 2])
def test_transformer_encoder(execute: str, activation: str, layers: int) -> None:
    layer = nn.TransformerEncoderLayer(12, 4, 20, batch_first=True, activation=activation)
    model = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False).eval()
    report = flopscope.analyze(model, torch.rand(2, 5, 12), execute=execute)  # type: ignore[arg-type]
    assert report.total.macs == layers * (PROJECTIONS + PRODUCTS + 2 * (2 * 5) * 12 * 20)
    assert report.uncounted == []


def test_the_fast_path_was_really_taken() -> None:
    model = nn.TransformerEncoderLayer(12, 4, 20, batch_first=True).eval()
    report = flopscope.analyze(model, torch.rand(2, 5, 12), execute="always")
    assert [row.op for row in report.ops] == ["aten::_transformer_encoder_layer_fwd"]


def test_a_functional_and_a_module_network_agree() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    conv, linear = model[0], model[4]

    def functional(x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, conv.weight, conv.bias))
        return F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), linear.weight, linear.bias)

    one, other = flopscope.analyze(model, "1x3x8x8").total, flopscope.analyze(functional, "1x3x8x8").total
    assert (one.macs, one.flops, one.access) == (other.macs, other.flops, other.access)
    assert one.macs == 4 * 36 * 27 + 4 * 2


def test_a_trace_on_shapes_moves_what_a_real_run_moves() -> None:
    """The layout that attention returns decides whether the next reshape copies."""
    model = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True).eval()  # three heads: no fast path
    x = torch.rand(2, 5, 12)
    shapes, real = (flopscope.analyze(model, x, execute=execute).total for execute in ("never", "always"))  # type: ignore[arg-type]
    assert shapes == real
