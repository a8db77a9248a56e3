"""Programs in files: TorchScript (``model.pt``) and exported programs (``model.pt2``).

Both are read by torch's own loaders, which make a program of what the file says; analysing it runs this program on shapes. So a file must
be trusted as code is. Files of weights alone, and pickled modules, hold no program and are refused.
"""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flopscope.errors import SpecError
from flopscope.frontends.sources.loaded import Loaded

SUFFIXES = (".pt2", ".pt", ".pth", ".ts", ".jit", ".torchscript")


def names_program(spec: str) -> bool:
    """Whether a SPEC is the path of a saved program."""
    return spec.endswith(SUFFIXES)


def load(spec: str, settings: Mapping[str, Any]) -> Loaded:
    """The program in a file.

    Raises:
        SpecError: there is no such file, it holds no program, or there are settings, which a finished program does not take.
    """
    if settings:
        raise SpecError(f"{spec} is a finished program, which takes no settings, but got {', '.join(settings)}")
    path = Path(spec)
    if not path.is_file():
        raise SpecError(f"there is no file {path} (looked in {Path.cwd()})")
    return _exported(spec, path) if path.suffix == ".pt2" else _scripted(spec, path)


def _exported(spec: str, path: Path) -> Loaded:
    import torch

    with _reading(path, "exported program", "torch.export.save"):
        program = torch.export.load(path)
    args, kwargs = program.example_inputs or ((), {})
    return Loaded(spec, program.module(), tuple(args), dict(kwargs), input_note="inputs: the examples that the program was exported with")


def _scripted(spec: str, path: Path) -> Loaded:
    import torch

    if zipfile.is_zipfile(path) and not _holds_code(path):
        raise SpecError(
            f"{path} holds no program, but perhaps weights or a pickled module. Name what builds the model instead, as in "
            "path/to/file.py:factory."
        )
    with _reading(path, "TorchScript program", "torch.jit.save"):
        program = torch.jit.load(str(path), map_location="cpu")
    return Loaded(spec, program)


class _Kept(logging.Filter):
    """Keeps to itself what a logger would say."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[BaseException] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Let nothing through, and remember the errors."""
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])
        return False


@contextmanager
def _reading(path: Path, what: str, writer: str) -> Iterator[None]:
    """Say in one message why a file cannot be read, where torch writes a traceback to its log before it raises.

    Raises:
        SpecError: the file is damaged, or something else.
    """
    if not zipfile.is_zipfile(path):
        raise SpecError(f"{path} is no {what}: it is damaged, cut off or something else. Write it again with {writer}.")
    log, kept = logging.getLogger("torch.export"), _Kept()
    log.addFilter(kept)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that torch.jit is to be replaced is nothing that a reader of costs must know
            yield
    except Exception as error:
        cause = kept.errors[0] if kept.errors else error
        sentence = (str(cause).strip().splitlines() or ["no message"])[0].partition(". ")[0]
        raise SpecError(
            f"{path} cannot be read as {what}: {type(cause).__name__}: {sentence}. It is damaged, or something else, or of another version "
            f"of torch; write it again with {writer}."
        ) from error
    finally:
        log.removeFilter(kept)


def _holds_code(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())
