"""``flopscope check``, ``diff`` and ``schema``: exit codes, commits, saved reports, and how they fail."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from flopscope.cli.main import main
from tests.report.test_schema import check as keeps_to_schema
from tests.report.test_schema import onnx_model

NET = """
import torch
from blocks import block

def tiny(width=4):
    return block(width), torch.empty(1, 3, 8, 8, device="meta")

def unpriced():
    lib = torch.library.Library("gate_test", "FRAGMENT")
    if not hasattr(torch.ops.gate_test, "f"):
        lib.define("f(Tensor x) -> Tensor")
        lib.impl("f", lambda x: x * 2, "CompositeExplicitAutograd")
    tiny.kept = lib
    return (lambda x: torch.ops.gate_test.f(x @ x)), torch.empty(4, 4, device="meta")
"""
BLOCKS = "from torch import nn\n\ndef block(width):\n    return nn.Sequential(nn.Conv2d(3, FACTOR * width, 3), nn.ReLU())\n"
MACS = 6 * 6 * 3 * 9 * 4


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "blocks.py").write_text(BLOCKS.replace("FACTOR", "1"))
    return tmp_path


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three commits: the width doubles in the second, the file moves in the third; and a change that was not committed."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    top = tmp_path_factory.mktemp("repository")
    folder = top / "src"
    folder.mkdir()
    git(top, "init", "-q")
    (folder / "net.py").write_text(NET)
    (folder / "blocks.py").write_text(BLOCKS.replace("FACTOR", "1"))
    git(top, "add", ".")
    git(top, "commit", "-qm", "one")
    git(top, "tag", "first")
    (folder / "blocks.py").write_text(BLOCKS.replace("FACTOR", "2"))
    git(top, "commit", "-qam", "two")
    (folder / "blocks.py").write_text(BLOCKS.replace("FACTOR", "5"))
    return top


# -- check --------------------------------------------------------------------------------------------------------


def test_check_passes_and_fails(files: Path) -> None:
    spec = f"{files}/net.py:tiny"
    kept = run(
        "check", spec, "--max-macs", str(MACS), "--max-params", "112", "--max-peak", "1MB", "--max-access", "1MB", "--max-flops", "1M"
    )
    assert kept.exit_code == 0, kept.output
    assert "PASSED: all limits are kept" in kept.stdout
    broken = run("check", spec, "--max-macs", str(MACS - 1))
    assert broken.exit_code == 1
    assert f"{MACS:,} MACs found, {MACS - 1:,} MACs allowed: 1 over" in broken.stdout
    assert broken.stderr == ""


def test_check_refuses_what_nobody_can_tell(files: Path) -> None:
    result = run("check", f"{files}/net.py:unpriced", "--max-macs", "1T")
    assert result.exit_code == 1
    assert "nobody can tell whether that is kept, because not everything was counted: gate_test::f" in result.stdout
    assert run("check", f"{files}/net.py:unpriced", "--max-params", "0").exit_code == 0


def test_check_against_a_baseline(files: Path) -> None:
    spec, saved = f"{files}/net.py:tiny", str(files / "baseline.json")
    assert run("analyze", spec, "--format", "json", "-o", saved).exit_code == 0
    assert run("check", spec, "--baseline", saved).exit_code == 0
    assert run("check", saved, "--baseline", saved).exit_code == 0  # two saved reports need no model
    wider = run("check", spec, "--set", "width=5", "--baseline", saved, "--tolerance", "1%")
    assert wider.exit_code == 1
    assert "(baseline 3,888 + 1 %)" in wider.stdout
    assert run("check", spec, "--set", "width=5", "--baseline", saved, "--tolerance", "60%").exit_code == 0
    one = run("check", spec, "--baseline", saved, "--metric", "params", "--format", "json")
    assert [limit["metric"] for limit in json.loads(one.stdout)["limits"]] == ["params"]


def test_options_without_a_model_to_be_about_are_refused(files: Path) -> None:
    saved = str(files / "report.json")
    run("analyze", f"{files}/net.py:tiny", "--format", "json", "-o", saved)
    model = files / "model.onnx"
    model.write_bytes(onnx_model())
    for command in (["check", saved, "--max-macs", "1G", "-i", "9x3x8x8"], ["diff", saved, saved, "--set", "width=8"]):
        result = run(*command)
        assert result.exit_code == 2
        assert "a saved report says what was counted once, and cannot be counted again with other" in result.stderr
    for command in (["diff", str(model), str(model), "--set", "width=8"], ["check", str(model), "--max-macs", "1", "--set", "width=8"]):
        result = run(*command)
        assert result.exit_code == 2
        assert "--set is for PyTorch models" in result.stderr


def test_check_writes_junit_and_json(files: Path) -> None:
    spec, out = f"{files}/net.py:tiny", files / "check.xml"
    result = run("check", spec, "--max-macs", "1k", "--max-params", "1k", "--format", "junit", "-o", str(out))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "2,888 over" in result.stderr  # the log of a run shows why, though the result went to a file
    suite = ElementTree.fromstring(out.read_bytes())[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    data = keeps_to_schema("check", run("check", spec, "--max-macs", "1k", "--format", "json").stdout)
    assert (data["passed"], data["limits"][0]["over"]) == (False, MACS - 1000)


def test_check_of_an_onnx_file_imports_no_torch(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(onnx_model())
    code = (
        "import sys\nfrom flopscope.cli.main import main\n"
        f"try:\n    main(['check', {str(model)!r}, '--max-macs', '512'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([os.sys.executable, "-c", code], check=True, capture_output=True)  # type: ignore[attr-defined]
    assert run("check", str(model), "--max-macs", "511").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to check: give a limit such as --max-macs 300M"),
        (["--max-macs", "300m"], "--max-macs: '300m' is no count"),
        (["--max-peak", "50M"], "--max-peak: '50M' may mean powers of 1,000 or of 1,024"),
        (["--max-macs", "1", "--tolerance", "1%"], "--tolerance belongs to a baseline"),
        (["--max-macs", "1", "--metric", "macs"], "--metric belongs to a baseline"),
        (["--baseline", "FOLDER/blocks.py", "--tolerance", "1"], "'1' is no tolerance"),
        (["--baseline", "FOLDER/none.json"], "cannot read FOLDER/none.json: No such file or directory"),
        (["--baseline", "FOLDER/foreign.json"], "FOLDER/foreign.json is JSON, but no report of flopscope"),
        (["--baseline", "FOLDER/damaged.json"], "FOLDER/damaged.json is damaged, or no JSON"),
    ],
)
def test_wrong_use_of_check_is_told_apart(arguments: list[str], message: str, files: Path) -> None:
    (files / "foreign.json").write_text("{}")
    (files / "damaged.json").write_text('{"schema": ')
    result = run("check", f"{files}/net.py:tiny", *(argument.replace("FOLDER", str(files)) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert message.replace("FOLDER", str(files)) in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


# -- diff ---------------------------------------------------------------------------------------------------------


def test_diff_of_two_front_ends_and_a_saved_report(files: Path) -> None:
    spec, model, saved = f"{files}/net.py:tiny", files / "model.onnx", files / "report.json"
    model.write_bytes(onnx_model())
    saved.write_text(run("analyze", spec, "--format", "json").stdout)
    data = keeps_to_schema("diff", run("diff", spec, str(model), "--format", "json").stdout)
    assert (data["total"]["macs"]["before"], data["total"]["macs"]["after"]) == (MACS, 2 * 16 * 16)
    wider = keeps_to_schema("diff", run("diff", str(saved), spec, "--set", "width=8", "--format", "json").stdout)
    assert wider["total"]["macs"]["change"] == MACS
    mixed = run("diff", spec, str(model), "--set", "width=8", "--format", "json")  # options of PyTorch models pass the file by
    assert json.loads(mixed.stdout)["total"]["macs"]["before"] == 2 * MACS


def test_diff_of_commits_leaves_the_checkout_alone(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)

    def state() -> tuple[object, ...]:
        listed = sorted((str(path.relative_to(repository)), path.stat().st_mtime_ns) for path in (repository / ".git").rglob("*"))
        return listed, git(repository, "worktree", "list"), (repository / "src" / "blocks.py").read_text()

    git(repository, "status")  # which may write the index
    before = state()
    result = run("diff", "src/net.py:tiny@first", "src/net.py:tiny@HEAD", "--format", "json")
    assert result.exit_code == 0, result.output
    total = json.loads(result.stdout)["total"]["macs"]
    assert (total["before"], total["after"]) == (MACS, 2 * MACS)  # blocks.py is read from each commit, too
    assert state() == before


def test_diff_of_a_commit_with_the_checkout(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")  # as a hook of another repository would set it
    monkeypatch.chdir("/")
    data = json.loads(run("diff", f"{repository}/src/net.py:tiny@first", f"{repository}/src/net.py:tiny", "--format", "json").stdout)
    assert (data["total"]["macs"]["before"], data["total"]["macs"]["after"]) == (MACS, 5 * MACS)
    assert data["before"]["model"] == f"{repository}/src/net.py:tiny@first"


def test_code_of_the_checkout_is_no_code_of_the_commit(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An editable installation finds modules in the checkout; that must not pass for the commit."""
    hook = tmp_path / "sitecustomize.py"
    hook.write_text(
        "import importlib.util, sys\n"
        "class Editable:\n    @staticmethod\n    def find_spec(name, path=None, target=None):\n"
        f"        return importlib.util.spec_from_file_location(name, {str(repository / 'src' / 'blocks.py')!r}) if name == 'blocks' else None\n"
        "sys.meta_path.insert(0, Editable)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    result = run("diff", f"{repository}/src/net.py:tiny@first", f"{repository}/src/net.py:tiny@HEAD")
    assert result.exit_code == 2
    assert "the module blocks was imported from" in result.stderr
    assert "which is the checkout and not the commit" in result.stderr


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ("src/net.py:tiny@nowhere", "src/net.py:tiny@nowhere: git knows no commit 'nowhere' there"),
        ("src/net.py:tiny@--output=x", "git knows no commit '--output=x' there"),
        ("src/none.py:tiny@HEAD", "src/none.py:tiny@HEAD: there is no file src/none.py in HEAD"),
        ("gone/none.py:tiny@HEAD", "there is no file gone/none.py in HEAD"),
        ("src/net.py:huge@HEAD", "has no 'huge'. It has:"),
        ("src/net.py@HEAD", "src/net.py@HEAD names no factory: write path/file.py:factory@REV"),
        ("src/net.json@HEAD", "there is no file src/net.json in HEAD"),
        ("/net.py:tiny@HEAD", "/net.py:tiny@HEAD names a commit, but / is in no git repository"),
        ("torchvision:resnet18@HEAD", "torchvision has no model 'resnet18@HEAD'"),
    ],
)
def test_commits_that_are_none(side: str, message: str, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    result = run("diff", side, "src/net.py:tiny")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert len(result.stderr.splitlines()) == 1
    assert "flopscope-" not in result.stderr  # no name of a temporary folder


def test_a_file_at_a_commit_that_is_gone_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    git(tmp_path, "init", "-q")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "report.json").write_text("{}")
    (tmp_path / "old" / "model.onnx").write_bytes(onnx_model())
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    shutil.rmtree(tmp_path / "old")
    monkeypatch.chdir(tmp_path)
    data = json.loads(run("diff", "old/model.onnx@HEAD", "old/model.onnx@HEAD", "--format", "json").stdout)
    assert data["total"]["macs"]["before"] == data["total"]["macs"]["after"] == 2 * 16 * 16
    damaged = run("diff", "old/report.json@HEAD", "old/model.onnx@HEAD")
    assert damaged.exit_code == 2
    assert damaged.stderr.startswith("flopscope: old/report.json@HEAD is JSON, but no report of flopscope")


def test_each_file_imports_what_lies_beside_it(files: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "net.py").write_text(NET)
    (other / "blocks.py").write_text(BLOCKS.replace("FACTOR", "3"))
    data = json.loads(run("diff", f"{files}/net.py:tiny", f"{other}/net.py:tiny", "--format", "json").stdout)
    assert (data["total"]["macs"]["before"], data["total"]["macs"]["after"]) == (MACS, 3 * MACS)


# -- schema -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["report", "diff", "check"])
def test_schema_prints_it(what: str) -> None:
    from flopscope.report.schemas import schema

    assert json.loads(run("schema", what).stdout) == schema(what)  # type: ignore[arg-type]
