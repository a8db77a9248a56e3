"""Models of one contrib op each, with what they must count: multiply-accumulates written as arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

F, I8, U8, I32, I64, F16 = np.float32, np.int8, np.uint8, np.int32, np.int64, np.float16


@dataclass(frozen=True)
class Case:
    """One call: its inputs (an array, or ``None`` for one that is left out), attributes, and the number of its outputs."""

    op: str
    inputs: tuple[Any, ...]
    macs: int
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    name: str = ""
    constants: tuple[int, ...] = ()
    """Which inputs are weights or known numbers of the file."""
    domain: str = "com.microsoft"


def f(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(F)


def i8(*shape: int) -> Any:
    return np.random.default_rng(0).integers(-9, 9, shape).astype(I8)


def u8(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 9, shape).astype(U8)


def one(dtype: Any = F, value: float = 1) -> Any:
    return np.array(value, dtype)


S, Z = one(F, 0.1), one(U8, 3)  # a scale and a zero point
B, L, D, H = 2, 5, 16, 4  # batch, positions, width, heads
E = D // H
P, T = 3, 8  # positions in a cache, and all positions

# A projection of B*L tokens of width D to 3*D, then q.k and p.v over K keys: 2 * B*H * L*K * E.
SELF = B * L * D * 3 * D

ATTENTION = [
    Case("Attention", (f(B, L, D), f(D, 3 * D), f(3 * D)), SELF + 2 * B * H * L * L * E, {"num_heads": H}),
    Case(
        "Attention", (f(B, L, D), f(D, 3 * D), f(3 * D), None, f(2, B, H, P, E)), SELF + 2 * B * H * L * (L + P) * E,
        {"num_heads": H, "unidirectional": 1}, 2, "with a past",
    ),
    Case(  # queries and keys of width 8, values of width 32
        "Attention", (f(B, L, D), f(D, 48), f(48)), B * L * D * 48 + B * H * L * L * (2 + 8), {"num_heads": H, "qkv_hidden_sizes": [8, 8, 32]},
        1, "with widths of its own",
    ),
    Case("MultiHeadAttention", (f(B, L, D), f(B, 7, D), f(B, 7, D)), 2 * B * H * L * 7 * E, {"num_heads": H}),
    Case(
        "MultiHeadAttention", (f(B, L, D), f(B, L, D), f(B, L, D), f(3 * D), None, None, f(B, H, P, E), f(B, H, P, E)),
        2 * B * H * L * T * E, {"num_heads": H}, 3, "with a past and biases",
    ),
    Case("MultiHeadAttention", (f(B, L, H, 3, E),), 2 * B * H * L * L * E, {"num_heads": H}, 1, "packed"),
    Case("MultiHeadAttention", (f(B, L, D), f(B, 7, H, 2, E)), 2 * B * H * L * 7 * E, {"num_heads": H}, 1, "packed keys and values"),
    Case("MultiHeadAttention", (f(B, L, D), f(B, H, 7, E), f(B, H, 7, E)), 2 * B * H * L * 7 * E, {"num_heads": H}, 1, "keys of another layer"),
    Case(
        "DecoderMaskedMultiHeadAttention",
        (f(B, 1, D), f(B, 1, D), f(B, 1, D), None, None, f(B, H, T, E), f(B, H, T, E), np.array([P], I32)),
        2 * B * H * (P + 1) * E, {"num_heads": H, "past_present_share_buffer": 1}, 3, "", (7,),
    ),
    Case(  # 4 heads of queries, 2 of keys and values
        "GroupQueryAttention", (f(B, L, 32), f(B, L, 16), f(B, L, 16), None, None, np.full((B,), L - 1, I32), one(I32, L)),
        2 * B * H * L * L * 8, {"num_heads": H, "kv_num_heads": 2}, 3, "", (6,),
    ),
    Case(
        "GroupQueryAttention",
        (f(B, 1, 64 + 2 * 32), None, None, f(B, 2, P, 16), f(B, 2, P, 16), np.full((B,), P, I32), one(I32, P + 1), f(T, 8), f(T, 8)),
        2 * B * H * (P + 1) * 16, {"num_heads": H, "kv_num_heads": 2, "do_rotary": 1}, 3, "packed, rotated, with a past", (6,),
    ),
    Case("QAttention", (u8(B, L, D), i8(D, 3 * D), f(3 * D), S, S, None, Z), SELF + 2 * B * H * L * L * E, {"num_heads": H}),
    Case("PackedAttention", (f(9, D), f(D, 3 * D), f(3 * D), np.zeros((B, L), I32), np.array([0, 5, 9], I32)), 9 * D * 3 * D + 2 * H * 9 * L * E, {"num_heads": H}),
    Case("PackedMultiHeadAttention", (f(9, D), f(9, D), f(9, D), None, np.zeros((B, L), I32), np.array([0, 5, 9], I32)), 2 * H * 9 * L * E, {"num_heads": H}),
    Case("RotaryEmbedding", (f(B, H, L, E), np.arange(L).reshape(1, L).repeat(B, 0), f(L, E // 2), f(L, E // 2)), 0),
    Case("RotaryEmbedding", (f(B, L, D), np.arange(L).reshape(1, L).repeat(B, 0), f(L, E // 2), f(L, E // 2)), 0, name="without heads"),
    Case(
        "GatedRelativePositionBias",
        (f(B, L, D), f(D), f(1, H, L, L), f(E, 8), f(8), f(1, H, 1, 1)), B * H * L * E * 8, {"num_heads": H},
    ),
    Case(  # every query is met with every key, whatever the blocks leave out
        "SparseAttention",
        (
            f(1, L, 32), f(1, L, 16), f(1, L, 16), f(1, 2, T, 8), f(1, 2, T, 8), np.zeros((1, 3), I32), np.zeros((1, 2), I32), one(I32, L),
            np.full(1, L, I32),
        ),
        2 * H * L * L * 8, {"num_heads": H, "kv_num_heads": 2, "sparse_block_size": 16}, 3, "", (7,),
    ),
    Case(
        "DecoderMaskedSelfAttention", (f(B, 1, D), f(D, 3 * D), f(3 * D), None, f(2, B, H, T, E), None, np.array([P], I32)),
        B * D * 3 * D + 2 * B * H * (P + 1) * E, {"num_heads": H, "past_present_share_buffer": 1}, 2, "", (6,),
    ),
    Case("MRotaryEmbedding", (f(B, L, D), np.zeros((3, B, L), I64), f(L, E // 2), f(L, E // 2)), 0, {"num_heads": H}),
    Case("RelativePositionBias", (f(32, H), one(I64, 6), one(I64, 7)), 0, {"max_distance": 128}, constants=(1, 2)),
]  # fmt: skip

PRODUCTS = [
    Case("FusedMatMul", (f(B, 3, D), f(B, 7, D)), B * 3 * 7 * D, {"transB": 1}),
    Case("FusedMatMul", (f(B, 3, D), f(B, D, 7)), B * 3 * 7 * D, {"alpha": 0.5}, name="scaled"),
    Case("FusedMatMul", (f(3, B, D), f(D, B, 7)), B * 3 * 7 * D, {"transBatchA": 1, "transBatchB": 1}, name="batch in the middle"),
    Case("TransposeMatMul", (f(D, 3), f(D, 7)), 3 * 7 * D, {"transA": 1}),
    Case("FusedMatMulActivation", (f(3, D), f(D, 7)), 3 * 7 * D, {"activation": "Relu"}),
    Case("FusedGemm", (f(3, D), f(7, D), f(7)), 3 * 7 * D, {"activation": "Relu", "transB": 1, "alpha": 1.0, "beta": 1.0}),
    Case("FusedGemm", (f(D, 3), f(7, D), f(7)), 3 * 7 * D, {"activation": "LeakyRelu", "transA": 1, "transB": 1}, name="both transposed"),
    Case("GemmFastGelu", (f(B, 3, D), f(D, 7), f(7)), B * 3 * 7 * D),
    Case("FusedConv", (f(1, 4, 9, 9), f(8, 2, 3, 3), f(8)), 8 * 7 * 7 * 2 * 9, {"activation": "Relu", "group": 2}),
    Case("FusedConv", (f(1, 4, 9, 9), f(8, 4, 3, 3), f(8), f(1, 8, 9, 9)), 8 * 9 * 9 * 4 * 9, {"activation": "Relu", "pads": [1] * 4}, name="with a sum"),
    Case("NhwcConv", (f(1, 9, 9, 4), f(8, 3, 3, 4)), 8 * 5 * 5 * 4 * 9, {"strides": [2, 2], "pads": [1] * 4}),
    Case("NhwcFusedConv", (f(1, 9, 9, 4), f(8, 4, 3, 3), f(8)), 8 * 7 * 7 * 4 * 9, {"activation": "Relu"}),
    Case("MatMulNBits", (f(B, 3, 32), u8(7, 1, 16), f(7)), B * 3 * 32 * 7, {"K": 32, "N": 7, "bits": 4, "block_size": 32}, constants=(1, 2)),
    Case("MatMulNBits", (f(3, 64), u8(8, 2, 32), f(16)), 3 * 64 * 8, {"K": 64, "N": 8, "bits": 8, "block_size": 32}, name="of 8 bits", constants=(1, 2)),
    Case("MatMulBnb4", (f(B, 3, 32), u8(7 * 16), f(14)), B * 3 * 32 * 7, {"K": 32, "N": 7, "block_size": 16, "quant_type": 1}, constants=(1, 2)),
    Case("MatMulIntegerToFloat", (u8(B, 3, D), i8(D, 7), S, S, Z), B * 3 * D * 7),
    Case("DynamicQuantizeMatMul", (f(B, 3, D), i8(D, 7), one(F, 0.1), one(I8, 0), f(7)), B * 3 * D * 7),
    Case("MatMulFpQ4", (f(3, 64), u8(8 * 2 * 20), np.array([64, 8], I64)), 3 * 64 * 8, constants=(1, 2)),
    Case("GemmFloat8", (f(3, D), f(7, D)), 3 * 7 * D, {"transB": 1, "dtype": 1}),
    Case("SparseToDenseMatMul", (f(3, D), f(D, 7)), 3 * 7 * D),
    Case("CDist", (f(3, D), f(7, D)), 0, {"metric": "euclidean"}),
    Case("ConvTransposeWithDynamicPads", (f(1, 4, 5, 5), f(4, 6, 3, 3), np.array([1] * 4, I64)), 4 * 5 * 5 * 6 * 9, constants=(2,)),
    Case("QOrderedMatMul", (i8(1, 3, D), S, i8(D, 7), S, S), 3 * D * 7),
    Case("MatMulInteger16", (np.ones((3, D), np.int16), np.ones((D, 7), np.int16)), 3 * D * 7),
    Case("QGemm", (u8(3, D), S, Z, u8(7, D), S, Z, np.ones(7, I32), S, Z), 3 * D * 7, {"transB": 1}),
    Case("QGemm", (u8(3, D), S, Z, u8(D, 7), S, Z), 3 * D * 7, name="to floating point"),
    Case("QLinearConv", (u8(1, 9, 9, 4), S, Z, u8(8, 4, 3, 3), S, Z, S, Z), 8 * 7 * 7 * 4 * 9, {"channels_last": 1}),
    Case(  # 4 gates of 6 units, inputs of 5, two directions, 3 steps of a batch of 2
        "DynamicQuantizeLSTM",
        (f(3, 2, 5), u8(2, 5, 24), u8(2, 6, 24), f(2, 48), None, None, None, None, f(2), np.full(2, 3, U8), f(2), np.full(2, 3, U8)),
        3 * 2 * 2 * 24 * (5 + 6), {"hidden_size": 6, "direction": "bidirectional"}, 3, "", (1, 2, 8, 9, 10, 11),
    ),
    Case(  # 2 of 4 experts for each of 6 tokens, two matrices 8 x 12
        "MoE", (f(6, 8), f(6, 4), f(4, 12, 8), f(4, 12), f(4, 8, 12), f(4, 8)), 6 * 2 * 2 * 8 * 12, {"k": 2, "activation_type": "relu"},
    ),
    Case(
        "QMoE", (f(6, 32), f(6, 4), u8(4, 64, 16), f(4, 64), None, u8(4, 32, 32), f(4, 32)), 6 * 2 * 2 * 32 * 64,
        {"k": 2, "activation_type": "silu", "expert_weight_bits": 4}, constants=(2, 3, 5, 6),
    ),
]  # fmt: skip

OTHERS = [
    Case("BiasGelu", (f(B, L, D), f(D)), 0),
    Case("FastGelu", (f(B, L, D), f(D)), 0),
    Case("Gelu", (f(B, L, D),), 0),
    Case("QuickGelu", (f(B, L, D),), 0),
    Case("BiasSplitGelu", (f(B, L, D), f(D)), 0),
    Case("BiasAdd", (f(B, L, D), f(D), f(B, L, D)), 0),
    Case("BiasDropout", (f(B, L, D), f(D), f(B, L, D)), 0, outputs=2),
    Case("SkipLayerNormalization", (f(B, L, D), f(B, L, D), f(D), f(D), f(D)), 0),
    Case("SkipSimplifiedLayerNormalization", (f(B, L, D), f(B, L, D), f(D)), 0),
    Case("GroupNorm", (f(1, 4, 4, 8), f(8), f(8)), 0, {"groups": 2, "activation": 1}),
    Case("SkipGroupNorm", (f(1, 4, 4, 8), f(8), f(8), f(1, 4, 4, 8), f(8)), 0, {"groups": 2, "activation": 0}, 2),
    Case(
        "EmbedLayerNormalization",
        (np.ones((B, L), I32), np.ones((B, L), I32), f(9, D), f(9, D), f(2, D), f(D), f(D), np.ones((B, L), I32)), 0, outputs=3,
    ),
    Case("QLinearAdd", (u8(B, L, D), S, Z, u8(D), S, Z, S, Z), 0),
    Case("QLinearMul", (u8(B, L, D), S, Z, u8(D), S, Z, S, Z), 0),
    Case("QLinearSigmoid", (u8(B, D), S, Z, S, Z), 0, constants=(1, 2, 3, 4)),
    Case("QLinearLeakyRelu", (u8(B, D), S, Z, S, Z), 0, constants=(1, 2, 3, 4)),
    Case("QLinearSoftmax", (u8(B, D), S, Z, one(F, 1 / 256), one(U8, 0)), 0, {"axis": -1, "opset": 13}, constants=(1, 2, 3, 4)),
    Case("QLinearConcat", (S, Z, u8(2, 3), S, Z, u8(2, 4), S, Z), 0, {"axis": 1}, constants=(0, 1, 3, 4, 6, 7)),
    Case("QLinearWhere", (np.ones((2, 3), bool), u8(2, 3), S, Z, u8(2, 3), S, Z, S, Z), 0, constants=(2, 3, 5, 6, 7, 8)),
    Case("QLinearGlobalAveragePool", (u8(1, 4, 5, 5), S, Z, S, Z), 0),
    Case("QLinearAveragePool", (u8(1, 4, 6, 6), S, Z, S, Z), 0, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Case("QLinearReduceMean", (u8(1, 4, 6), S, Z, S, Z), 0, {"axes": [2], "keepdims": 0}),
    Case("NhwcMaxPool", (u8(1, 6, 6, 4),), 0, {"kernel_shape": [2, 2], "strides": [2, 2]}),
    Case("GatherBlockQuantized", (u8(9, 16), np.array([[1, 2, 3]], I64), f(9, 2)), 0, {"block_size": 16, "quantize_axis": 1, "bits": 4}, constants=(0, 2)),
    Case("RestorePadding", (f(9, D), np.zeros((B, L), I32)), 0),
    Case("Inverse", (f(B, 4, 4),), 0),
    Case("ComplexMul", (f(B, 4, 2), f(B, 4, 2)), 0),
    Case("Rfft", (f(B, 8),), 0, {"signal_ndim": 1, "normalized": 0, "onesided": 1}),
    Case("Irfft", (f(B, 5, 2),), 0, {"signal_ndim": 1, "normalized": 0, "onesided": 1}),
    Case("CropAndResize", (f(1, 3, 8, 8), f(2, 4), np.zeros(2, I32), np.array([4, 5], I32)), 0, constants=(3,)),
    Case("GridSample", (f(1, 3, 8, 8), f(1, 4, 5, 2)), 0),
    Case("ExpandDims", (f(B, D), one(I32, 1)), 0, constants=(1,)),
    Case("BiasSoftmax", (f(B, L, D), f(1, L, D)), 0, {"axis": 2, "is_inner_broadcast": 0}),
    Case("BitmaskDropout", (f(3, D),), 0, outputs=2),
    Case("BitmaskBiasDropout", (f(3, D), f(D), f(3, D)), 0, outputs=2),
    Case("ComplexMulConj", (f(B, 4, 2), f(B, 4, 2)), 0),
    Case("IsAllFinite", (f(3, D), f(7)), 0),
    Case("MaxpoolWithMask", (f(1, 3, 8, 8), np.ones((1, 3, 8, 8), I32)), 0, {"kernel_shape": [2, 2], "strides": [2, 2]}),
    Case("MulInteger", (u8(2, 3), Z, u8(2, 3), Z), 0),
    Case("ReduceSumInteger", (i8(2, 3, 4),), 0, {"axes": [1], "keepdims": 1}),
    Case(
        "QEmbedLayerNormalization",
        (np.ones((B, L), I32), np.ones((B, L), I32), u8(9, D), u8(9, D), u8(2, D), u8(D), u8(D), None, *(S,) * 5, *(Z,) * 5), 0, outputs=2,
    ),
    Case("QOrderedGelu", (i8(3, D), S, S), 0),
    Case("QOrderedLayerNormalization", (i8(3, D), S, f(D), f(D), S), 0),
    Case("QuantizeWithOrder", (f(3, D), S), 0, {"order_input": 1, "order_output": 1}),
    Case("DequantizeWithOrder", (i8(3, D), S), 0, {"order_input": 1, "order_output": 1, "to": 1}),
    Case("RemovePadding", (f(B, L, D), np.full(B, L, I32)), 0, outputs=4),
    Case("ScaledSiLU", (f(3, D),), 0),
    Case("SwiGLU", (f(3, D), f(3, D)), 0),
    Case("SwiGLU", (f(3, D),), 0, name="in one"),
    Case("SimplifiedLayerNormalization", (f(3, D), f(D)), 0),
    Case("GeluGrad", (f(3, D), f(3, D)), 0),
    Case("FastGeluGrad", (f(3, D), f(3, D)), 0),
    Case("SigmoidGrad", (f(3, D), f(3, D)), 0),
    Case("TanhGrad", (f(3, D), f(3, D)), 0),
    Case("SoftmaxGrad", (f(3, D), f(3, D)), 0),
    Case("SoftmaxGrad_13", (f(3, D), f(3, D)), 0),
    Case("LogSoftmaxGrad", (f(3, D), f(3, D)), 0),
    Case("SoftmaxCrossEntropyLossInternalGrad", (one(), f(4, 9), np.ones(4, I64)), 0),
    Case("Trilu", (f(4, 4),), 0),
    Case("Unique", (np.arange(6).astype(F),), 0, outputs=3),
    Case("TorchEmbedding", (f(9, D), np.ones((B, L), I64)), 0),
    Case("Pad", (f(2, 3), np.array([0, 1, 0, 1], I64)), 0, {"mode": "constant"}, constants=(1,)),
    Case("GatherND", (f(2, 3, 4), np.zeros((5, 2), I64)), 0),
    Case("QuantizeLinear", (f(2, 3), S, Z), 0),
    Case("DequantizeLinear", (u8(2, 3), S, Z), 0),
    Case("DropoutGrad", (f(2, 3), np.ones((2, 3), bool)), 0),
    Case("ReluGrad", (f(2, 3), f(2, 3)), 0),
    Case("SoftmaxCrossEntropyLossInternal", (f(4, 9), np.ones(4, I64)), 0, outputs=2),
    Case("SoftmaxCrossEntropyLossGrad", (one(), f(4, 9), np.ones(4, I64)), 0),
    Case("InPlaceAccumulatorV2", (f(2, 3), f(2, 3)), 0),
    Case("Quant", (f(2, 3), S, one(F, 0), one(F, 4)), 0, {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}, domain="qonnx.custom_op.general", constants=(3,)),
    Case("FastGelu", (f(2, 3),), 0, domain="ai.onnx.contrib", name="of the extensions"),
]  # fmt: skip

CASES = [*ATTENTION, *PRODUCTS, *OTHERS]


def model_of(case: Case) -> Any:
    """The model of one case."""
    from onnx import helper, numpy_helper

    names = [f"x{i}" if value is not None else "" for i, value in enumerate(case.inputs)]
    given = [(i, name) for i, name in enumerate(names) if name and i not in case.constants]
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(case.inputs[i].dtype), case.inputs[i].shape)
        for i, name in given
    ]
    constants = [numpy_helper.from_array(case.inputs[i], names[i]) for i in case.constants]
    outputs = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(case.op, names, outputs, name="node", domain=case.domain, **case.attributes)
    graph = helper.make_graph([node], "g", inputs, [helper.make_empty_tensor_value_info(name) for name in outputs], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(case.domain, 1)], ir_version=9)
