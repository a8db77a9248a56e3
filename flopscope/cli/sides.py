"""What a command that compares takes: a SPEC, a SPEC at a commit, or a saved report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flopscope.cli.asking import Asked
from flopscope.errors import OptionError

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


def fitting(asked: Asked, text: str, other: str) -> Asked:
    """The options for one of two sides: of a PyTorch and an ONNX model each takes those that are its own."""
    from flopscope.frontends.onnx import names_onnx

    here, there = (names_onnx(side.partition("@")[0] if ".onnx@" in side else side) for side in (text, other))
    if here == there or names_saved(text) or names_saved(other):
        return asked
    if here:
        return replace(asked, settings=(), phase=None, context=None, batch=None, cache=None, attention="dense")
    return replace(asked, dims=(), check=False)


def refuse_unused(asked: Asked, *texts: str) -> None:
    """See that options about a model have a model to be about.

    Raises:
        OptionError: there are saved reports alone, and one of the options was given.
    """
    if all(map(names_saved, texts)):
        given = [name for name, value in vars(asked).items() if value and value not in ("dense", "costlier")]
        if given:
            raise OptionError(
                f"a saved report says what was counted once, and cannot be counted again with other {', '.join(given)}: give a SPEC instead"
            )
