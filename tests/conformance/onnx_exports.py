"""Exports models to ONNX by both of PyTorch's exporters, and compares what the file and the module cost.

MACs and parameters must be equal, or differ by exactly what an exporter is known to change, computed from the module.

    python -m tests.conformance.onnx_exports [--output FILE] [--keep FOLDER] [MODEL ...]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

import flopscope
from flopscope import Report
from flopscope.frontends.onnx import trace
from tests.conformance.onnx_changes import Change, changes_of
from tests.conformance.onnx_models import MODELS

Exporter = Literal["script", "dynamo"]
EXPORTERS: tuple[Exporter, ...] = ("script", "dynamo")


@dataclass(frozen=True)
class Outcome:
    """What came of one export."""

    model: str
    exporter: Exporter
    failure: str = ""
    """Why there is no file, if there is none."""
    macs: int = 0
    params: int = 0
    """By how much the file has more than the module."""
    changes: tuple[Change, ...] = ()
    uncounted: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    """Modules whose MACs differ, where the file and the module know them."""
    notes: tuple[str, ...] = ()

    @property
    def is_explained(self) -> bool:
        """Whether the difference is exactly that of the known changes."""
        changed = sum(change.macs for change in self.changes), sum(change.params for change in self.changes)
        return not self.failure and not self.uncounted and (self.macs, self.params) == changed

    def __str__(self) -> str:
        if self.failure:
            return f"{self.model} | {self.exporter} | no file | {self.failure}"
        verdict = "UNEXPLAINED" if not self.is_explained else "explained" if self.changes else "equal"
        reasons = "; ".join(str(change) for change in self.changes)
        extra = f" uncounted {', '.join(self.uncounted)}" if self.uncounted else ""
        extra += f" modules {', '.join(self.modules[:4])}" if self.modules else ""
        return f"{self.model} | {self.exporter} | {verdict} | MACs {self.macs:+,}, params {self.params:+,} | {reasons}{extra}"


def compare(name: str, exporter: Exporter, folder: Path) -> Outcome:
    """Export one model and compare; a file that is there already is used again."""
    model, inputs, reference = counted(name)
    path = folder / f"{name}.{exporter}.onnx"
    failure = "" if path.exists() else export(model, inputs, path, exporter)
    if failure:
        return Outcome(name, exporter, failure)
    graph = trace(path)
    graph.verify()
    report = Report(graph)
    return Outcome(
        name,
        exporter,
        macs=report.total.macs - reference.total.macs,
        params=report.total.params - reference.total.params,
        changes=tuple(changes_of(name, exporter, model, reference, contents(path))),
        uncounted=tuple(sorted({row.op for row in report.uncounted})),
        modules=tuple(different_modules(reference, report)),
        notes=tuple(report.notes),
    )


def counted(name: str) -> tuple[nn.Module, tuple[Tensor, ...], Report]:
    """A model whose weights all differ, its inputs, and what it costs."""
    model, inputs = MODELS[name]()
    model.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():  # exporters merge initialisers that are equal, as untrained ones are
            parameter.uniform_(0.1, 0.5)
        for buffer_name, buffer in model.named_buffers():
            if buffer_name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5)
    return model, inputs, flopscope.analyze(model, *inputs)


def export(model: nn.Module, inputs: tuple[Tensor, ...], path: Path, exporter: Exporter) -> str:
    """Export a model; why it could not be done, or nothing."""
    logging.disable(logging.WARNING)
    try:
        with _silence(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(model, inputs, str(path), dynamo=exporter == "dynamo", verbose=False)
    except Exception as error:  # noqa: BLE001 - whatever an exporter raises
        path.unlink(missing_ok=True)
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    finally:
        logging.disable(logging.NOTSET)
    return ""


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing is printed, not even by the C++ part of an exporter, which dumps its graph where it fails."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    quiet = io.StringIO()
    try:
        os.dup2(nowhere, 1)
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def contents(path: Path) -> set[bytes]:
    """What each initialiser of a file holds."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    return {np.ascontiguousarray(numpy_helper.to_array(tensor)).tobytes() for tensor in model.graph.initializer}


def different_modules(reference: Report, report: Report) -> Iterator[str]:
    """The modules that both reports list and whose MACs differ."""
    found = {row.path: row.cost.macs for row in report.by_module()}
    for row in reference.by_module():
        if row.path in found and found[row.path] != row.cost.macs:
            yield f"{row.path or 'all'} {found[row.path] - row.cost.macs:+,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--keep", type=Path, help="a folder for the exported files, instead of a temporary one")
    options = parser.parse_args()
    lines = []
    for name in options.models:
        for exporter in EXPORTERS:
            start = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                outcome = compare(name, exporter, options.keep or Path(folder))
            lines.append(str(outcome))
            print(f"{lines[-1]} | {time.perf_counter() - start:.1f} s", flush=True)  # noqa: T201
    if options.output is not None:
        options.output.write_text("model | exporter | result | difference | why\n--- | --- | --- | --- | ---\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
