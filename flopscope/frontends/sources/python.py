"""Models from importable code and from files."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from flopscope.errors import SpecError
from flopscope.frontends.sources.loaded import Loaded, built


def load(spec: str, settings: Mapping[str, Any]) -> Loaded:
    """What the factory returns: a module, or a tuple of a module and its inputs.

    Raises:
        SpecError: the file, module or factory does not exist, raises, or returns something else.
    """
    place, _, factory_name = spec.rpartition(":")
    module = _from_file(Path(place)) if place.endswith(".py") else _from_import(place, spec)
    factory: Any = module
    for part in factory_name.split("."):
        factory = getattr(factory, part, None)
        if factory is None:
            public = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            raise SpecError(f"{place} has no {factory_name!r}. It has: {', '.join(public) or 'nothing that can be called'}")
    if isinstance(factory, nn.Module):
        result: Any = factory
    elif callable(factory):
        result = built(lambda: factory(**settings), spec)
    else:
        raise SpecError(f"{spec} is a {type(factory).__name__}, where a function, a class or a module is needed")
    args: tuple[Any, ...] = ()
    if isinstance(result, tuple) and result:
        result, *rest = result
        args = tuple(rest)
    if isinstance(result, type) or not callable(result):
        raise SpecError(f"{spec} returned {_kind(result)}, where a torch.nn.Module is needed, or a tuple of one and its inputs")
    # A module is counted as the factory left it: training or evaluation is its author's choice.
    return Loaded(spec, result, args)


def _kind(found: Any) -> str:
    return f"the class {found.__name__} itself" if isinstance(found, type) else f"an object of type {type(found).__name__}"


def _from_import(name: str, spec: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as ``python -m`` does
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a script may end the process
        missing = (
            isinstance(error, ModuleNotFoundError) and error.name is not None and (name == error.name or name.startswith(error.name + "."))
        )
        if missing:
            raise SpecError(
                f"{spec!r} names the module {name!r}, which cannot be found. Known sources are torchvision:, timm: and hf:; "
                "anything else is package.module:factory or path/to/file.py:factory"
            ) from error
        raise SpecError(f"importing {name!r} raised {type(error).__name__}: {error}") from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SpecError(f"there is no file {path} (looked in {Path.cwd()})")
    spec = importlib.util.spec_from_file_location(f"_flopscope_spec_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    _forget_namesakes(path.parent.resolve())
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script may end the process
        raise SpecError(f"importing {path} raised {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


_folders: set[Path] = set()
"""Where the files lay that were loaded before."""


def _forget_namesakes(folder: Path) -> None:
    """Forget what an earlier file imported from beside it, where this folder has modules of the same names: each file gets its own."""
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if not (folder / f"{top}.py").is_file() and not (folder / top).is_dir():
            continue
        file = getattr(module, "__file__", None)
        place = Path(file).resolve() if isinstance(file, str) else None
        if place is not None and not place.is_relative_to(folder) and any(place.is_relative_to(other) for other in _folders):
            del sys.modules[name]
    _folders.add(folder)
