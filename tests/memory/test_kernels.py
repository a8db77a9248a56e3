"""The growth of live bytes during single ops, against the events of the allocator when the op runs for real on this CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from flopscope.analyses.memory.kernels import Host, growths
from flopscope.analyses.memory.storages import storages
from flopscope.analyses.memory.timeline import timeline
from flopscope.frontends.torch.trace import trace
from tests.memory.measuring import growth

SCALARS = 40
"""Bytes of scalars that torch wraps into tensors for the time of a call, which are left out."""
last = torch.channels_last
aten = torch.ops.aten

Case = tuple[Callable[..., Any], list[Tensor]]


def _conv(batch: int, channels: int, size: int, filters: int, window: int, form: Any = None, dtype: Any = None, **rest: Any) -> Case:
    x = torch.randn(batch, channels, size, size, dtype=dtype)
    weight = torch.randn(filters, channels // rest.get("groups", 1), window, window, dtype=dtype)
    if form is not None:
        x = x.to(memory_format=form)
    return lambda x, w: F.conv2d(x, w, **rest), [x, weight]


def _conv_cases() -> dict[str, Case]:
    return {
        "3x3": _conv(1, 64, 28, 64, 3, padding=1),
        "strided": _conv(2, 64, 28, 96, 3, padding=1, stride=2),
        "channels that fill no block": _conv(1, 24, 56, 40, 3, padding=1),
        "dilated": _conv(1, 64, 28, 64, 3, padding=2, dilation=2),
        "stem": _conv(1, 3, 112, 64, 7, padding=3, stride=2),
        "stem, odd filters": _conv(2, 3, 64, 24, 3, padding=1, stride=2),
        "one channel": _conv(1, 1, 28, 6, 5),
        "small": _conv(1, 17, 28, 35, 3),
        "1x1": _conv(1, 64, 28, 256, 1),
        "1x1, strided": _conv(1, 256, 28, 512, 1, stride=2),
        "1x1, strided unevenly": _conv(1, 512, 7, 128, 1, stride=2),
        "1x1, batch of 16": _conv(16, 32, 14, 64, 1),
        "depthwise": _conv(1, 32, 56, 32, 3, padding=1, groups=32),
        "depthwise, padded": _conv(1, 72, 28, 72, 5, padding=2, stride=2, groups=72),
        "groups of 8": _conv(1, 128, 28, 128, 3, padding=1, groups=16),
        "groups of 4": _conv(1, 128, 28, 128, 3, padding=1, groups=32),
        "groups of 3": _conv(1, 24, 28, 24, 3, padding=1, groups=8),
        "channels last": _conv(1, 64, 28, 64, 3, last, padding=1),
        "channels last, depthwise": _conv(1, 64, 28, 64, 7, last, padding=3, groups=64),
        "double": _conv(2, 16, 28, 16, 3, None, torch.float64, padding=1),
        "bfloat16": _conv(2, 24, 28, 40, 3, None, torch.bfloat16, padding=1),
        "bfloat16, stem": _conv(1, 3, 64, 32, 7, None, torch.bfloat16, padding=3, stride=2),
        "bfloat16, 1x1": _conv(2, 64, 28, 128, 1, None, torch.bfloat16),
        "3d": (lambda x, w: F.conv3d(x, w, padding=1), [torch.randn(2, 32, 8, 14, 14), torch.randn(32, 32, 3, 3, 3)]),
        "1d": (lambda x, w: F.conv1d(x, w, padding=1), [torch.randn(2, 80, 200), torch.randn(128, 80, 3)]),
        "transposed": (lambda x, w: F.conv_transpose2d(x, w, stride=2), [torch.randn(1, 64, 28, 28), torch.randn(64, 32, 2, 2)]),
        "transposed with a bias": (
            lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2),
            [torch.randn(1, 64, 28, 28), torch.randn(64, 32, 2, 2), torch.randn(32)],
        ),
    }


def _other_cases() -> dict[str, Case]:
    x, rows = torch.randn(2, 64, 28, 28), torch.randn(2, 197, 96)
    per_channel = [torch.randn(64), torch.rand(64), torch.randn(64), torch.randn(64)]
    heads = torch.randn(2, 12, 197, 64)
    few = torch.randn(2, 12, 197, 32)
    return {
        "max pool": (lambda x: F.max_pool2d(x, 3, 2, 1), [x]),
        "max pool 3d": (lambda x: F.max_pool3d(x, 2), [torch.randn(1, 8, 8, 16, 16)]),
        "average of all": (lambda x: F.adaptive_avg_pool2d(x, 1), [x]),
        "batch norm": (F.batch_norm, [x, *per_channel]),
        "batch norm, training": (lambda x, *rest: F.batch_norm(x, *rest, training=True), [x, *per_channel]),
        "layer norm": (lambda x: F.layer_norm(x, [96]), [rows]),
        "layer norm, transposed": (lambda x: F.layer_norm(x.transpose(0, 1), [96]), [rows]),
        "group norm": (lambda x: F.group_norm(x, 32), [x]),
        "group norm, channels last": (lambda x: F.group_norm(x, 32), [x.to(memory_format=last)]),
        "instance norm": (F.instance_norm, [x]),
        "rms norm": (lambda x: F.rms_norm(x, [96]), [rows]),
        "local response norm": (lambda x: F.local_response_norm(x, 5), [x]),
        "softmax": (lambda x: x.softmax(-1), [x]),
        "softmax, transposed": (lambda x: x.transpose(1, 3).softmax(-1), [x]),
        "attention": (F.scaled_dot_product_attention, [heads] * 3),
        "causal attention": (lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True), [heads]),
        "attention with booleans": (F.scaled_dot_product_attention, [*[heads] * 3, torch.ones(197, 197, dtype=torch.bool)]),
        "attention of one query": (F.scaled_dot_product_attention, [heads[:, :, :1].clone(), heads, heads]),
        "attention over a long text": (F.scaled_dot_product_attention, [torch.randn(1, 2, 900, 64)] * 3),
        "attention in bfloat16": (F.scaled_dot_product_attention, [heads.bfloat16()] * 3),
        "attention with values of another width": (F.scaled_dot_product_attention, [heads, heads, few]),
        "linear": (F.linear, [rows, torch.randn(64, 96), torch.randn(64)]),
        "linear, transposed": (F.linear, [rows.transpose(0, 1), torch.randn(64, 96), torch.randn(64)]),
        "linear, channels last": (lambda x, w: F.linear(x.permute(0, 2, 3, 1), w), [x, torch.randn(8, 64)]),
        "product": (lambda q: q @ q.transpose(-1, -2), [heads]),
        "product of views": (lambda q: q.transpose(1, 2) @ q.transpose(1, 2).transpose(-1, -2), [heads]),
        "einsum": (lambda q: torch.einsum("bhqd,bhkd->bqhk", q, q), [heads]),
        "roll": (lambda x: x.roll((1, 1), (2, 3)), [x]),
        "dropout": (lambda x: F.dropout(x, 0.5, True), [x]),
        "GELU": (F.gelu, [x]),
        "concatenation": (lambda x: torch.cat([x, x], 1), [x]),
        "upsampling": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), [x]),
        "GRU": (torch.nn.GRU(16, 32, 2, batch_first=True).eval(), [torch.randn(4, 10, 16)]),
        "bidirectional GRU": (torch.nn.GRU(16, 32, 2, bidirectional=True).eval(), [torch.randn(4, 10, 16)]),
        "RNN": (torch.nn.RNN(16, 32).eval(), [torch.randn(4, 10, 16)]),
        "gathering": (F.embedding, [torch.zeros(2, 20, dtype=torch.int64), torch.randn(50, 16)]),
    }


CASES = {**_conv_cases(), **_other_cases()}


def _measured_and_predicted(function: Callable[..., Any], inputs: list[Tensor]) -> tuple[int, int]:
    if "AVX512" not in torch.backends.cpu.get_cpu_capability():
        pytest.skip("the kernels were measured with AVX-512")
    graph = trace(function, inputs)
    line = timeline(storages(graph), len(graph.ops), growths(graph))
    with torch.inference_mode():
        measured = growth(lambda: function(*inputs))
    return measured, line.peak_bytes - line.before_bytes


def _backward_cases() -> dict[str, Case]:
    x, per_channel = torch.randn(2, 32, 28, 28), [torch.randn(32) for _ in range(3)]
    heads, rows = torch.randn(2, 4, 200, 32), torch.randn(2, 50, 96)
    result, sums = aten._scaled_dot_product_flash_attention_for_cpu(heads, heads, heads)
    mean, deviation = torch.randn(2, 50, 1), torch.rand(2, 50, 1)

    def convolution(window: int, step: int, groups: int, form: Any = torch.contiguous_format, spread: int = 1) -> Case:
        source = x.to(memory_format=form)
        weight = torch.randn(32, 32 // groups, window, window).to(memory_format=form)
        padding = window // 2 * spread
        made = F.conv2d(source, weight, None, step, padding, spread, groups)
        options = [[32], [step] * 2, [padding] * 2, [spread] * 2, False, [0, 0], groups, [True, True, True]]
        return lambda g, x, w: aten.convolution_backward(g, x, w, *options), [made, source, weight]

    return {
        "3x3": convolution(3, 1, 1),
        "strided": convolution(3, 2, 1),
        "depthwise": convolution(3, 1, 32),
        "wide and depthwise": convolution(5, 1, 32),
        "groups of 4": convolution(3, 1, 8),
        "dilated": convolution(3, 1, 1, spread=4),
        "dilated beyond the picture": convolution(3, 1, 1, spread=36),
        "channels last": convolution(3, 1, 1, last),
        "channels last, wide and depthwise": convolution(5, 1, 32, last),
        "batch norm": (
            lambda g, x, w, m, v: aten.native_batch_norm_backward(g, x, w, m, v, m, v, True, 1e-5, [True] * 3),
            [x, x, *per_channel],
        ),
        "layer norm": (
            lambda g, x, m, d, w: aten.native_layer_norm_backward(g, x, [96], m, d, w, w, [True] * 3),
            [rows, rows, mean, deviation, torch.randn(96)],
        ),
        "attention": (
            lambda g, q, o, s: aten._scaled_dot_product_flash_attention_for_cpu_backward(g, q, q, q, o, s, 0.0, False),
            [result, heads, result, sums],
        ),
        "attention, gradient in another order": (
            lambda g, q, o, s: aten._scaled_dot_product_flash_attention_for_cpu_backward(g, q, q, q, o, s, 0.0, False),
            [result.contiguous(), heads, result, sums],
        ),
        "product with an expanded gradient": (lambda g, w: aten.mm(g, w), [torch.randn(1, 1).expand(20, 30), torch.randn(30, 40)]),
        "upsampling of an expanded gradient": (
            lambda g: aten.upsample_bilinear2d_backward(g, [28, 28], [1, 8, 14, 14], False),
            [torch.randn(1, 1, 1, 1).expand(1, 8, 28, 28)],
        ),
        "max pool": (
            lambda g, x, i: aten.max_pool2d_with_indices_backward(g, x, [2, 2], [2, 2], [0, 0], [1, 1], False, i),
            [torch.randn(2, 32, 14, 14), x, torch.zeros(2, 32, 14, 14, dtype=torch.int64)],
        ),
        "embedding": (lambda g, i: aten.embedding_dense_backward(g, i, 40, -1, False), [rows, torch.zeros(2, 50, dtype=torch.int64)]),
    }


BACKWARD = _backward_cases()


@pytest.mark.parametrize("name", BACKWARD)
def test_growth_of_gradients_is_what_the_allocator_saw(name: str) -> None:
    """To the byte, but for the buffers of batched matrix products of strided convolutions."""
    measured, predicted = _measured_and_predicted(*BACKWARD[name])
    if name == "strided":
        assert measured == pytest.approx(predicted, rel=0.02)
    else:
        assert measured - SCALARS <= predicted <= measured + SCALARS


@pytest.mark.parametrize("name", CASES)
def test_growth_is_what_the_allocator_saw(name: str) -> None:
    """To the byte, but for wrapped scalars."""
    measured, predicted = _measured_and_predicted(*CASES[name])
    assert measured - SCALARS <= predicted <= measured + SCALARS


def test_an_lstm_is_within_a_few_percent() -> None:
    """What oneDNN keeps beside the gates is not known exactly."""
    measured, predicted = _measured_and_predicted(torch.nn.LSTM(128, 256, 2).eval(), [torch.randn(50, 8, 128)])
    assert measured == pytest.approx(predicted, rel=0.02)


def _peak_on(host: Host, function: Callable[..., Any], inputs: list[Tensor]) -> int:
    graph = trace(function, inputs)
    line = timeline(storages(graph), len(graph.ops), growths(graph, host))
    return line.peak_bytes - line.before_bytes


def test_channels_are_padded_to_the_registers_of_the_host() -> None:
    """Of 24 channels, AVX-512 makes two blocks of 16, and AVX2 three of 8: copies of input, weight and result."""
    case = _conv(1, 24, 56, 24, 3, padding=1)
    places, weights = 56 * 56 * 4, 9 * 4
    assert _peak_on(Host(lanes=16), *case) == 32 * places + 32 * 32 * weights + 32 * places
    assert _peak_on(Host(lanes=8), *case) == 24 * places + 24 * 24 * weights + 24 * places


def test_each_thread_of_attention_has_its_buffers() -> None:
    """Of 64 queries by 197 keys, two numbers per query, and 64 results of 64 numbers."""
    case = F.scaled_dot_product_attention, [torch.randn(1, 2, 197, 64)] * 3
    result, sums = 2 * 197 * 64 * 4, 2 * 197 * 4
    for threads in (1, 2, 16):
        assert _peak_on(Host(threads=threads), *case) == result + sums + threads * 64 * (197 + 2 + 64) * 4


def test_one_thread_leaves_1x1_convolutions_to_torch() -> None:
    """With more threads oneDNN takes them, which copies input, weight and result into blocks."""
    case = _conv(1, 64, 28, 256, 1)
    x, weight, result = 64 * 28 * 28 * 4, 64 * 256 * 4, 256 * 28 * 28 * 4
    assert _peak_on(Host(threads=1), *case) == result
    assert _peak_on(Host(threads=2), *case) == max(x + weight + result, 2 * result)
