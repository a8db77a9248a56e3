"""Ops below the public functions, on every device, packed or fused: their cost is that of what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

import flopscope
from flopscope.graph import Packed
from tests.rules.calls import cost, t

aten = torch.ops.aten
e = torch.empty


def counts(function: Callable[..., Any], *inputs: Tensor) -> tuple[int, int]:
    report = flopscope.analyze(function, *inputs)
    assert report.uncounted == []
    return report.total.macs, report.total.flops - 2 * report.total.macs


# -- recurrent ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "layer"), [(2, nn.LSTM), (3, nn.GRU), (1, nn.RNN)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrent_kernel_costs_what_its_layer_costs(mode: int, layer: Any, bidirectional: bool) -> None:
    model = layer(5, 6, 2, bidirectional=bidirectional)
    weights = tuple(t(*p.shape) for p in model.parameters())
    whole = counts(model, e(7, 2, 5))
    facts = {"hx": t(4, 2, 6), "mode": mode, "hidden_size": 6, "num_layers": 2, "batch_first": False, "batch_sizes": (), "bidirectional": bidirectional}  # fmt: skip
    x = t(7, 2, 5)
    assert cost("aten::_cudnn_rnn", t(7, 2, 6), input=x, weight=weights, **facts) == whole
    assert cost("aten::miopen_rnn", t(7, 2, 6), input=x, weight=weights, **facts) == whole
    macs, _ = cost("aten::_cudnn_rnn_backward", x, input=x, weight=weights, **facts, output_mask=(True, True, True, True))
    assert macs == 2 * whole[0]
    assert cost("aten::_cudnn_rnn_backward", x, input=x, weight=weights, **facts, output_mask=(True, True, True, False))[0] == whole[0]


def test_a_layer_of_onednn() -> None:
    model = nn.LSTM(5, 6)
    weights = {f"weight{i}": t(*p.shape) for i, p in enumerate(model.parameters())}
    facts = {"hx_": t(1, 2, 6), "mode": 2, "hidden_size": 6, "num_layers": 1, "batch_sizes": (), "bidirectional": False}
    assert cost("aten::mkldnn_rnn_layer", t(7, 2, 6), input=t(7, 2, 5), **weights, **facts) == counts(model, e(7, 2, 5))


@pytest.mark.parametrize(("name", "gates", "cell"), [("lstm", 4, nn.LSTMCell), ("gru", 3, nn.GRUCell)])
def test_fused_gates_and_two_products_are_a_cell(name: str, gates: int, cell: Any) -> None:
    model = cell(5, 6)
    macs, other = counts(model, e(2, 5))
    state = {"cx" if name == "lstm" else "hx": t(2, 6)}
    biases = {"input_bias": t(gates * 6), "hidden_bias": t(gates * 6)}
    fused = cost(f"aten::_thnn_fused_{name}_cell", t(2, 6), input_gates=t(2, gates * 6), hidden_gates=t(2, gates * 6), **state, **biases)
    assert (macs, other) == (2 * gates * 6 * (5 + 6), fused[1])


# -- attention --------------------------------------------------------------------------------------------------------------


def test_every_kernel_of_attention_costs_what_attention_costs() -> None:
    expected = counts(nn.functional.scaled_dot_product_attention, e(2, 3, 4, 8), e(2, 3, 5, 8), e(2, 3, 5, 8))
    q, k = t(2, 4, 3, 8), t(2, 5, 3, 8)
    for name in ("_flash_attention_forward", "_efficient_attention_forward"):
        assert (
            cost(f"aten::{name}", q, query=q, key=k, value=k, dropout_p=0.0, max_q=4, max_k=5, is_causal=False, custom_mask_type=0)
            == expected
        )
    q, k = t(2, 3, 4, 8), t(2, 3, 5, 8)
    assert cost("aten::_cudnn_attention_forward", q, query=q, key=k, value=k, max_q=4, max_k=5) == expected
    assert cost("aten::_triton_scaled_dot_attention", q, q=q, k=k, v=k) == expected
    assert cost("onnx::Attention", q, k, k, t(2, 3, 4, 5), Q=q, K=k, V=k) == expected
    # Packed one after the other: every query as if it met the longest sequence of keys.
    q, k = t(8, 3, 8), t(10, 3, 8)
    packed = cost("aten::_flash_attention_forward", q, query=q, key=k, value=k, cum_seq_q=t(3, dtype="int32"), cum_seq_k=t(3, dtype="int32"), max_q=4, max_k=5, dropout_p=0.0)  # fmt: skip
    assert packed == expected


# -- packed and small numbers -----------------------------------------------------------------------------------------------


def test_products_with_packed_weights_are_products() -> None:
    macs = 6 * 16 * 24
    x, out = t(6, 16, dtype="bfloat16"), t(6, 24, dtype="bfloat16")
    assert cost("aten::_weight_int8pack_mm", out, self=x, mat2=t(24, 16, dtype="int8"), scales=t(24)) == (macs, 6 * 24)
    int4 = {"mat2": t(3, 1, 32, 4, dtype="int32"), "qGroupSize": 16, "qScaleAndZeros": t(1, 24, 2)}
    assert cost("aten::_weight_int4pack_mm", out, self=x, **int4) == (macs, 2 * 16 * 24)
    scaled = {"self": x, "mat2": t(16, 24, dtype="float8_e4m3fn"), "scale_a": (t(1),), "scale_b": (t(1),)}
    assert cost("aten::_scaled_mm_v2", out, **scaled) == (macs, 0)
    assert cost("mkldnn::_linear_pointwise", out, X=x, W=t(24, 16), B=t(24), attr="relu") == (macs, 2 * 6 * 24)
    assert cost("aten::_sparse_semi_structured_linear", out, input=x, weight=t(24, 8), meta=t(24, 1)) == (macs // 2, 0)
    assert cost("aten::cudnn_convolution_relu", t(1, 8, 4, 4), self=t(1, 3, 6, 6), weight=t(8, 3, 3, 3), bias=t(8)) == (
        8 * 16 * 27,
        2 * 8 * 16,
    )


def quantized(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """The counts of the quantised op inside a module, apart from those of getting in and out."""
    x = torch.zeros(shape)
    model = torch.ao.nn.quantized.Quantize(0.1, 0, torch.quint8), module, torch.ao.nn.quantized.DeQuantize()
    report = flopscope.analyze(nn.Sequential(*model), x)
    assert report.uncounted == []
    found = [row for row in report.ops if row.scope.startswith("1")]
    return sum(row.cost.macs for row in found), sum(row.cost.flops - 2 * row.cost.macs for row in found)


@pytest.mark.filterwarnings("ignore")
def test_quantized_modules_cost_the_macs_of_what_they_were() -> None:
    nnq = torch.ao.nn.quantized
    conv = nn.Conv2d(4, 6, 3, groups=2)
    transposed = nn.ConvTranspose2d(4, 6, 3, stride=2)
    assert quantized(nnq.Conv2d(4, 6, 3, groups=2), (1, 4, 8, 8)) == (counts(conv, e(1, 4, 8, 8))[0], (1 + 5) * 6 * 36)
    assert quantized(nnq.ConvTranspose2d(4, 6, 3, stride=2), (1, 4, 5, 5))[0] == counts(transposed, e(1, 4, 5, 5))[0]
    assert quantized(nnq.Linear(4, 6), (3, 4)) == (3 * 4 * 6, (1 + 5) * 18)
    dynamic = torch.ao.nn.quantized.dynamic.LSTM(5, 6, 2, bidirectional=True)
    assert counts(dynamic, e(7, 2, 5))[0] == counts(nn.LSTM(5, 6, 2, bidirectional=True), e(7, 2, 5))[0]
    assert counts(torch.ao.nn.quantized.dynamic.Linear(4, 6), torch.zeros(3, 4))[0] == 3 * 4 * 6


def test_a_packed_weight_is_read_once_and_prints_its_shape() -> None:
    packed = Packed(t(6, 4, dtype="qint8"), t(6))
    assert repr(packed) == "packed qint8[6, 4] + float32[6]"
    from flopscope.graph import Signature
    from flopscope.rules import price

    arguments = {"X": t(3, 4, dtype="quint8"), "W_prepack": packed, "Y_scale_i": 0.1, "Y_zero_point_i": 0}
    found = price(Signature("quantized::linear", "quantized::linear", arguments, (t(3, 6, dtype="quint8"),)))
    assert found is not None
    assert (found.elements_read, found.bytes_read) == (12 + 24 + 6, 12 + 24 + 6 * 4)


# -- lists of tensors -------------------------------------------------------------------------------------------------------

LIST = (t(3, 4), t(5))


@pytest.mark.parametrize(
    ("target", "arguments", "per_element"),
    [
        ("_fused_adam", {"weight_decay": 0.0, "amsgrad": False, "maximize": False}, 13),
        ("_fused_adam", {"weight_decay": 0.1, "amsgrad": True, "maximize": True}, 13 + 2 + 1 + 1),
        ("_fused_adamw", {"weight_decay": 0.1, "amsgrad": False, "maximize": False}, 13 + 1),
        ("_fused_sgd", {"weight_decay": 0.0, "momentum": 0.0, "nesterov": False, "maximize": False, "is_first_step": False}, 2),
        ("_fused_sgd", {"weight_decay": 0.1, "momentum": 0.9, "nesterov": True, "maximize": False, "is_first_step": False}, 2 + 2 + 3 + 2),
        ("_fused_adagrad", {"weight_decay": 0.0, "maximize": False}, 7),
    ],
)
def test_optimizers(target: str, arguments: dict[str, Any], per_element: int) -> None:
    lists = {"self": LIST, "grads": LIST}
    assert cost(f"aten::{target}", *LIST, effect="inplace", **lists, **arguments) == (0, per_element * 17)


def test_a_list_costs_what_its_tensors_cost() -> None:
    a, b = torch.zeros(3, 4), torch.zeros(5)
    assert counts(lambda a, b: torch._foreach_add([a, b], [a, b]), a, b) == (0, 17)
    assert counts(lambda a, b: torch._foreach_add([a, b], [a, b], alpha=2), a, b) == (0, 2 * 17)
    assert counts(lambda a, b: torch._foreach_lerp([a, b], [a, b], 0.5), a, b) == (0, 3 * 17)
    assert counts(lambda a, b: torch._foreach_norm([a, b]), a, b) == (0, 2 * 17 + 2)
    assert counts(lambda a, b: torch._foreach_sqrt_([a.clone(), b.clone()]), a, b) == (0, 17)
    assert counts(lambda a, b: torch._foreach_sigmoid([a, b]), a, b) == (0, 4 * 17)


# -- the rest, one line each ------------------------------------------------------------------------------------------------

tv = torch.ops.torchvision
boxes = torch.tensor([[0.0, 0, 0, 4, 4], [0, 1, 1, 5, 5]])
CASES: list[tuple[str, Callable[..., Any], tuple[Tensor, ...], int, int]] = [
    ("roi_align adaptive", lambda x: tv.roi_align(x, boxes, 1.0, 2, 2, -1, False), (e(1, 3, 8, 8),), 0, 2 * 3 * 4 * (8 * 4 + 1)),
    ("roi_align 3 x 3", lambda x: tv.roi_align(x, boxes, 1.0, 2, 2, 3, False), (e(1, 3, 8, 8),), 0, 2 * 3 * 4 * (8 * 9 + 1)),
    ("roi_pool, as if each box covered the image", lambda x: tv.roi_pool(x, boxes, 1.0, 2, 2)[0], (e(1, 3, 8, 8),), 0, 2 * 3 * 64),
    ("ps_roi_align", lambda x: tv.ps_roi_align(x, boxes, 1.0, 2, 2, 2)[0], (e(1, 12, 8, 8),), 0, 2 * 3 * 4 * (8 * 4 + 1)),
    ("ps_roi_pool", lambda x: tv.ps_roi_pool(x, boxes, 1.0, 2, 2)[0], (e(1, 12, 8, 8),), 0, 2 * 3 * 64 + 2 * 3 * 4),
    ("nms, all pairs", lambda b: torchvision.ops.nms(b[:, 1:], b[:, 0], 0.5), (torch.rand(5, 5),), 0, 12 * 10),
    ("quantize: scale, round, shift, clamp", lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255), (e(3, 4),), 0, 7 * 12),
    ("pdist", torch.pdist, (e(5, 3),), 0, 10 * (3 * 3 + 1)),
    ("cov", torch.cov, (e(3, 10),), 9 * 10, 2 * 30 + 3 + 9),
    ("corrcoef", torch.corrcoef, (e(3, 10),), 9 * 10, 2 * 30 + 3 + 9 + 2 * 9 + 3),
    ("diff of order 2", lambda x: torch.diff(x, 2), (e(3, 10),), 0, 3 * (9 + 8)),
    ("trapezoid", lambda y: torch.trapezoid(y, dim=-1), (e(3, 10),), 0, 3 * 3 * 9 + 3),
    ("trapezoid of positions", lambda y, x: torch.trapezoid(y, x, dim=-1), (e(3, 10), e(3, 10)), 0, 4 * 3 * 9 + 3),
    ("gradient", lambda x: torch.gradient(x)[0], (e(10),), 0, 2 * 10),
    ("histogram of 8 even bins", lambda x: torch.histogram(x, 8)[0], (torch.rand(10),), 0, 10 * 4),
    ("ctc of lengths", lambda x: nn.functional.ctc_loss(x, torch.ones(2, 3, dtype=torch.int64), (7, 5), (3, 2)), (torch.rand(7, 2, 4),), 0, 13 * (7 * 7 + 5 * 5)),
    ("istft", lambda x: torch.istft(x, 8, window=torch.ones(8)), (torch.zeros(5, 9, dtype=torch.complex64),), 0, 9 * (5 * 8 * 3 // 2 + 4 * 8)),
    ("rotary", lambda x, c: torch.onnx.ops.rotary_embedding(x, c, c, torch.zeros(1, 5, dtype=torch.int64)), (e(1, 2, 5, 8), e(5, 4)), 0, 3 * 2 * 5 * 8),
    ("poisson", torch.poisson, (torch.rand(3, 4),), 0, 12),
    ("entropy", torch.special.entr, (e(3, 4),), 0, 2 * 12),
    ("polynomial", lambda x: torch.special.hermite_polynomial_h(x, 3), (e(3, 4),), 0, 12),
    ("cast", lambda x: x.to(torch.float16), (e(3, 4),), 0, 0),
    ("primitive", torch.ops.prims.add, (e(3, 4), e(3, 4)), 0, 12),
    ("primitive erf", torch.ops.prims.erf_inv, (e(3, 4),), 0, 12),
]  # fmt: skip


@pytest.mark.parametrize(("function", "inputs", "macs", "other"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_cost(function: Callable[..., Any], inputs: tuple[Tensor, ...], macs: int, other: int) -> None:
    assert counts(function, *inputs) == (macs, other)


def test_communication_counts_the_share_of_one_process() -> None:
    x = t(8, 4)
    assert cost("_c10d_functional::all_reduce", x, input=x, reduce_op="sum", group_name="0") == (0, 32)
    assert cost("_c10d_functional::reduce_scatter_tensor", t(2, 4), input=x, reduce_op="sum", group_size=4, group_name="0") == (0, 3 * 8)
    assert cost("_c10d_functional::all_gather_into_tensor", t(32, 4), input=x, group_size=4, group_name="0") == (0, 0)
    assert cost("_c10d_functional::wait_tensor", x, tensor=x) == (0, 0)
