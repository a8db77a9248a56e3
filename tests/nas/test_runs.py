"""Runs: what is killed goes on as if it had not been."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import flopscope
from nas import job as job_module
from nas.data import load
from nas.errors import RunError
from nas.genotype import Genotype
from nas.models.spec import build
from nas.recipe import Recipe
from nas.recipe import load as load_recipe
from nas.runs import Run
from nas.searching import Search, space_of
from nas.training import Training

TINY: list[tuple[str, Any]] = [
    ("data.limit", 128), ("space.nodes", 2), ("space.channels", 2), ("space.layers", 3), ("network.layers", 3), ("network.channels", 4),
    ("space.operations", "none,skip_connect,sep_conv_3x3,max_pool_3x3"), ("search.epochs", 2), ("train.epochs", 2),
    ("train.drop_path", 0.3), ("train.auxiliary", 0.4), ("train.cutout", 2), ("machine.threads", 1),
]  # fmt: skip
CELLS = Genotype((("sep_conv_3x3", 0), ("skip_connect", 1)), (2,), (("sep_conv_3x3", 0), ("skip_connect", 1)), (2,))
BUDGET: list[tuple[str, Any]] = [("objective.form", "budget"), ("objective.of", "network"), ("objective.metric", "macs")]


class Killed(BaseException):
    """Stands for a kill."""


def _search(folder: Path, recipe: Recipe) -> Search:
    data = load("digits")
    run = Run.open(folder) if Run.is_at(folder) else Run.create(folder, "search", recipe, data, {})
    return Search(run, run.recipe(), data)


def _train(folder: Path, recipe: Recipe) -> Training:
    data = load("digits")
    run = Run.open(folder) if Run.is_at(folder) else Run.create(folder, "train", recipe, data, {}, CELLS)
    torch.manual_seed(0)
    network = build(run.network(), data.shape, 10, space_of(recipe).trained, auxiliary=True)
    return Training(run, recipe, data, network)


def _numbers(folder: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in event.items() if key != "seconds"} for event in Run(folder).events()]


def _tensors(folder: Path) -> dict[str, Any]:
    found = Run(folder).load_checkpoint(torch.device("cpu"))
    assert found is not None
    return found["supernet" if "supernet" in found else "network"]  # type: ignore[no-any-return]


def _assert_equal(one: Path, other: Path) -> None:
    assert _numbers(one) == _numbers(other)
    assert len(_numbers(one)) == 2
    mine, theirs = _tensors(one), _tensors(other)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def _killed_around_writes(start: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """Die before and after writes of either kind, and go on each time. Returns how often it died."""
    deaths = 0
    monkeypatch.setattr(job_module, "CHECKPOINT_SECONDS", -1.0)  # after every step
    for after in (False, True):
        for name, fatal in (("save_checkpoint", 2), ("add_event", 1)):
            real, calls, job = getattr(Run, name), [], start()

            def dies(self: Run, given: Any, real: Any = real, calls: list[int] = calls, after: bool = after, fatal: int = fatal) -> None:
                calls.append(1)
                if after:
                    real(self, given)
                if len(calls) == fatal:
                    raise Killed
                if not after:
                    real(self, given)

            with monkeypatch.context() as patch:
                patch.setattr(Run, name, dies)
                with pytest.raises(Killed):
                    job.finish()
            deaths += 1
    start().finish()
    return deaths


def test_a_search_that_was_killed_between_writes_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("small", TINY)
    whole = _search(tmp_path / "whole", recipe).finish()
    assert _killed_around_writes(lambda: _search(tmp_path / "killed", recipe), monkeypatch) == 4
    _assert_equal(tmp_path / "whole", tmp_path / "killed")
    assert (tmp_path / "killed/genotype.json").read_text() == (tmp_path / "whole/genotype.json").read_text()
    assert whole.to_dict() == json.loads((tmp_path / "whole/genotype.json").read_text(), object_hook=_tuples)


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(tuple(item) if isinstance(item, list) else item for item in value) for key, value in data.items()}


def test_a_training_that_was_killed_between_writes_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("small", TINY)
    accuracy = _train(tmp_path / "whole", recipe).finish()
    _killed_around_writes(lambda: _train(tmp_path / "killed", recipe), monkeypatch)
    _assert_equal(tmp_path / "whole", tmp_path / "killed")
    result = Run(tmp_path / "killed").read_json("result.json")
    used = flopscope.analyze(space_of(recipe).network(CELLS, (1, 8, 8), 10).eval(), "1x1x8x8").total  # without the auxiliary head
    cost = {"params": used.params, "macs": used.macs, "flops": used.flops, "access": used.access}
    assert result == {"test_accuracy": accuracy, **cost}


def test_a_process_that_is_killed_ends_the_same(tmp_path: Path) -> None:
    """The real thing: SIGKILL, a second process, the command line."""
    settings = [part for key, value in TINY for part in ("--set", f"{key}={value}")]
    settings += ["--set", "search.epochs=6"]
    command = [sys.executable, "-m", "nas", "search"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "small", *settings, "--out", str(whole)], check=True, env=environment, capture_output=True, timeout=300)
    process = subprocess.Popen([*command, "small", *settings, "--out", str(killed)], env=environment, stdout=subprocess.DEVNULL)
    begun = time.monotonic()
    while not Run(killed).events() and process.poll() is None and time.monotonic() - begun < 200:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL, "it finished before it could be killed"
    assert len(Run(killed).events()) < 6
    done = subprocess.run([*command, "--resume", str(killed)], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert _numbers(whole) == _numbers(killed)
    assert (killed / "genotype.json").read_text() == (whole / "genotype.json").read_text()
    for name in ("report.md", "history.png", "weights.png", "cells.png", "environment.json"):
        assert (killed / name).stat().st_size > 0
    assert str(Run(whole).events()[-1]["derived_cost"]) in (whole / "report.md").read_text().replace(",", "")


def test_a_budget_is_met_within_two_percent(tmp_path: Path) -> None:
    free = load_recipe("small", TINY)
    costs = space_of(free).network_cost("macs", (1, 8, 8), 10)
    target = int(costs.constant + 0.4 * sum(int(table.sum()) for table in costs.tables.values()) / 5)
    recipe = load_recipe("small", [*TINY, *BUDGET, ("objective.target", float(target))])
    genotype = _search(tmp_path / "run", recipe).finish()
    assert 0.98 * target <= costs.of(genotype) <= target
    assert Run(tmp_path / "run").read_json("result.json")["cost"] == costs.of(genotype)
    assert Run(tmp_path / "run").events()[-1]["budget"] == target


def test_what_cannot_be_done_with_a_folder_is_said(tmp_path: Path) -> None:
    recipe, data = load_recipe("small", TINY), load("digits")
    with pytest.raises(RunError, match="holds no run"):
        Run.open(tmp_path)
    Run.create(tmp_path / "run", "search", recipe, data, {})
    with pytest.raises(RunError, match="holds a run already"):
        Run.create(tmp_path / "run", "search", recipe, data, {})
    with pytest.raises(RunError, match="of kind 'search', but one of kind 'train'"):
        Run.open(tmp_path / "run", "train")
    (tmp_path / "run/checkpoint.pt").write_bytes(b"nonsense")
    with pytest.raises(RunError, match="cannot be read"):
        Run.open(tmp_path / "run").load_checkpoint(torch.device("cpu"))
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot make the run folder"):
        Run.create(tmp_path / "file/run", "search", recipe, data, {})
    assert Run.open(tmp_path / "run").recipe() == recipe


def test_a_recipe_names_paths_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("table.json", "root.npz"):
        (tmp_path / name).touch()
    (tmp_path / "digits").mkdir()  # which is no path where it names the digits
    recipe = load_recipe("small", [("objective.table", "table.json"), ("data.root", "root.npz")])
    stored = Run.create(tmp_path / "run", "search", recipe, load("digits"), {}).recipe()
    assert stored.objective.table == str(tmp_path / "table.json")
    assert stored.data == replace(recipe.data, root=str(tmp_path / "root.npz"))


def test_a_full_disk_is_said_and_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.save_checkpoint({"epoch": 0, "step": 0, "sums": torch.zeros(1)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(RunError, match=r"cannot write .*checkpoint.pt: File too large"):
            run.save_checkpoint({"epoch": 1, "step": 0, "sums": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    state = run.load_checkpoint(torch.device("cpu"))
    assert state is not None
    assert state["epoch"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_what_a_kill_left_of_a_write_goes_with_the_next(tmp_path: Path) -> None:
    def dies(file: Any) -> None:
        raise Killed

    with pytest.raises(Killed):
        Run(tmp_path).write("run.json", dies)
    assert not list(tmp_path.iterdir())
    (tmp_path / ".run.json.partial").write_text("{")  # of a process that had no time to remove it
    Run(tmp_path).write_json("run.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
