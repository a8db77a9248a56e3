"""Gradients: contractions against loops that run the forward pass and note what each product owes; the others as arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import flopscope
from tests.rules.calls import cost, t

aten = torch.ops.aten
e = torch.empty
sizes = st.integers(1, 3)


def counts(function: Callable[..., Any], *inputs: Tensor) -> tuple[int, int]:
    report = flopscope.analyze(function, *inputs)
    assert report.uncounted == []
    return report.total.macs, report.total.flops - 2 * report.total.macs


@given(sizes, sizes, sizes, sizes, st.integers(1, 2), st.tuples(st.booleans(), st.booleans(), st.booleans()))
@settings(max_examples=30, deadline=None)
def test_convolution(batch: int, channels: int, out: int, kernel: int, stride: int, mask: tuple[bool, bool, bool]) -> None:
    """Every product of the forward pass adds one product to each gradient of its factors."""
    size = kernel + 2
    after = (size - kernel) // stride + 1
    to_input = to_weight = to_bias = 0
    for _ in itertools.product(range(batch), range(out), range(after), range(after)):
        to_bias += 1
        for _ in itertools.product(range(channels), range(kernel), range(kernel)):
            to_input += 1  # gx[c, i * stride + k] += gy[o, i] * w[o, c, k]
            to_weight += 1  # gw[o, c, k] += gy[o, i] * x[c, i * stride + k]
    x, w, g = e(batch, channels, size, size), e(out, channels, kernel, kernel), e(batch, out, after, after)
    macs, other = counts(
        lambda g, x, w: aten.convolution_backward(g, x, w, [out], [stride] * 2, [0, 0], [1, 1], False, [0, 0], 1, list(mask)), g, x, w
    )
    assert macs == mask[0] * to_input + mask[1] * to_weight
    assert other == mask[2] * to_bias


@given(sizes, sizes, sizes, sizes)
@settings(max_examples=10, deadline=None)
def test_transposed_convolution(channels: int, out: int, kernel: int, groups: int) -> None:
    """The gradients of a transposed convolution are as many products as the layer itself, twice."""
    layer = torch.nn.ConvTranspose2d(channels * groups, out * groups, kernel, stride=2, groups=groups, bias=False)
    x = e(2, channels * groups, 4, 4)
    g = layer(x)
    forward = flopscope.analyze(layer, x).total.macs
    back = lambda g, x: aten.convolution_backward(  # noqa: E731
        g, x, layer.weight.detach(), None, [2, 2], [0, 0], [1, 1], True, [0, 0], groups, [True, True, False]
    )
    assert counts(back, g.detach(), x) == (2 * forward, 0)


def attention_gradient(heads: int, length: int, keys: int, width: int, value_width: int) -> int:
    """Products of the recomputing algorithm: scores again, then the gradients of v, p, q and k."""
    macs = 0
    for _ in itertools.product(range(heads), range(length), range(keys)):
        macs += width  # s = q . k
        macs += value_width  # gv += p * go
        macs += value_width  # gp = go . v
        macs += width  # gq += gs * k
        macs += width  # gk += gs * q
    return macs


@pytest.mark.parametrize(("batch", "heads", "length", "keys", "width"), [(1, 2, 3, 4, 5), (2, 3, 4, 4, 8)])
def test_attention(batch: int, heads: int, length: int, keys: int, width: int) -> None:
    q, k = t(batch, heads, length, width), t(batch, heads, keys, width)
    expected = attention_gradient(batch * heads, length, keys, width, width)
    scores = batch * heads * length * keys
    arguments = {"grad_out": q, "query": q, "key": k, "value": k, "out": q, "logsumexp": t(batch, heads, length)}
    name = "aten::_scaled_dot_product_flash_attention_for_cpu_backward"
    plain = cost(name, q, k, k, **arguments, dropout_p=0.0, is_causal=False)
    assert plain == (expected, 6 * scores + 2 * batch * heads * length * width)
    assert cost(name, q, k, k, **arguments, dropout_p=0.0, is_causal=True) == (expected, plain[1] + scores)
    # The kernel below has positions before heads, and means the same.
    q, k = t(batch, length, heads, width), t(batch, keys, heads, width)
    arguments = {"grad_out": q, "query": q, "key": k, "value": k, "out": q, "max_q": length, "max_k": keys}
    assert cost("aten::_flash_attention_backward", q, k, k, **arguments, dropout_p=0.0, is_causal=False) == plain


def test_an_epoch_of_a_linear_layer() -> None:
    """Forward once, backward twice as much: the rule of thumb of 6 FLOPs per parameter and token."""
    tokens, i, o = 7, 5, 3
    x, w, g = e(tokens, i), e(o, i), e(tokens, o)
    forward = counts(torch.nn.functional.linear, x, w)[0]
    both = counts(lambda g, x, w: (g @ w, g.t() @ x), g, x, w)[0]
    assert 2 * (forward + both) == 6 * tokens * i * o
    assert cost("aten::linear_backward", t(tokens, i), t(o, i), t(o), self=t(tokens, i), grad_output=t(tokens, o), weight=t(o, i), output_mask=(True,) * 3) == (2 * forward, tokens * o)  # fmt: skip


x34, g34 = e(3, 4), e(3, 4)
image, small = e(2, 3, 8, 8), e(2, 3, 4, 4)
i64 = torch.zeros(3, 4, dtype=torch.int64)

# id, function, inputs, MACs, other FLOPs
CASES: list[tuple[str, Callable[..., Any], tuple[Tensor, ...], int, int]] = [
    # -- activations: g * f'(x), written out beside each --------------------------------------------------------------------
    ("relu", lambda g, x: aten.threshold_backward(g, x, 0), (g34, x34), 0, 12),
    ("sigmoid: g y (1 - y)", aten.sigmoid_backward, (g34, x34), 0, 3 * 12),
    ("tanh: g (1 - y y)", aten.tanh_backward, (g34, x34), 0, 3 * 12),
    ("silu: g s (1 + x (1 - s))", aten.silu_backward, (g34, x34), 0, (4 + 5) * 12),
    ("gelu", aten.gelu_backward, (g34, x34), 0, 11 * 12),
    ("gelu tanh", lambda g, x: aten.gelu_backward(g, x, approximate="tanh"), (g34, x34), 0, 18 * 12),
    ("hardswish", aten.hardswish_backward, (g34, x34), 0, 5 * 12),
    ("leaky relu", lambda g, x: aten.leaky_relu_backward(g, x, 0.1, False), (g34, x34), 0, 2 * 12),
    ("glu", lambda g, x: aten.glu_backward(g, x, -1), (e(3, 2), x34), 0, 8 * 6),
    ("dropout: g mask scale", lambda g, x: aten.native_dropout_backward(g, x > 0, 2.0), (g34, x34), 0, 2 * 12 + 12),
    ("softmax: y (g - sum(g y))", lambda g, y: aten._softmax_backward_data(g, y, -1, torch.float32), (g34, x34), 0, 4 * 12),
    ("log softmax", lambda g, y: aten._log_softmax_backward_data(g, y, -1, torch.float32), (g34, x34), 0, 4 * 12),
    # -- normalisation ------------------------------------------------------------------------------------------------------
    ("batch norm in training", lambda g, x, w: aten.native_batch_norm_backward(g, x, w, None, None, w, w, True, 1e-5, [True] * 3), (image, image, e(3)), 0, 9 * 384 + 4 * 3),
    ("batch norm in evaluation", lambda g, x, w: aten.native_batch_norm_backward(g, x, w, w, w, None, None, False, 1e-5, [True] * 3), (image, image, e(3)), 0, (1 + 4 + 1) * 384 + 2 * 3),
    ("layer norm", lambda g, x, m, w: aten.native_layer_norm_backward(g, x, [4], m, m, w, w, [True] * 3), (g34, x34, e(3, 1), e(4)), 0, (2 + 3 + 4 + 1 + 2 + 1) * 12 + 4 * 3),
    ("layer norm of constants", lambda g, x, m: aten.native_layer_norm_backward(g, x, [4], m, m, None, None, [True, False, False]), (g34, x34, e(3, 1)), 0, 9 * 12 + 4 * 3),
    ("group norm", lambda g, x, m, w: aten.native_group_norm_backward(g, x, m, m, w, 2, 3, 64, 1, [True] * 3), (image, image, e(2, 1), e(3)), 0, 13 * 384 + 4 * 2),
    # -- pooling, padding, resampling -----------------------------------------------------------------------------------------
    ("max pool", lambda g, x, i: aten.max_pool2d_with_indices_backward(g, x, [2, 2], [2, 2], [0, 0], [1, 1], False, i.long()), (small, image, small), 0, 96),
    ("average pool: a division, 4 additions", lambda g, x: aten.avg_pool2d_backward(g, x, [2, 2], [2, 2], [0, 0], False, True, None), (small, image), 0, (1 + 4) * 96),
    ("adaptive average pool to 3 of 8", aten._adaptive_avg_pool2d_backward, (e(1, 1, 3, 3), e(1, 1, 8, 8)), 0, 9 + (3 + 4 + 3) ** 2),
    ("reflection pad", lambda g, x: aten.reflection_pad2d_backward(g, x, [1, 1, 1, 1]), (e(2, 3, 10, 10), image), 0, 600),
    ("nearest", lambda g: aten.upsample_nearest2d_backward(g, [8, 8], [2, 3, 4, 4], None, None), (image,), 0, 384),
    ("bilinear: 4 neighbours", lambda g: aten.upsample_bilinear2d_backward(g, [8, 8], [2, 3, 4, 4], False, None, None), (image,), 0, 2 * 4 * 384),
    ("bicubic: 16 neighbours", lambda g: aten.upsample_bicubic2d_backward(g, [8, 8], [2, 3, 4, 4], False, None, None), (image,), 0, 2 * 16 * 384),
    ("grid sample", lambda g, x, p: aten.grid_sampler_2d_backward(g, x, p, 0, 0, False, [True, True]), (small, image, e(2, 4, 4, 2)), 0, 4 * (2 + 2 * 2 + 1) * 96 + 8 * 2 * 32),
    # -- lookups ------------------------------------------------------------------------------------------------------------
    ("embedding", lambda g: aten.embedding_dense_backward(g, i64, 10, -1, False), (e(3, 4, 6),), 0, 72),
    ("select", lambda g: aten.select_backward(g, [3, 4], 0, 1), (e(4),), 0, 0),
    ("unfold", lambda g: aten.unfold_backward(g, [10], 0, 4, 2), (e(4, 4),), 0, 16),
    # -- distances and losses -----------------------------------------------------------------------------------------------
    ("cdist", lambda g, a, b, d: aten._cdist_backward(g, a, b, 2.0, d), (e(3, 5), e(3, 4), e(5, 4), e(3, 5)), 0, 15 * (3 * 4 + 1)),
    ("pdist", lambda g, x, d: aten._pdist_backward(g, x, 2.0, d), (e(6), e(4, 3), e(6)), 0, 6 * (4 * 3 + 1)),
    ("mse", lambda g, x, y: aten.mse_loss_backward(g, x, y, 1), (e(()), x34, g34), 0, 3 * 12),
    ("nll", lambda g, x, n: aten.nll_loss_backward(g, x, torch.zeros(3, dtype=torch.int64), None, 1, -100, n), (e(()), x34, e(())), 0, 2 * 3),
]  # fmt: skip


@pytest.mark.parametrize(("function", "inputs", "macs", "other"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_cost(function: Callable[..., Any], inputs: tuple[Tensor, ...], macs: int, other: int) -> None:
    assert counts(function, *inputs) == (macs, other)


def test_what_is_put_back_is_all_that_is_read() -> None:
    """The shape of the input is a fact; its elements are not read."""
    total = flopscope.analyze(lambda g, x: aten.avg_pool2d_backward(g, x, [2, 2], [2, 2], [0, 0], False, True, None), small, image).total
    assert (total.elements_read, total.elements_written) == (96, 384)
    total = flopscope.analyze(lambda g: aten.select_backward(g, [300, 4], 0, 1), e(4)).total
    assert (total.elements_read, total.elements_written) == (4, 1200)
