"""Conventions against the tools themselves, run on the same model in the same process.

What a convention says must be what the tool returns, exactly, or differ by faults that are named in ``FAULTS``, each with its exact amount.
Tools that are not installed are skipped. ``FLOPSCOPE_ALL=1`` runs all models.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from typing import Any, NamedTuple

import pytest
import torch
from torch.nn import functional

import flopscope
from flopscope import Report
from flopscope.analyses.conventions import CONVENTIONS
from tests.conformance.checks import ALL
from tests.conformance.peer_models import MODELS, SAMPLE, Subject


class Tool(NamedTuple):
    """How a tool is run, under which convention we say the same, and what one of its counts is in the unit of that convention."""

    package: str
    peer: str
    convention: str
    scale: int = 1


TOOLS = {
    tool.convention: tool
    for tool in (
        Tool("fvcore", "fvcore", "fvcore-fused"),
        Tool("thop", "thop", "thop"),
        Tool("ptflops", "ptflops pytorch", "ptflops"),
        Tool("ptflops", "ptflops aten", "ptflops-aten"),
        Tool("torch", "FlopCounterMode", "torch", 2),
        Tool("torchinfo", "torchinfo", "torchinfo"),
        Tool("deepspeed", "DeepSpeed", "deepspeed"),
        Tool("calflops", "calflops", "calflops"),
    )
}


class Fault(NamedTuple):
    """Why a tool counts something else than its convention says, and how much more, exactly."""

    name: str
    excess: Callable[[Report], int]


def _elements(kind: str, class_name: str) -> Callable[[Report], int]:
    """Elements that leave the ops of a kind in modules of a class."""

    def excess(report: Report) -> int:
        classes = {module.path: module.class_name for module in report.graph.modules}
        return sum(op.signature.output.elements for op in report.graph.ops if op.kind == kind and classes.get(op.scope) == class_name)

    return excess


def _last_product(report: Report) -> int:
    """The multiply-accumulates of the last matrix product, less."""
    return -next(row.cost.macs for row in reversed(report.ops) if row.op == "aten::matmul")


_OPERATOR = Fault("a @ b calls no function by its name, and a graph does not know how a product was written", _last_product)


def _transposed(report: Report) -> int:
    """The bias of the second layer of each mixed network, after a convolution over channels that were moved."""
    return -sum(row.outputs[0][1] * row.outputs[0][2] for row in report.ops if row.kind == "linear" and row.scope.endswith("mlp.fc2"))


FAULTS: dict[tuple[str, str], tuple[Fault, ...]] = {
    ("ptflops", "layers"): (_OPERATOR,),
    ("calflops", "layers"): (_OPERATOR,),
    ("ptflops-aten", "pvt_v2_b0"): (
        Fault(
            "the bias of a linear layer is not seen where its input lies transposed, which the strides of a graph do not show", _transposed
        ),
    ),
    ("ptflops", "convnext_atto"): (
        Fault("Tensor.mul is replaced while * is not, and timm's ConvNeXt scales its layers by mul", _elements("mul", "ConvNeXtBlock")),
    ),
}


@contextmanager
def _restored() -> Iterator[None]:
    """Some tools leave functions of torch replaced."""
    owners = (torch, functional, torch.Tensor)
    before = [{name: vars(owner)[name] for name in vars(owner) if callable(vars(owner)[name])} for owner in owners]
    try:
        yield
    finally:
        for owner, names in zip(owners, before, strict=True):
            for name, value in names.items():
                if vars(owner).get(name) is not value:
                    setattr(owner, name, value)


@functools.cache
def _subject(name: str) -> Subject:
    torch.manual_seed(0)
    return MODELS[name]()


@functools.cache
def _report(name: str) -> Report:
    model, inputs = _subject(name)
    return flopscope.analyze(model, *inputs)


def _measured(tool: Tool, name: str) -> int:
    peers = pytest.importorskip("benchmarks.peers")
    model, inputs = _subject(name)
    with warnings.catch_warnings(), _restored(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        found = peers.PEERS[tool.peer].count(copy.deepcopy(model), inputs)
    assert found == int(found)
    return int(found) * tool.scale


def _require(tool: Tool) -> None:
    try:
        version(tool.package)
    except PackageNotFoundError:
        pytest.skip(f"{tool.package} is not installed")


@pytest.mark.parametrize("name", list(MODELS) if ALL else SAMPLE)
@pytest.mark.parametrize("convention", list(TOOLS))
def test_convention_is_what_the_tool_says(convention: str, name: str) -> None:
    tool = TOOLS[convention]
    _require(tool)
    faults = FAULTS.get((convention, name), ())
    measured = _measured(tool, name)
    excess = {fault.name: fault.excess(_report(name)) for fault in faults}
    assert all(excess.values()), f"a fault that changes nothing: {excess}"
    assert _report(name).under(convention) + sum(excess.values()) == measured


@pytest.mark.parametrize("convention", list(CONVENTIONS))
@pytest.mark.parametrize("name", SAMPLE)
def test_differences_add_up(convention: str, name: str) -> None:
    report = _report(name)
    found: Any = report.explain(convention)
    assert found.start == report.total.macs * (2 if CONVENTIONS[convention].unit == "FLOPs" else 1)
    assert found.start + sum(row.amount for row in found.rows) == found.count == report.under(convention)
    assert all(row.amount for row in found.rows)
    assert all(row.reason for row in found.rows)
