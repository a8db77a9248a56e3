"""The command that writes the conformance table."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conformance import run
from tests.conformance.checks import Check

_EQUAL = Check("table", "resnet|50", "equal", "4.09 GMACs", "4,089 MACs")
_LISTED = Check("table", "sequencer2d_s", "listed", "4.96 GMACs", "8.36 GMACs", "no recurrent layers")


def _raising() -> Check:
    raise RuntimeError("no such model")


def _run(monkeypatch: pytest.MonkeyPatch, output: Path, *jobs: run.Job) -> tuple[int, str]:
    monkeypatch.setattr(run, "HAS_DATA", True)
    monkeypatch.setattr(run, "jobs", lambda most_gmacs: jobs)
    result = CliRunner().invoke(run.main, ["--output", str(output), "--cache", str(output.with_suffix(".jsonl"))])
    return result.exit_code, output.read_text(encoding="utf-8")


def test_equal_and_listed_rows_succeed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jobs: list[run.Job] = [("table", "resnet50", lambda: _EQUAL), ("table", "sequencer2d_s", lambda: _LISTED)]
    code, text = _run(monkeypatch, tmp_path / "table.md", *jobs)
    assert code == 0
    assert "no recurrent layers" in text
    assert "resnet" not in text
    assert [cell.strip() for cell in text.split("**all**")[1].splitlines()[0].split("|")[1:-1]] == ["2", "1", "1", "0"]


def test_a_row_that_differs_or_raises_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, text = _run(monkeypatch, tmp_path / "table.md", ("table", "resnet50", lambda: _EQUAL), ("table", "gone", _raising))
    assert code == 1
    assert "**different** RuntimeError: no such model" in text


def test_a_run_goes_on_where_it_was_interrupted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    output = tmp_path / "table.md"
    _run(monkeypatch, output, ("table", "resnet|50", lambda: _EQUAL), ("table", "gone", _raising))
    with output.with_suffix(".jsonl").open("a") as cache:
        cache.write('{"of": "cut o')
    code, text = _run(monkeypatch, output, ("table", "resnet|50", _raising), ("table", "gone", lambda: _LISTED))
    assert code == 0
    assert [cell.strip() for cell in text.split("**all**")[1].splitlines()[0].split("|")[1:-1]] == ["2", "1", "1", "0"]
    monkeypatch.setattr(run, "_fingerprint", lambda: "other code")
    assert _run(monkeypatch, output, ("table", "resnet|50", _raising))[0] == 1


def test_it_says_what_is_missing_without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "HAS_DATA", False)
    result = CliRunner().invoke(run.main, [])
    assert result.exit_code == 2
    assert "FLOPSCOPE_DATA" in result.output
