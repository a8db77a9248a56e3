"""The public surface: names, docstrings and their examples."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import flopscope
import nas
import nas.errors
from flopscope import errors

FLOPSCOPE = [found.name for found in pkgutil.walk_packages(flopscope.__path__, "flopscope.") if not found.name.endswith("__main__")]
NAS = [found.name for found in pkgutil.walk_packages(nas.__path__, "nas.") if not found.name.endswith("__main__")]
MODULES = [*FLOPSCOPE, "nas", *NAS]


def test_all_is_what_can_be_imported() -> None:
    assert flopscope.__all__ == sorted(flopscope.__all__, key=str)
    for name in flopscope.__all__:
        assert getattr(flopscope, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = flopscope.nonsense


@pytest.mark.parametrize("name", ["flopscope", *MODULES])
def test_examples_in_docstrings_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", ["flopscope", *MODULES])
def test_everything_public_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, name
    for member_name, member in vars(module).items():
        if member_name.startswith("_") or getattr(member, "__module__", None) != name:
            continue
        if inspect.isclass(member) or inspect.isfunction(member):
            assert inspect.getdoc(member), f"{name}.{member_name}"


@pytest.mark.parametrize(("module", "base"), [(errors, "FlopscopeError"), (nas.errors, "NasError")])
def test_the_exception_tree_is_as_drawn(module: ModuleType, base: str) -> None:
    drawn = [line.replace("│", " ").split("── ")[-1].split()[0] for line in (module.__doc__ or "").splitlines() if "──" in line]
    found = [name for name, value in vars(module).items() if inspect.isclass(value) and issubclass(value, errors.FlopscopeError)]
    assert sorted({*drawn, base}) == sorted({*found, base} - {"FlopscopeError"} | {base})


@pytest.mark.parametrize("name", [name for name in flopscope.__all__ if name != "__version__"])
def test_everything_exported_has_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(getattr(flopscope, name)) or "")


def test_the_report_shows_what_it_can_be_asked() -> None:
    text = inspect.getdoc(flopscope.Report) or ""
    public = [name for name in vars(flopscope.Report) if not name.startswith("_")]
    assert [name for name in public if f".{name}" not in text and f"`{name}`" not in text] == []


def test_the_page_of_the_api_is_what_the_docstrings_say(tmp_path: Path) -> None:
    place = Path(__file__).parent.parent / "docs"
    spec = importlib.util.spec_from_file_location("api_page", place / "api_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == (place / "api.md").read_text(encoding="utf-8"), "run: python docs/api_page.py"


def test_imports_go_downwards_only() -> None:
    """The layers of the package, from top to bottom: nothing imports from above."""
    layers = [
        "cli",
        "api",
        "report",
        "relax",
        "latency",
        "analyses",
        "rules",
        "frontends",
        "step",
        "graph",
        "tensor_type",
        "cost",
        "errors",
        "version",
    ]
    for name in FLOPSCOPE:
        own = name.split(".")[1]
        source = inspect.getsource(importlib.import_module(name))
        for line in source.splitlines():  # imports for type checkers are indented, those inside functions too
            if line.startswith("from flopscope."):
                other = line.split()[1].split(".")[1]
                assert layers.index(own) <= layers.index(other), f"{name}: {line}"


def test_imports_of_nas_go_downwards_only() -> None:
    """A space knows no search, a search no space, and an objective neither; flopscope knows nothing of nas."""
    forbidden = {
        "nas.spaces": ("nas.search", "nas.objectives", "nas.runs", "nas.recipe", "nas.cli", "nas.data"),
        "nas.search.": ("nas.spaces.darts", "nas.runs", "nas.recipe", "nas.cli", "nas.data"),
        "nas.objectives": ("nas.spaces", "nas.search", "nas.cli", "nas.data"),
        "nas.relaxations": ("nas.",),
        "nas.data": ("nas.spaces", "nas.search", "nas.objectives", "nas.recipe", "nas.runs"),
        "nas.models": ("nas.search", "nas.objectives", "nas.recipe", "nas.runs", "nas.data"),
        "flopscope": ("nas",),
    }
    for name in MODULES:
        for line in inspect.getsource(importlib.import_module(name)).splitlines():
            if not line.lstrip().startswith(("from nas", "import nas")):
                continue
            other = line.split()[1]
            for inside, outside in forbidden.items():
                assert not (name.startswith(inside) and other.startswith(outside)), f"{name}: {line}"
