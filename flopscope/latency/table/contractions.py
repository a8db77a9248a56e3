"""The products in a node of ONNX Runtime, or in a compiled kernel, as ops that flopscope's rules price."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flopscope.graph import Signature
from flopscope.latency.table.compiled import PROGRAM
from flopscope.latency.table.keys import read
from flopscope.latency.table.nodes import TARGET
from flopscope.tensor_type import TensorType


def priced_parts(signature: Signature) -> list[Signature]:
    """The ops inside a node or a kernel; of a node only its product, if it is one; any other op is its only part."""
    if signature.target == PROGRAM:
        return [read(key) for key, _ in json.loads(signature["program"])[0]]
    if not signature.target.startswith(TARGET):
        return [signature]
    kind = signature.target.rpartition("::")[2].removeprefix("Fused")
    if kind == "Conv":
        return [_convolution(signature)]
    if kind in ("Gemm", "MatMul"):
        return [_product(signature)]
    return []


def _convolution(signature: Signature) -> Signature:
    source, weight = signature["input0"], signature["input1"]
    spatial = len(source.shape) - 2
    pads = _numbers(signature.get("attribute_pads"), 2 * spatial, 0)
    arguments = {
        "input": source,
        "weight": weight,
        "stride": _numbers(signature.get("attribute_strides"), spatial, 1),
        "padding": pads[:spatial],
        "dilation": _numbers(signature.get("attribute_dilations"), spatial, 1),
        "groups": signature.get("attribute_group", 1),
    }
    return Signature("aten::conv2d", "conv", arguments, signature.outputs[:1])


def _product(signature: Signature) -> Signature:
    a, b = signature["input0"], signature["input1"]
    a = _turned(a, signature.get("attribute_transBatchA"), signature.get("attribute_transA"))
    b = _turned(b, signature.get("attribute_transBatchB"), signature.get("attribute_transB"))
    return Signature("aten::matmul", "matmul", {"a": a, "b": b}, signature.outputs[:1])


def _turned(type: TensorType, first_goes_in: Any, turned: Any) -> TensorType:
    """An operand as the product sees it: the first dimension moved to the last but one, then the last two exchanged, where it says so."""
    shape = type.shape
    if first_goes_in:
        shape = (*shape[1:-1], shape[0], shape[-1])
    if turned:
        shape = (*shape[:-2], shape[-1], shape[-2])
    return TensorType.of(shape, type.dtype)


def _numbers(given: Any, count: int, default: int) -> tuple[int, ...]:
    found = tuple(given) if isinstance(given, Sequence) else ()
    return found if len(found) == count else (default,) * count
