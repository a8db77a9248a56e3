"""Multiply-accumulates of ONNX's contractions, counted one by one: loops written from each op's definition, which share nothing with the rules.

Where a loop computes the whole result, it is compared with what the test expects, so that the loop itself is known to be the op. Positions in
the padding are multiplied like all others, as dense kernels do. Of a transposed convolution every input element meets every kernel element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from flopscope.frontends.onnx import trace
from flopscope.report import Report
from tests.conformance.node_models import as_array

Array = Any
Values = Sequence[Array | None]
Loop = Callable[[Mapping[str, Any], Values, Values], int]


def _positions(*sizes: int) -> Iterator[tuple[int, ...]]:
    return product(*map(range, sizes))


# -- convolutions -----------------------------------------------------------------------------------------------------------------


def _conv(attributes: Mapping[str, Any], inputs: Values, outputs: Values, weight: int = 1) -> int:
    """``y[n, o, p] += w[o, c, k] * x[n, group of o * c + .., p + k]``, one at a time."""
    kernel, y = inputs[weight], outputs[0]
    assert kernel is not None
    assert y is not None
    count = 0
    for _ in _positions(*y.shape):
        for _ in _positions(*kernel.shape[1:]):
            count += 1
    return count


def _checked_conv(attributes: Mapping[str, Any], inputs: Values, outputs: Values) -> int:
    """A convolution in two dimensions that is also computed."""
    x, kernel, y = inputs[0], inputs[1], outputs[0]
    assert x is not None
    assert kernel is not None
    assert y is not None
    pads, count = attributes.get("pads"), 0
    if len(y.shape) != 4 or attributes.get("auto_pad", "NOTSET") != "NOTSET":
        return _conv(attributes, inputs, outputs)
    top, left, bottom, right = pads or (0, 0, 0, 0)
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    strides, steps = attributes.get("strides") or (1, 1), attributes.get("dilations") or (1, 1)
    share = y.shape[1] // attributes.get("group", 1)
    result = np.zeros(y.shape)
    for n, o, i, j in _positions(*y.shape):
        for c, a, b in _positions(*kernel.shape[1:]):
            row, column = i * strides[0] + a * steps[0], j * strides[1] + b * steps[1]
            result[n, o, i, j] += kernel[o, c, a, b] * padded[n, o // share * kernel.shape[1] + c, row, column]
            count += 1
    if len(inputs) < 3 or inputs[2] is None:
        np.testing.assert_allclose(result, y, rtol=1e-4, atol=1e-5)
    return count


def _integer_conv(attributes: Mapping[str, Any], inputs: Values, outputs: Values) -> int:
    zeros = [0 if len(inputs) <= i or inputs[i] is None else np.asarray(inputs[i], np.int64).reshape(-1, 1, 1, 1) for i in (2, 3)]
    shifted = [np.asarray(item, np.int64) - zero for item, zero in zip(inputs[:2], zeros, strict=True)]
    return _checked_conv(attributes, shifted, outputs)


def _transposed(attributes: Mapping[str, Any], inputs: Values, outputs: Values) -> int:
    """Every input element is multiplied with every kernel element of its channel."""
    x, kernel = inputs[0], inputs[1]
    assert x is not None
    assert kernel is not None
    count = 0
    for _, channel, *_ in _positions(*x.shape):
        for _ in _positions(*kernel[channel].shape):
            count += 1
    return count


def _causal_conv(attributes: Mapping[str, Any], inputs: Values, outputs: Values) -> int:
    """Each channel with a kernel of its own, over the past and the present; also computed."""
    x, kernel, y = inputs[0], inputs[1], outputs[0]
    assert x is not None
    assert kernel is not None
    assert y is not None
    past = inputs[3] if len(inputs) > 3 and inputs[3] is not None else np.zeros((*x.shape[:2], kernel.shape[2] - 1), x.dtype)
    line = np.concatenate([past, x], axis=2).astype(np.float64)
    result, count = np.zeros(x.shape), 0
    for n, c, t in _positions(*x.shape):
        for k in range(kernel.shape[2]):
            result[n, c, t] += line[n, c, t + k] * kernel[c, 0, k]
            count += 1
    if len(inputs) > 2 and inputs[2] is not None:
        result += inputs[2].reshape(1, -1, 1)
    if attributes.get("activation", "none") == "none":
        np.testing.assert_allclose(result, y, rtol=1e-2, atol=1e-2)
    return count


# -- products ---------------------------------------------------------------------------------------------------------------------


def _product(a: Array, b: Array) -> tuple[Array, int]:
    """``a @ b``, element by element."""
    wide = [np.asarray(item, np.float64) for item in (a, b)]
    left = wide[0].reshape(1, -1) if a.ndim == 1 else wide[0]
    right = wide[1].reshape(-1, 1) if b.ndim == 1 else wide[1]
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left = np.broadcast_to(left, (*batch, *left.shape[-2:]))
    right = np.broadcast_to(right, (*batch, *right.shape[-2:]))
    result, count = np.zeros((*batch, left.shape[-2], right.shape[-1])), 0
    for *outer, i, j in _positions(*result.shape):
        for k in range(left.shape[-1]):
            result[(*outer, i, j)] += left[(*outer, i, k)] * right[(*outer, k, j)]
            count += 1
    return result, count


def _matmul(attributes: Mapping[str, Any], inputs: Values, outputs: Values) -> int:
    result, count = _product(inputs[0], inputs[1])
    y = outputs[0]
    assert y is not None
    np.testing.assert_allclose(result.reshape(y.shape), np.asarray(y, np.float64), rtol=2e-2, atol=1e-3)
    return count


def _integer_matmul(attributes: Mapping[str, Any], inputs: Values, outputs: Values) -> int:
    zeros = [0 if len(inputs) <= i or inputs[i] is None else np.asarray(inputs[i], np.int64).reshape(-1)[0] for i in (2, 3)]
    return _matmul(attributes, [np.asarray(item, np.int64) - zero for item, zero in zip(inputs[:2], zeros, strict=True)], outputs)


def _quantised_matmul(attributes: Mapping[str, Any], inputs: Values, outputs: Values) -> int:
    return _product(inputs[0], inputs[3])[1]


def _gemm(attributes: Mapping[str, Any], inputs: Values, outputs: Values) -> int:
    a, b, c = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else None
    assert a is not None
    assert b is not None
    result, count = _product(a.T if attributes.get("transA") else a, b.T if attributes.get("transB") else b)
    result = attributes.get("alpha", 1.0) * result + (0 if c is None else attributes.get("beta", 1.0) * c)
    np.testing.assert_allclose(result, outputs[0], rtol=1e-4, atol=1e-5)
    return count


def _einsum(attributes: Mapping[str, Any], inputs: Values, outputs: Values) -> int:
    """Every combination of the labels of two operands; of one operand there is nothing to multiply."""
    equation = attributes["equation"].replace(" ", "")
    if len(inputs) == 1:
        return 0
    left, right = equation.split("->") if "->" in equation else (equation, "")
    terms = left.split(",")
    sizes = {label: size for term, x in zip(terms, inputs, strict=True) for label, size in zip(term, x.shape, strict=True)}  # type: ignore[union-attr]
    result, count = np.zeros([sizes[label] for label in right]), 0
    for places in _positions(*sizes.values()):
        at = dict(zip(sizes, places, strict=True))
        factors = [x[tuple(at[label] for label in term)] for term, x in zip(terms, inputs, strict=True)]  # type: ignore[index]
        result[tuple(at[label] for label in right)] += factors[0] * factors[1]
        count += 1
    np.testing.assert_allclose(result, outputs[0], rtol=1e-4, atol=1e-5)
    return count


# -- layers -----------------------------------------------------------------------------------------------------------------------


def _recurrent(attributes: Mapping[str, Any], inputs: Values, outputs: Values) -> int:
    """For every token and direction: each row of both matrices times the input, and times the state."""
    x, weights, recurrences = inputs[0], inputs[1], inputs[2]
    assert x is not None
    assert weights is not None
    assert recurrences is not None
    count = 0
    for _ in _positions(*x.shape[:2]):  # steps and batch, in either layout
        for direction in range(weights.shape[0]):
            for row, recurrence in zip(weights[direction], recurrences[direction], strict=True):
                count += len(list(row)) + len(list(recurrence))
    return count


def _heads(x: Array, heads: int | None) -> tuple[int, int, int, int]:
    """Batch, heads, length and width of each head."""
    if x.ndim == 4:
        return x.shape  # type: ignore[no-any-return]
    assert heads
    return x.shape[0], heads, x.shape[1], x.shape[2] // heads


def _attention(attributes: Mapping[str, Any], inputs: Values, outputs: Values) -> int:
    """Every query meets every key, of the past too; every probability meets every value."""
    query = _heads(inputs[0], attributes.get("q_num_heads"))
    key = _heads(inputs[1], attributes.get("kv_num_heads"))
    value = _heads(inputs[2], attributes.get("kv_num_heads"))
    past = inputs[4].shape[2] if len(inputs) > 4 and inputs[4] is not None else 0
    count = 0
    for _ in _positions(*query[:3]):
        for _ in range(past + key[2]):
            for _ in range(query[3]):
                count += 1
            for _ in range(value[3]):
                count += 1
    return count


def _linear_attention(attributes: Mapping[str, Any], inputs: Values, outputs: Values) -> int:
    """The recurrence in the op's definition, token by token; also computed."""
    (batch, queries, length, depth), (_, states, _, _), (_, _, _, width) = (
        _heads(inputs[i], attributes[name]) for i, name in enumerate(("q_num_heads", "kv_num_heads", "kv_num_heads"))
    )
    count = 0
    for _ in _positions(batch, length):
        for _ in range(states):
            if "delta" in attributes.get("update_rule", "gated_delta"):
                for _ in _positions(width, depth):  # what the state predicts: S' k
                    count += 1
            for _ in _positions(depth, width):  # S += k v'
                count += 1
        for _ in range(queries):
            for _ in _positions(width, depth):  # S' q
                count += 1
    return count


def _affine_grid(attributes: Mapping[str, Any], inputs: Values, outputs: Values) -> int:
    """Every point of the grid, with a one behind its coordinates, times the rows of the matrix."""
    theta, grid = inputs[0], outputs[0]
    assert theta is not None
    assert grid is not None
    count = 0
    for batch, *_ in _positions(*grid.shape[:-1]):
        for row in theta[batch]:
            count += len(list(row))
    return count


_LOOPS: dict[str, Loop] = {
    "Conv": _checked_conv, "ConvInteger": _integer_conv, "ConvTranspose": _transposed, "DeformConv": _conv,
    "QLinearConv": lambda attributes, inputs, outputs: _conv(attributes, inputs, outputs, weight=3), "CausalConvWithState": _causal_conv,
    "MatMul": _matmul, "MatMulInteger": _integer_matmul, "QLinearMatMul": _quantised_matmul, "Gemm": _gemm, "Einsum": _einsum,
    "LSTM": _recurrent, "GRU": _recurrent, "RNN": _recurrent, "Attention": _attention, "FlexAttention": _attention,
    "LinearAttention": _linear_attention, "AffineGrid": _affine_grid,
}  # fmt: skip


# -- whole models -----------------------------------------------------------------------------------------------------------------


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def has_any(model: Any) -> bool:
    """Whether there is a contraction in a model, in graphs inside its nodes too."""
    return any(node.op_type in _LOOPS for node in _nodes(model.graph))


def macs_of(case: Any) -> list[int]:
    """The multiply-accumulates of a case, for each of its data sets."""
    return [_macs(case.model, list(map(as_array, inputs)), list(map(as_array, outputs))) for inputs, outputs in case.data_sets]


def reported(case: Any) -> list[int]:
    """The multiply-accumulates that the report gives, for each data set."""
    names = [value.name for value in case.model.graph.input]
    data = [dict(zip(names, map(as_array, inputs), strict=False)) for inputs, _ in case.data_sets]
    return [Report(trace(case.model, [], given)).total.macs for given in data]


def _macs(model: Any, inputs: Sequence[Array], outputs: Sequence[Array]) -> int:
    from onnx.helper import get_attribute_value

    graph = model.graph
    known = dict(zip([value.name for value in graph.input], inputs, strict=False))
    if len(graph.node) == 1 and not any(True for attribute in graph.node[0].attribute if attribute.HasField("g")):
        known |= dict(zip([value.name for value in graph.output], outputs, strict=True))
    elif any(node.op_type in _LOOPS for node in _inner(graph)):
        return _macs_of_calls(model, known)
    elif len(graph.node) > 1:
        known = dict(_evaluator(model).run(None, known, intermediate=True))
    total = 0
    for node in graph.node:
        loop = _LOOPS.get(node.op_type)
        if loop is not None:
            attributes = {attribute.name: _text(get_attribute_value(attribute)) for attribute in node.attribute}
            total += loop(attributes, [known[name] if name else None for name in node.input], [known.get(name) for name in node.output])
    return total


def _inner(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _evaluator(model: Any) -> Any:
    """ONNX's own slow evaluator."""
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(model)


def _macs_of_calls(model: Any, given: Mapping[str, Any]) -> int:
    """The same for products inside the graphs of nodes: every call of them that the evaluator makes, as often as it makes it."""
    from onnx.reference.ops.op_matmul import MatMul

    assert {node.op_type for node in _nodes(model.graph)} & set(_LOOPS) == {"MatMul"}, "only matrix products are watched"
    counts: list[int] = []
    original = MatMul._run

    def watched(self: Any, a: Array, b: Array) -> Any:
        counts.append(_product(a, b)[1])
        return original(self, a, b)

    MatMul._run = watched
    try:
        _evaluator(model).run(None, dict(given))
    finally:
        MatMul._run = original
    return sum(counts)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
