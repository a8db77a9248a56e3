"""What a command that compares takes: a SPEC, a SPEC at a commit, or a saved report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flopscope.cli.asking import Asked

if TYPE_CHECKING:
    from flopscope.report.snapshot import Snapshot

HELP = "a SPEC, a file at a commit (path/file.py:factory@REV), or a report saved with --format json"


def names_saved(text: str) -> bool:
    """Whether a text names a saved report: a file whose name ends in .json, and no config of a model."""
    return text.endswith(".json") and not text.startswith("hf:")


def snapshot_of(asked: Asked, text: str) -> Snapshot:
    """The numbers of one side.

    Raises:
        FlopscopeError: it cannot be built, analysed or read.
    """
    from flopscope.cli.revision import at_revision, split_revision
    from flopscope.report.snapshot import read_saved, snapshot

    if names_saved(text):
        return read_saved(text)
    place = split_revision(text)
    if place is not None:
        return at_revision(asked, *place)
    report = asked.report(text)
    report.graph.name = text
    return snapshot(report)


def fitting(asked: Asked, text: str) -> Asked:
    """The options that fit one of two sides: those of PyTorch or those of ONNX models, where the two sides are of different kinds."""
    from flopscope.frontends.onnx import names_onnx

    spec = text.partition("@")[0] if ".onnx@" in text else text
    if names_onnx(spec):
        return replace(asked, settings=(), phase=None, context=None, batch=None, cache=None, attention="dense")
    return replace(asked, dims=(), check=False)
