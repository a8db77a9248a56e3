"""What PyTorch's exporters write costs what the module costs, or differs by exactly what the exporter changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from flopscope import Report
from flopscope.frontends.onnx import trace
from tests.conformance.onnx_exports import EXPORTERS, Exporter, compare, counted, export
from tests.conformance.onnx_models import MODELS, TIMM, TRANSFORMERS

pytest.importorskip("onnxscript")

ALL = bool(os.environ.get("FLOPSCOPE_ALL"))
SAMPLE = ("lstm", "rnn", "upsampler", "einsum", "tied", "bert", "albert", "resnet18")
TREES = ("resnet18", "bert", "vit_b_32") if ALL else ("resnet18", "bert")
NO_FILE = {
    ("multihead_attention", "script"), ("vit_b_32", "script"), ("gpt2", "script"), ("llama", "script"), ("qwen2", "script"),
}  # fmt: skip
"""What an exporter refuses."""
NOTES = {
    ("tied", "script"): ("may hold shared weights twice: onnx::MatMul",),
    ("tied", "dynamo"): ("holds shared weights twice", "counted once"),
    ("einsum", "script"): ("does not tell buffers from parameters; scale, table are",),
    ("einsum", "dynamo"): ("or wrote buffers (table)",),
    ("swin_t", "script"): ("computed onnx::Add",),
    ("swin_t", "dynamo"): ("computed values that depend on no input",),
}
"""What the report must say of a file."""
SHARED = {"coat_lite_tiny"}
"""Modules that lie at several places of the tree: exports name the place that ran, a traced module the first one."""
CASES = [(name, exporter) for name in (MODELS if ALL else SAMPLE) for exporter in EXPORTERS if (name, exporter) not in NO_FILE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where exported files lie, so that each is made once."""
    return tmp_path_factory.mktemp("exports")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "exporter"), CASES)
def test_a_file_costs_what_the_module_costs(name: str, exporter: Exporter, folder: Path) -> None:
    if name in TIMM or name in TRANSFORMERS:
        pytest.importorskip("timm" if name in TIMM else "transformers")
    outcome = compare(name, exporter, folder)
    if name not in TREES:
        for path in folder.glob(f"{name}.*"):
            path.unlink()
    assert outcome.is_explained, outcome
    if outcome.macs == 0 and name not in SHARED:
        assert not outcome.modules, outcome
    for mark in NOTES.get((name, exporter), ()):
        assert any(mark in note for note in outcome.notes), outcome.notes
    if any("batch norms" in change.what for change in outcome.changes):
        assert any("batch norms into the convolutions before them" in note for note in outcome.notes)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "exporter"), [case for case in CASES if case[0] in TREES])
def test_the_tree_of_modules_is_that_of_the_module(name: str, exporter: Exporter, folder: Path) -> None:
    if name in TRANSFORMERS:
        pytest.importorskip("transformers")
    model, inputs, reference = counted(name)
    path = folder / f"{name}.{exporter}.onnx"
    assert path.exists() or not export(model, inputs, path, exporter)
    report = Report(trace(path))
    rows = {row.path: row for row in report.by_module()}
    for row in reference.by_module():
        if row.cost.macs:
            assert rows[row.path].cost.macs == row.cost.macs, row.path
            assert rows[row.path].class_name in ("", row.class_name)
    named = [row for row in rows.values() if row.class_name]
    assert bool(named) == (exporter == "dynamo")  # the older exporter writes no names of classes


class _Names(nn.Module):
    """A module whose name looks like the second run of another one, and one that does run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.head_1 = nn.Linear(4, 4)
        self.tail = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.tail(self.head_1(self.head(x))))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_second_run_belongs_to_the_same_module(exporter: Exporter, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert not export(_Names().eval(), (torch.randn(3, 2, 4),), path, exporter)
    report = Report(trace(path))
    assert {row.path: row.cost.macs for row in report.by_module()} == {"": 4 * 96, "head": 96, "head_1": 96, "tail": 2 * 96}
    assert report.total.params == 3 * 20
