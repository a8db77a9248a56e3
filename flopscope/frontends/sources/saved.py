"""Programs in files: TorchScript (``model.pt``) and exported programs (``model.pt2``).

Both are read by torch's own loaders, which make a program of what the file says; analysing it runs this program on shapes. So a file must
be trusted as code is. Files of weights alone, and pickled modules, hold no program and are refused.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
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

    program = torch.export.load(path)
    args, kwargs = program.example_inputs or ((), {})
    return Loaded(spec, program.module(), tuple(args), dict(kwargs), input_note="inputs: the examples that the program was exported with")


def _scripted(spec: str, path: Path) -> Loaded:
    import torch

    if not _holds_code(path):
        raise SpecError(
            f"{path} holds no program, but weights or a pickled module. Name what builds the model instead, as in path/to/file.py:factory."
        )
    return Loaded(spec, torch.jit.load(str(path), map_location="cpu"))


def _holds_code(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())
