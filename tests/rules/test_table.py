"""One line per rule: the op on a small case, and its cost written as arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import flopscope

e = torch.empty
i64 = torch.zeros(3, 4, dtype=torch.int64)


def bidirectional_gru() -> nn.Module:
    return nn.GRU(5, 6, 2, bidirectional=True)


# id, model, inputs, MACs, other FLOPs (FLOPs = 2 * MACs + other)
CASES: list[tuple[str, Callable[..., Any], tuple[Any, ...], int, int]] = [
    # -- contractions ------------------------------------------------------------------------------------------------------
    ("conv2d", nn.Conv2d(3, 8, 3, padding=1), (e(2, 3, 10, 10),), 2 * 8 * 10 * 10 * 3 * 3 * 3, 2 * 8 * 10 * 10),
    ("conv2d depthwise", nn.Conv2d(8, 8, 3, groups=8, bias=False), (e(1, 8, 10, 10),), 8 * 8 * 8 * 3 * 3, 0),
    ("conv2d grouped", nn.Conv2d(8, 12, 1, groups=4, bias=False), (e(1, 8, 5, 5),), 12 * 5 * 5 * 2, 0),
    ("conv2d dilated", nn.Conv2d(1, 1, 3, dilation=2, bias=False), (e(1, 1, 9, 9),), 5 * 5 * 9, 0),
    ("conv2d same", nn.Conv2d(2, 3, 3, padding="same", bias=False), (e(1, 2, 7, 7),), 3 * 7 * 7 * 2 * 9, 0),
    ("conv2d unbatched", nn.Conv2d(2, 3, 3, bias=False), (e(2, 7, 7),), 3 * 5 * 5 * 2 * 9, 0),
    ("conv1d", nn.Conv1d(4, 6, 5, stride=2, bias=False), (e(2, 4, 11),), 2 * 6 * 4 * 4 * 5, 0),
    ("conv3d", nn.Conv3d(2, 3, (1, 2, 3), bias=False), (e(1, 2, 4, 4, 4),), 3 * (4 * 3 * 2) * 2 * (1 * 2 * 3), 0),
    ("conv_transpose2d", nn.ConvTranspose2d(4, 4, 3, stride=2, bias=False), (e(1, 4, 10, 10),), 10 * 10 * 4 * 4 * 9, 0),
    ("conv_transpose2d grouped", nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), (e(1, 4, 5, 5),), 5 * 5 * 4 * 3 * 4, 6 * 10 * 10),
    ("linear", nn.Linear(7, 5), (e(2, 3, 7),), 2 * 3 * 7 * 5, 2 * 3 * 5),
    ("linear vector", nn.Linear(7, 5, bias=False), (e(7),), 7 * 5, 0),
    ("mv", torch.mv, (e(3, 4), e(4)), 3 * 4, 0),
    ("dot", torch.dot, (e(5), e(5)), 5, 0),
    ("inner", torch.inner, (e(2, 5), e(3, 5)), 2 * 3 * 5, 0),
    ("outer", torch.outer, (e(3), e(4)), 3 * 4, 0),
    ("addmm", torch.addmm, (e(2, 4), e(2, 3), e(3, 4)), 2 * 3 * 4, 2 * 4),
    ("addmv", torch.addmv, (e(2), e(2, 3), e(3)), 2 * 3, 2),
    ("baddbmm", torch.baddbmm, (e(5, 2, 4), e(5, 2, 3), e(5, 3, 4)), 5 * 2 * 3 * 4, 5 * 2 * 4),
    ("addbmm", torch.addbmm, (e(2, 4), e(5, 2, 3), e(5, 3, 4)), 5 * 2 * 3 * 4, 2 * 4),
    ("tensordot", lambda a, b: torch.tensordot(a, b, dims=([1, 2], [0, 1])), (e(2, 3, 4), e(3, 4, 5)), 2 * 3 * 4 * 5, 0),
    ("multi_dot", lambda *m: torch.linalg.multi_dot(m), (e(10, 30), e(30, 5), e(5, 60)), 10 * 30 * 5 + 10 * 5 * 60, 0),
    ("bilinear", nn.Bilinear(3, 4, 5), (e(2, 3), e(2, 4)), 2 * 5 * 3 * 4 + 2 * 5 * 4, 2 * 5),
    ("einsum ellipsis", lambda a, b: torch.einsum("...ij,...jk->...ik", a, b), (e(2, 3, 4, 5), e(2, 3, 5, 6)), 2 * 3 * 4 * 5 * 6, 0),
    ("einsum implicit", lambda a, b: torch.einsum("ij,jk", a, b), (e(2, 3), e(3, 4)), 2 * 3 * 4, 0),
    ("einsum summed before", lambda a, b: torch.einsum("ij,jk->k", a, b), (e(2, 3), e(3, 4)), 3 * 4, 2 * 3),
    ("einsum trace", lambda a: torch.einsum("ii->", a), (e(4, 4),), 0, 4),
    ("einsum diagonal", lambda a: torch.einsum("ii->i", a), (e(4, 4),), 0, 0),
    ("einsum three", lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c), (e(2, 3), e(3, 4), e(4, 5)), 2 * 3 * 4 + 2 * 4 * 5, 0),
    ("rnn", nn.RNN(5, 6, bias=False), (e(7, 2, 5),), 7 * 2 * (6 * 5 + 6 * 6), 7 * 2 * 6 * 2),
    ("lstm", nn.LSTM(5, 6), (e(7, 2, 5),), 7 * 2 * (24 * 5 + 24 * 6), 7 * 2 * (2 * 24 + 6 * (4 + 3 * 4 + 2 + 4))),
    ("lstm projected", nn.LSTM(5, 6, proj_size=3, bias=False), (e(7, 2, 5),), 7 * 2 * (24 * 5 + 24 * 3 + 3 * 6), 7 * 2 * 6 * 22),
    ("gru", bidirectional_gru(), (e(7, 2, 5),), 7 * 2 * 2 * ((18 * 5 + 18 * 6) + (18 * 12 + 18 * 6)), 7 * 2 * 4 * (36 + 6 * (3 + 2 * 4 + 1 + 5))),
    ("lstm cell", nn.LSTMCell(5, 6, bias=False), (e(2, 5),), 2 * (24 * 5 + 24 * 6), 2 * 6 * 22),
    ("affine_grid", lambda t: F.affine_grid(t, [2, 3, 4, 5], align_corners=False), (e(2, 2, 3),), 2 * 4 * 5 * 2 * 3, 0),
    # -- normalisation -----------------------------------------------------------------------------------------------------
    ("batch_norm eval", nn.BatchNorm2d(4).eval(), (e(2, 4, 3, 3),), 0, 4 * 72 + 2 * 4),
    ("batch_norm train", nn.BatchNorm2d(4).train(), (e(2, 4, 3, 3),), 0, 4 * 72 + 4 * 72 + 4 * 4 + 1),
    ("layer_norm", nn.LayerNorm(6), (e(2, 3, 6),), 0, 8 * 36 + 4 * 6),
    ("layer_norm plain", nn.LayerNorm(6, elementwise_affine=False), (e(2, 3, 6),), 0, 6 * 36 + 4 * 6),
    ("group_norm", nn.GroupNorm(2, 4), (e(2, 4, 3, 3),), 0, 8 * 72 + 4 * 2 * 2),
    ("instance_norm", nn.InstanceNorm2d(4), (e(2, 4, 3, 3),), 0, 6 * 72 + 4 * 2 * 4),
    ("rms_norm", nn.RMSNorm(6), (e(2, 3, 6),), 0, 4 * 36 + 3 * 6),
    # -- activation, elementwise, softmax ----------------------------------------------------------------------------------
    ("relu", nn.ReLU(), (e(3, 4),), 0, 12),
    ("relu in place", nn.ReLU(inplace=True), (e(3, 4),), 0, 12),
    ("relu6", nn.ReLU6(), (e(3, 4),), 0, 2 * 12),
    ("sigmoid", nn.Sigmoid(), (e(3, 4),), 0, 4 * 12),
    ("silu", nn.SiLU(), (e(3, 4),), 0, 5 * 12),
    ("hardswish", nn.Hardswish(), (e(3, 4),), 0, 5 * 12),
    ("gelu", nn.GELU(), (e(3, 4),), 0, 5 * 12),
    ("gelu tanh", nn.GELU("tanh"), (e(3, 4),), 0, 9 * 12),
    ("prelu", nn.PReLU(), (e(3, 4),), 0, 2 * 12),
    ("glu", nn.GLU(), (e(3, 4),), 0, 5 * 6),
    ("softmax", nn.Softmax(-1), (e(3, 4),), 0, 5 * 12),
    ("log_softmax", nn.LogSoftmax(-1), (e(3, 4),), 0, 5 * 12),
    ("add broadcast", torch.add, (e(3, 1), e(1, 4)), 0, 12),
    ("add scaled", lambda a, b: torch.add(a, b, alpha=2), (e(3, 4), e(3, 4)), 0, 2 * 12),
    ("addcmul", torch.addcmul, (e(3, 4), e(3, 4), e(3, 4)), 0, 3 * 12),
    ("rsqrt", torch.rsqrt, (e(3, 4),), 0, 2 * 12),
    ("dropout eval", nn.Dropout().eval(), (e(3, 4),), 0, 0),
    ("dropout train", nn.Dropout().train(), (e(3, 4),), 0, 3 * 12),
    # -- reduction, pooling, sorting ---------------------------------------------------------------------------------------
    ("sum", lambda x: x.sum(1), (e(3, 4),), 0, 12),
    ("mean", lambda x: x.mean((2, 3)), (e(2, 3, 4, 5),), 0, 120 + 6),
    ("max", lambda x: x.max(1)[0], (e(3, 4),), 0, 12),
    ("maximum of two", lambda x, y: torch.max(x, y), (e(3, 4), e(3, 4)), 0, 12),
    ("var", lambda x: x.var(1), (e(3, 4),), 0, 4 * 12 + 2 * 3),
    ("std", lambda x: x.std(1), (e(3, 4),), 0, 4 * 12 + 3 * 3),
    ("norm", lambda x: torch.linalg.vector_norm(x, dim=1), (e(3, 4),), 0, 2 * 12 + 3),
    ("cumsum of a long row", lambda x: x.cumsum(1), (e(3, 8, 15),), 0, 3 * 8 * 15),
    ("cdist", torch.cdist, (e(3, 4), e(5, 4)), 0, 3 * 5 * (3 * 4 + 1)),
    ("avg_pool2d", nn.AvgPool2d(2), (e(1, 3, 8, 8),), 0, 3 * 4 * 4 * 4),
    ("max_pool2d", nn.MaxPool2d(3, 2, 1), (e(1, 3, 8, 8),), 0, 3 * 4 * 4 * 8),
    ("max_pool1d", nn.MaxPool1d(3), (e(1, 3, 9),), 0, 3 * 3 * 2),
    ("adaptive_avg_pool2d", nn.AdaptiveAvgPool2d(1), (e(1, 3, 8, 8),), 0, 3 * 64),
    ("adaptive_avg_pool1d", nn.AdaptiveAvgPool1d(2), (e(1, 3, 8),), 0, 3 * 8),
    ("adaptive_max_pool2d", nn.AdaptiveMaxPool2d(2), (e(1, 3, 8, 8),), 0, 3 * 64 - 3 * 4),
    ("sort", lambda x: x.sort(-1)[0], (e(3, 8),), 0, 24 * 3),
    ("topk", lambda x: x.topk(3)[0], (e(2, 8),), 0, 16 * 2),
    # -- resampling, Fourier -----------------------------------------------------------------------------------------------
    ("nearest", nn.Upsample(scale_factor=2), (e(1, 2, 3, 3),), 0, 0),
    ("bilinear upsampling", nn.Upsample(scale_factor=2, mode="bilinear"), (e(1, 2, 3, 3),), 0, 3 * 3 * 72),
    ("grid_sample", lambda x, g: F.grid_sample(x, g, align_corners=False), (e(1, 3, 5, 5), e(1, 4, 4, 2)), 0, 7 * 3 * 16 + 6 * 2 * 16),
    ("fft", torch.fft.fft, (e(3, 8, dtype=torch.complex64),), 0, 3 * 5 * 8 * 3),
    ("rfft", torch.fft.rfft, (e(3, 8),), 0, 3 * 5 * 8 * 3 // 2),
    ("fft2", torch.fft.fft2, (e(3, 4, 8, dtype=torch.complex64),), 0, 3 * 5 * 32 * 5),
    # -- movement ----------------------------------------------------------------------------------------------------------
    ("embedding", nn.Embedding(10, 6), (i64,), 0, 0),
    ("embedding_bag", nn.EmbeddingBag(10, 6, mode="sum"), (i64,), 0, 3 * 4 * 6 + 3),
    ("concatenation", lambda a, b: torch.cat([a, b]), (e(3, 4), e(3, 4)), 0, 0),
    ("split", lambda x: x.chunk(2, 1), (e(1, 4, 2, 2),), 0, 0),
    ("channel shuffle", nn.ChannelShuffle(2), (e(1, 4, 2, 2),), 0, 0),
    ("pixel shuffle", nn.PixelShuffle(2), (e(1, 4, 2, 2),), 0, 0),
    ("fold", nn.Fold((4, 4), 2), (e(1, 4, 9),), 0, 4 * 9),
    ("unfold", nn.Unfold(2), (e(1, 1, 4, 4),), 0, 0),
    ("grouped_mm", torch._grouped_mm, (e(6, 16, dtype=torch.bfloat16), e(2, 16, 24, dtype=torch.bfloat16), torch.tensor([2, 6], dtype=torch.int32)), 6 * 16 * 24, 0),
]  # fmt: skip


@pytest.mark.parametrize(("model", "inputs", "macs", "other"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_cost(model: Callable[..., Any], inputs: tuple[Any, ...], macs: int, other: int) -> None:
    report = flopscope.analyze(model, *inputs)
    report.graph.verify()
    assert report.uncounted == []
    assert (report.total.macs, report.total.flops - 2 * report.total.macs) == (macs, other)
    assert all(type(count) is int for name, count in report.to_dict()["total"].items() if name != "intensity")


# id, model, inputs, elements read, elements written
MOVED: list[tuple[str, Callable[..., Any], tuple[Any, ...], int, int]] = [
    ("1x1 convolution", nn.Conv2d(6, 8, 1, bias=False), (e(1, 6, 5, 5),), 25 * 6 + 6 * 8, 25 * 8),
    ("view", lambda x: x.view(12), (e(3, 4),), 0, 0),
    ("transpose", lambda x: x.t(), (e(3, 4),), 0, 0),
    ("copy of a transpose", lambda x: x.t().contiguous(), (e(3, 4),), 12, 12),
    ("reshape that copies", lambda x: x.t().reshape(12), (e(3, 4),), 12, 12),
    ("no copy of what is contiguous", lambda x: x.contiguous(), (e(3, 4),), 0, 0),
    ("concatenation", lambda a, b: torch.cat([a, b]), (e(3, 4), e(5, 4)), 32, 32),
    ("split", lambda x: x.split(2), (e(4, 3),), 0, 0),
    ("channel shuffle", nn.ChannelShuffle(2), (e(1, 4, 3, 3),), 36, 36),
    ("expanded operand", lambda a, b: a + b.expand(3, 4), (e(3, 4), e(1, 4)), 12 + 4, 12),
    ("broadcast operand", lambda a, b: a + b, (e(3, 4), e(1, 4)), 12 + 4, 12),
    ("embedding", nn.Embedding(1000, 6), (i64,), 12 * 6 + 12, 12 * 6),
    ("index", lambda x, i: x[i], (e(1000, 6), torch.zeros(4, dtype=torch.int64)), 4 * 6 + 4, 4 * 6),
    ("dropout in evaluation", nn.Dropout().eval(), (e(3, 4),), 0, 0),
    ("assignment to a slice", lambda x, y: x[0].copy_(y), (e(3, 4), e(4)), 4, 4),
    ("zeros", lambda x: torch.zeros_like(x), (e(3, 4),), 0, 12),
    ("attention", F.scaled_dot_product_attention, (e(1, 2, 3, 4), e(1, 2, 5, 4), e(1, 2, 5, 4)), 24 + 40 + 40, 24),
]  # fmt: skip


@pytest.mark.parametrize(("model", "inputs", "read", "written"), [case[1:] for case in MOVED], ids=[case[0] for case in MOVED])
def test_access(model: Callable[..., Any], inputs: tuple[Any, ...], read: int, written: int) -> None:
    total = flopscope.analyze(model, *inputs).total
    assert (total.elements_read, total.elements_written) == (read, written)
    assert total.access == read + written


def test_bytes_follow_the_dtypes() -> None:
    half = flopscope.analyze(nn.Linear(8, 4).half(), e(2, 8, dtype=torch.float16)).total
    single = flopscope.analyze(nn.Linear(8, 4), e(2, 8)).total
    assert (half.bytes_read, half.bytes_written) == (2 * (16 + 32 + 4), 2 * 8)
    assert (single.bytes_read, single.bytes_written) == (2 * half.bytes_read, 2 * half.bytes_written)
    embedding = flopscope.analyze(nn.Embedding(1000, 6), i64).total
    assert embedding.bytes_read == 4 * 12 * 6 + 8 * 12


@pytest.mark.parametrize("packed", [False, True])
def test_packed_sequences_count_their_elements_only(packed: bool) -> None:
    model = nn.LSTM(5, 6, bias=False)
    x = torch.zeros(4, 2, 5)
    if not packed:
        assert flopscope.analyze(model, x).total.macs == 8 * (24 * 5 + 24 * 6)
        return
    sequence = nn.utils.rnn.pack_padded_sequence(x, [4, 1])
    assert flopscope.analyze(lambda: model(sequence)).total.macs == (4 + 1) * (24 * 5 + 24 * 6)
