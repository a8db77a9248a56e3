"""Which tensors of a file are parameters, which are buffers, and which are constants: ONNX does not say.

Parameters are floating-point initialisers, and integer ones that a quantised op uses as weights. Running statistics of batch norms,
scales and zero points are buffers. Integers elsewhere, single numbers that no layer calls a weight, and numbers that say what an op
does, such as the scales of a resize, are neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from flopscope.frontends.onnx.dtypes import FLOATING, INTEGER
from flopscope.frontends.onnx.exporters import Origins
from flopscope.graph import TensorType

if TYPE_CHECKING:
    import onnx

Standing = Literal["parameter", "buffer", "constant"]
_BYTE = 8

_WEIGHTS: dict[str, tuple[int, ...]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "FusedConv": (1, 2), "NhwcFusedConv": (1, 2), "DeformConv": (1, 3), "ConvInteger": (1,),
    "Gemm": (0, 1, 2), "FusedGemm": (0, 1, 2), "MatMul": (0, 1), "FusedMatMul": (0, 1), "MatMulInteger": (0, 1), "PRelu": (1,),
    "BatchNormalization": (1, 2), "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2), "RMSNormalization": (1,),
    "GroupNormalization": (1, 2), "SimplifiedLayerNormalization": (1,), "SkipLayerNormalization": (2, 3, 4),
    "SkipSimplifiedLayerNormalization": (2, 3), "LSTM": (1, 2, 3, 7), "GRU": (1, 2, 3), "RNN": (1, 2, 3),
    "EmbedLayerNormalization": (2, 3, 4, 5, 6), "QLinearConv": (3, 8), "QLinearMatMul": (0, 3), "DequantizeLinear": (0,),
    "MatMulNBits": (1,), "Attention": (1, 2), "QAttention": (1, 2), "DynamicQuantizeMatMul": (1, 4), "MatMulIntegerToFloat": (1, 6),
    "QGemm": (0, 3, 6), "BiasGelu": (1,), "FastGelu": (1,), "DynamicQuantizeLSTM": (1, 2, 3), "GatherBlockQuantized": (0,),
    "LinearClassifier": (), "Scaler": (), "CausalConvWithState": (1, 2),
}  # fmt: skip
"""The inputs of each op that are weights."""
_BUFFERS: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4), "DequantizeLinear": (1, 2), "QuantizeLinear": (1, 2), "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7), "MatMulNBits": (2, 3), "QLinearAdd": (1, 2, 4, 5, 6, 7), "QLinearMul": (1, 2, 4, 5, 6, 7),
    "QLinearSigmoid": (1, 2, 3, 4), "QLinearLeakyRelu": (1, 2, 3, 4), "QLinearGlobalAveragePool": (1, 2, 3, 4),
    "QLinearAveragePool": (1, 2, 3, 4), "QAttention": (3, 4, 6, 7), "QGemm": (1, 2, 4, 5, 7, 8), "MatMulInteger": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5), "ConvInteger": (2, 3), "DynamicQuantizeMatMul": (2, 3), "DynamicQuantizeLSTM": (8, 9, 10, 11),
    "GatherBlockQuantized": (2, 3),
}  # fmt: skip
# Contrib ops, which most files do not have.
_WEIGHTS |= {
    "NhwcConv": (1, 2), "TransposeMatMul": (0, 1), "FusedMatMulActivation": (0, 1),
    "GemmFastGelu": (1, 2), "GemmFloat8": (0, 1, 2), "MatMulInteger16": (0, 1), "MatMulBnb4": (1,), "MatMulFpQ4": (1,),
    "PackedAttention": (1, 2), "DecoderMaskedSelfAttention": (1, 2), "QOrderedMatMul": (2, 5), "MoE": (2, 3, 4, 5, 6, 7),
    "QMoE": (2, 4, 5, 7, 8, 10), "GroupNorm": (1, 2), "SkipGroupNorm": (1, 2, 4), "QEmbedLayerNormalization": (2, 3, 4, 5, 6),
}  # fmt: skip
_BUFFERS |= {
    "MatMulBnb4": (2,), "QMoE": (3, 6, 9, 11, 12, 13), "Quant": (1, 2, 3), "Trunc": (1, 2, 3, 4),
    "QLinearConcat": (0, 1), "QLinearSoftmax": (1, 2, 3, 4), "QOrderedMatMul": (1, 3, 4),
    "RotaryEmbedding": (1, 2, 3),
}  # fmt: skip
_SETTINGS: dict[str, tuple[int, ...]] = {
    "Resize": (1, 2), "Upsample": (1,), "OneHot": (1, 2), "STFT": (2,), "NonMaxSuppression": (2, 3, 4), "Clip": (1, 2), "Pad": (2,),
    "Range": (0, 1, 2), "Dropout": (1, 2), "MelWeightMatrix": (0, 1, 2, 3, 4),
}  # fmt: skip
"""The inputs of each op that say what it does: scales, bounds, windows."""
_PACKED: dict[str, tuple[tuple[int, ...], str]] = {
    "MatMulNBits": ((1,), "bits"), "QMoE": ((2, 5, 8), "expert_weight_bits"), "GatherBlockQuantized": ((0,), "bits"),
    "MatMulBnb4": ((1,), ""),
}  # fmt: skip
"""The inputs of each op in which a byte may hold several weights, and the attribute that says of how many bits (4 without it)."""


Function = tuple[str, str, str]
"""What a local function is called by: domain, name and overload."""
_GRAPH, _GRAPHS = 5, 10
_MOVING = frozenset(("Concat", "Unsqueeze", "Squeeze", "Transpose", "Reshape", "Slice", "Identity", "Cast"))


class Standings:
    """The standing of each tensor that a file holds, by how the nodes use it."""

    def __init__(self, functions: Mapping[Function, onnx.FunctionProto] | None = None) -> None:
        self._weights: set[str] = set()
        self._buffers: set[str] = set()
        self._packed: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._moved: set[str] = set()
        self._settings: set[str] = set()
        self._functions = functions or {}
        self._uses: dict[Function, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self.origins = Origins()

    def learn(self, nodes: Iterable[onnx.NodeProto]) -> None:
        """See how nodes use tensors, those in the graphs inside them too, and those of the functions that they call."""
        nodes = list(nodes)
        self._learn_moved(nodes)
        for node in nodes:
            op, names = node.op_type, node.input
            weights, buffers = _WEIGHTS.get(op, ()), _BUFFERS.get(op, ())
            if self._functions:
                weights, buffers = self._uses_of((node.domain, op, getattr(node, "overload", ""))) or (weights, buffers)
            settings = _SETTINGS.get(op, ())
            for positions, found in ((weights, self._weights), (buffers, self._buffers), (settings, self._settings)):
                for position in positions:
                    if position < len(names) and names[position]:
                        found.add(names[position])
            if op in _PACKED:
                self._learn_packed(node)
            for attribute in node.attribute:
                if attribute.type in (_GRAPH, _GRAPHS):
                    for graph in (attribute.g, *attribute.graphs):
                        self.learn(graph.node)

    def _learn_moved(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """See which tensors become the weights of a layer once their elements were moved: stacked, turned, reshaped.

        Products of any two values tell nothing here: exporters write positions that meet frequencies so.
        """
        for node in reversed(nodes):
            if node.op_type in _MOVING:
                if any(name in self._moved for name in node.output):
                    self._moved.update(node.input if node.op_type == "Concat" else node.input[:1])
            elif node.op_type not in ("MatMul", "FusedMatMul"):
                self._moved.update(node.input[position] for position in _WEIGHTS.get(node.op_type, ()) if position < len(node.input))

    def _uses_of(self, key: Function) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Which inputs of a function its nodes use as weights, and which as buffers; ``None`` for what is no function."""
        function = self._functions.get(key)
        if function is None:
            return None
        if key not in self._uses:
            self._uses[key] = (), ()  # where it calls itself, which is refused later
            inner = Standings(self._functions)
            inner._uses = self._uses
            inner.learn(function.node)
            names = list(function.input)
            weights, buffers = (
                tuple(position for position, name in enumerate(names) if name in found) for found in (inner._weights, inner._buffers)
            )
            self._uses[key] = weights, buffers
        return self._uses[key]

    def _learn_packed(self, node: onnx.NodeProto) -> None:
        positions, attribute = _PACKED[node.op_type]
        said = {item.name: item.i for item in node.attribute}
        shape = (said["N"], said["K"]) if "N" in said and "K" in said else ()
        for position in positions:
            if position < len(node.input) and node.input[position]:
                self._packed[node.input[position]] = (said.get(attribute, 4), shape)

    def unpacked(self, name: str, type: TensorType) -> TensorType:
        """The type of a tensor by its weights, of which a byte may hold several."""
        bits, shape = self._packed.get(name, (0, ()))
        if not 1 < bits <= _BYTE or type.dtype not in ("uint8", "int8") or not type.shape:
            return type
        return TensorType.of(shape or (*type.shape[:-1], type.shape[-1] * max(1, _BYTE // bits)), f"uint{bits}")

    def of(self, name: str, dtype: str, elements: int, *, constant: bool = False) -> Standing:
        """The standing of a tensor.

        Args:
            name: the name of the tensor.
            dtype: its element type.
            elements: how many elements it has.
            constant: whether a node makes it, and not the list of initialisers.
        """
        if name in self._buffers and name not in self._weights:
            return "buffer"
        known = self.origins.parameter(name, elements, _WEIGHTS, constant=constant) if dtype in FLOATING else None
        if known is not None:
            return "parameter" if known else "constant"
        if name in self._weights and (dtype in FLOATING or dtype in INTEGER):
            return "parameter"
        if dtype not in FLOATING or (constant and name not in self._moved):
            return "constant"
        return "parameter" if elements != 1 and name not in self._settings else "constant"
