"""ONNX's own test models, one or a few nodes each, with inputs and the outputs that they must have.

A model is traced twice: with nothing but what it declares, where a shape must be right or said to be unknown or bounded, and with the arrays of
each of its data sets, where every output must have the shape and the element type of the array that the test expects.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from flopscope.frontends.onnx import trace
from flopscope.frontends.onnx.dtypes import name_of
from flopscope.frontends.onnx.uncounted import UNCOUNTED
from flopscope.graph import Graph
from flopscope.report import Report

Described = tuple[str, tuple[int, ...]]
"""An element type and a shape."""


@lru_cache(maxsize=1)
def cases() -> dict[str, Any]:
    """Every test case with nodes, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return {case.name: case for case in collect_testcases(None)}


def described(items: Sequence[Any]) -> list[Described]:
    """The types of arrays; of lists and mappings those of what they hold."""
    found: list[Described] = []
    for item in items:
        if isinstance(item, list | tuple):
            found += described(item)
        elif isinstance(item, Mapping):
            found.append((name_of(np.asarray(list(item.values())).dtype) or "", (len(item),)))
        elif item is not None:
            array = np.asarray(item)
            found.append((name_of(array.dtype) or "", array.shape))
    return found


def results(graph: Graph) -> list[Described]:
    """The types that a traced graph says its outputs have."""
    return [(tensor.type.dtype, tensor.type.shape) for tensor in graph.outputs]


def with_data(case: Any) -> Iterator[tuple[Graph, list[Described]]]:
    """The graph for each data set, and what the outputs must be."""
    model = undeclared(case)
    names = [value.name for value in case.model.graph.input]
    for inputs, outputs in case.data_sets:
        given = dict(zip(names, map(as_array, inputs), strict=False))
        yield trace(model, [], given), described(list(map(as_array, outputs)))


def undeclared(case: Any) -> Any:
    """The model of a case without what it says of its outputs, so that they must be inferred."""
    model = type(case.model)()
    model.CopyFrom(case.model)
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.ClearField("type")
    return model


def as_array(item: Any) -> Any:
    """An array of a data set, which writes some element types as protos."""
    import onnx

    return onnx.numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else item


def faults(case: Any) -> list[str]:
    """What is wrong with the traces of one case; nothing in the good case."""
    found = []
    for graph, expected in with_data(case):
        graph.verify()
        if (got := results(graph)) != expected and not _only_data_knows(graph):
            found.append(f"{case.name}: outputs {got}, where the test has {expected}")
        found += [f"{case.name}: {row.op} is not counted ({row.kind})" for row in Report(graph).uncounted if row.op not in UNCOUNTED]
    found += _declared_faults(case)
    return found


def _only_data_knows(graph: Graph) -> bool:
    """Whether an op without a price makes shapes that no analysis can know."""
    return any(op.kind == "shape_unknown" and op.target in UNCOUNTED for op in graph.ops)


def _declared_faults(case: Any) -> list[str]:
    """Without data a shape may be unknown or a bound, but not wrong."""
    graph = trace(undeclared(case))
    graph.verify()
    expected, got = described(list(map(as_array, case.data_sets[0][1]))), results(graph)
    if got == expected or len(got) != len(expected):  # of what is not known there is no output
        return []
    if any(op == "ai.onnx::Loop" for op, _ in graph.data_dependent):  # counted, and sized, as if it turned once
        return []
    bounded = bool(graph.data_dependent)
    wrong = [pair for pair in zip(got, expected, strict=True) if not _allowed(*pair, bounded=bounded)]
    return [f"{case.name}: without data {left}, where the test has {right}" for left, right in wrong]


def _allowed(got: Described, expected: Described, *, bounded: bool) -> bool:
    if not bounded or got[0] != expected[0] or len(got[1]) != len(expected[1]):
        return got == expected
    return all(most >= size for most, size in zip(got[1], expected[1], strict=True))
