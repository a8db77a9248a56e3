"""Programs in files that are damaged: one message and exit code 2, and not a line of torch's own log."""

from __future__ import annotations

import io
import logging
import random
import re
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import flopscope
from flopscope.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore")


def _damaged(kind: str, path: Path) -> bytes:
    """The bytes of a program in a file, damaged."""
    good = path.read_bytes()
    with zipfile.ZipFile(made := io.BytesIO(), "w") as archive:
        archive.writestr("net/code/a.txt" if kind == "zip with code" else "a.txt", "no program")
    third = len(good) // 3
    flipped = good[:third] + bytes(byte ^ 255 for byte in good[third : third + 200]) + good[third + 200 :]
    damaged = {"empty": b"", "random": random.Random(0).randbytes(5000), "truncated": good[: len(good) // 2], "flipped": flipped}
    return damaged.get(kind, made.getvalue())


@pytest.mark.parametrize("suffix", ["pt", "pt2"])
@pytest.mark.parametrize("kind", ["empty", "random", "truncated", "flipped", "zip", "zip with code"])
def test_a_damaged_program_is_one_message(kind: str, suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"net.{suffix}"
    if suffix == "pt":
        torch.jit.save(torch.jit.script(nn.Linear(8, 8)), path)
    else:
        torch.export.save(torch.export.export(nn.Linear(8, 8), (torch.rand(3, 8),)), path)
    path.write_bytes(_damaged(kind, path))
    capfd.readouterr()
    assert main(["analyze", str(path)], standalone_mode=False) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(r"flopscope: .*net\.pt.*\n", err), err
    assert ("torch.export.save" if suffix == "pt2" else "torch.jit.save" if kind != "zip" else "holds no program") in err


def test_reading_a_program_warns_of_nothing_and_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(8, 8)), tmp_path / "net.pt")
    before = list(logging.getLogger("torch.export").filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = flopscope.load(str(tmp_path / "net.pt"), inputs=["3x8"])
    assert flopscope.analyze(loaded.model, *loaded.args).total.macs == 3 * 8 * 8
    assert logging.getLogger("torch.export").filters == before
