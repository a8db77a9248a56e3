"""The benchmark of the constrained search: what it does with folders that are there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.constrained_darts import _run
from nas.data import load
from nas.errors import RunError
from nas.recipe import load as load_recipe


def test_a_folder_of_other_settings_is_refused_and_one_of_the_same_goes_on(tmp_path: Path) -> None:
    recipe, data = load_recipe("small"), load("digits")
    folder = _run(tmp_path / "search", "search", recipe, data, {}).folder
    assert _run(folder, "search", recipe, data, {}).recipe() == recipe
    with pytest.raises(RunError, match="holds a run with other settings than this benchmark's now: remove it"):
        _run(folder, "search", load_recipe("small", [("seed", 1)]), data, {})
