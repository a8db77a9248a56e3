"""Every command can be piped: each format is sound, no colours, results apart from messages, and a reader that goes away is no error."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from flopscope.cli.main import main
from tests.report.test_schema import check as keeps_to_schema

MODELS = """
import torch
from torch import nn

class Said(nn.Sequential):
    def forward(self, x):
        print("running")
        return super().forward(x)

def tiny(width=4):
    return Said(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 36, 2)), torch.empty(2, 3, 8, 8)
"""
EXAMPLES: dict[str, list[str]] = {
    "compare": ["SPEC", "SPEC"],
    "sweep": ["SPEC", "--batch", "1..8"],
    "explain": ["SPEC", "--vs", "thop"],
    "why": ["SPEC", "0"],
    "diff": ["SPEC", "SPEC"],
    "check": ["SPEC", "--max-macs", "1G"],
    "list": ["torchvision", "mnasnet*"],
    "conventions": [],
    "schema": [],
    "fit": ["SPEC", "--memory", "1GB"],
    "report": ["SPEC", "-o", "-"],
    "latency": ["SPEC", "--device", "rtx4090"],
    "energy": ["SPEC", "--device", "t4"],
    "devices": [],
    "measure": ["SPEC", "--table", "TABLE"],
    "tables": ["--table", "TABLE"],
}
"""The arguments of a short run of each command; of those that are not here, a SPEC alone."""
TO_FILES = {"calibrate", "learn"}
"""Commands that write files about a machine, and nothing else."""
ONE_KIND = {"report", *TO_FILES}
"""Commands that write one kind of file, and need no format."""
SCHEMAS = {"analyze": "report", "diff": "diff", "check": "check"}
STABLE = {
    "analyze": "module,class,depth,calls,output,macs,flops,params,access,access_bytes,elements_read,elements_written,bytes_read,"
    "bytes_written,uncounted,intensity",
    "compare": "model,input,complete,macs,flops,params,access,access_bytes,elements_read,elements_written,bytes_read,bytes_written,"
    "uncounted,intensity",
    "sweep": "B,macs",
    "memory": "op,scope,target,live_bytes,ideal_live_bytes",
    "list": "model",
    "conventions": "name,version,unit,tool,text",
    "check": "metric,source,allowed,found,over,partial,status,baseline,baseline_partial,reason",
    "diff": "level,name,name_before,change,macs_before,macs_after,macs_change,flops_before,flops_after,flops_change,params_before,"
    "params_after,params_change,access_bytes_before,access_bytes_after,access_bytes_change,peak_bytes_before,peak_bytes_after,"
    "peak_bytes_change,partial",
}
"""The columns of the csv format: a change breaks what reads them."""
COMMANDS: dict[str, click.Command] = dict(main.commands)  # type: ignore[attr-defined]
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\x9b]")


def formats(name: str) -> list[str]:
    """What a command can be written as; a command without the option has none."""
    found = [parameter.type for parameter in COMMANDS[name].params if "--format" in parameter.opts]
    return list(found[0].choices) if found else []  # type: ignore[attr-defined]


def cases() -> list[tuple[str, str]]:
    return [(name, style) for name in COMMANDS for style in formats(name)]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("pipes") / "models.py"
    path.write_text(MODELS)
    found = f"{path}:tiny"
    assert run("measure", found, "--table", str(path.with_name("TABLE"))).exit_code == 0
    return found


def arguments(name: str, spec: str) -> list[str]:
    stands_for = {"SPEC": spec, "TABLE": str(Path(spec.removesuffix(":tiny")).with_name("TABLE"))}
    return [name, *(stands_for.get(argument, argument) for argument in EXAMPLES.get(name, ["SPEC"]))]


def run(*parts: str) -> Result:
    return CliRunner().invoke(main, list(parts))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_formats_and_a_file_to_write(name: str) -> None:
    assert name in ONE_KIND or "json" in formats(name), f"{name} has no --format that a program reads"
    assert any("--output" in parameter.opts for parameter in COMMANDS[name].params)


@pytest.mark.parametrize(("name", "style"), cases())
def test_every_format_is_sound_and_alone_on_the_output(name: str, style: str, spec: str) -> None:
    result = run(*arguments(name, spec), "--format", style)
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not CONTROL.search(text)
    assert "running" not in text.splitlines()
    assert set(result.stderr.splitlines()) <= {"running"}
    if style == "json":
        found: Any = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
        assert found
        if name in SCHEMAS:
            keeps_to_schema(SCHEMAS[name], text)
    elif style == "csv":
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in rows}) == 1
        assert len(set(rows[0])) == len(rows[0])
    elif style == "markdown":
        tables = [line for line in text.splitlines() if line.startswith("|")]
        assert name not in ("analyze", "compare", "diff") or tables
    elif style == "latex":
        assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") >= 1


def test_a_hostile_name_gives_no_orders_to_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "hostile.py"
    path.write_text(
        "import torch\nfrom torch import nn\n\ndef make():\n    model = nn.Sequential()\n"
        "    model.add_module('\\x1b[31m\\x9b2J\\x07<script>', nn.Linear(4, 4))\n    return model, torch.empty(1, 4)\n"
    )
    for command in (["analyze"], ["analyze", "--format", "csv"], ["memory"], ["diff", f"{path}:make"], ["check", "--max-macs", "1"]):
        result = run(command[0], f"{path}:make", *command[1:])
        assert "<script>" in result.stdout, command
        assert not CONTROL.search(result.stdout), command


@pytest.mark.parametrize("name", STABLE)
def test_columns_keep_their_names(name: str, spec: str) -> None:
    more = ["--by", "module"] if name == "analyze" else []
    assert run(*arguments(name, spec), *more, "--format", "csv").stdout.splitlines()[0] == STABLE[name]


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - TO_FILES))
def test_a_file_gets_what_the_output_would(name: str, spec: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    style = ["--format", formats(name)[-1]] if formats(name) else []
    result = run(*arguments(name, spec), *style, "-o", str(path))
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert f"wrote {path}" in result.stderr
    assert path.read_text(encoding="utf-8") == run(*arguments(name, spec), *style).stdout


DRIVER = r"""
import json, os, sys
import torch, flopscope
from click.testing import CliRunner
from flopscope.cli.main import main

commands = json.loads(sys.argv[1])
for command in commands.values():
    CliRunner().invoke(main, command)  # what each imports need not be imported again by the children

def child(command, out, err):
    pid = os.fork()
    if pid:
        return pid
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # buffered, as it is unless the environment says otherwise
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)
    code = 0
    try:
        main(command)
    except SystemExit as end:
        code = end.code
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        code = 120  # as the interpreter ends then
    os._exit(code)

found = {}
for name, command in commands.items():
    reader, writer = os.pipe()
    os.close(reader)  # as `| head -0` does, or `| head` once it has seen enough
    said, say = os.pipe()
    pid = child(command, writer, say)
    os.close(writer)
    os.close(say)
    with open(said, encoding="utf-8") as pipe:
        errors = pipe.read()
    found[name] = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), errors]

import pty, threading
master, slave = pty.openpty()
reader, writer = os.pipe()
pid = child(json.loads(sys.argv[2]), writer, slave)
os.close(writer)
os.close(slave)
shown = b""
def watch():
    global shown
    try:
        while part := os.read(master, 4096):
            shown += part
    except OSError:
        pass  # the other end is closed
thread = threading.Thread(target=watch)
thread.start()
with open(reader, encoding="utf-8") as pipe:
    text = pipe.read()
thread.join()
found["terminal"] = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode(errors="replace"), text]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def piped(spec: str) -> dict[str, list[Any]]:
    """Exit code and messages of every command whose reader has gone; and one with its messages on a terminal."""
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    commands = {name: arguments(name, spec) for name in COMMANDS if name not in TO_FILES}
    commands["check, over"] = ["check", spec, "--max-macs", "1"]
    command = [sys.executable, "-W", "ignore", "-c", DRIVER, json.dumps(commands), json.dumps(["analyze", spec, "--format", "json"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - TO_FILES))
def test_a_reader_that_goes_away_is_no_error(name: str, piped: dict[str, list[Any]]) -> None:
    code, errors = piped[name]
    assert code == 0, errors
    assert set(errors.splitlines()) <= {"running"}


def test_a_gate_stays_shut_when_nobody_reads(piped: dict[str, list[Any]]) -> None:
    assert piped["check, over"][0] == 1


def test_progress_is_shown_on_a_terminal_and_apart_from_the_result(piped: dict[str, list[Any]]) -> None:
    code, shown, text = piped["terminal"]
    assert code == 0
    assert "analysing" in shown
    assert "\x1b[" in shown
    keeps_to_schema("report", text)
