"""A file at a commit: ``path/file.py:factory@REV``.

The tree of the commit is written into a temporary folder through an index of its own, so neither the checkout nor anything in ``.git``
changes. The model is then analysed in a process of its own, where nothing of the checkout was imported before.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flopscope.cli.asking import Asked
from flopscope.errors import SavedError, SpecError

if TYPE_CHECKING:
    from flopscope.report.snapshot import Snapshot

_AT = re.compile(r"(?P<path>.+?\.(?:py|onnx|pt2?|json))(?P<factory>(?<=\.py):[\w.]+)?@(?P<rev>.+)", re.DOTALL)
_CHILD = "import sys; sys.path.insert(0, sys.argv[1]); from flopscope.cli.elsewhere import main; main(sys.argv[2])"
_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE")


def split_revision(text: str) -> tuple[str, str, str] | None:
    """The path, the factory (``":tiny"``, or nothing) and the revision of a text; ``None`` where it names no revision.

    Examples:
        >>> split_revision("models/net.py:tiny@HEAD~1")
        ('models/net.py', ':tiny', 'HEAD~1')
        >>> split_revision("models/net.py:tiny")
    """
    match = _AT.fullmatch(text)
    if match is None or Path(text).exists():
        return None
    return match["path"], match["factory"] or "", match["rev"]


def at_revision(asked: Asked, path: str, factory: str, revision: str) -> Snapshot:
    """The numbers of a model as it was at a commit.

    Raises:
        SpecError: there is no git, no repository, no such revision or no such file in it, or the model cannot be analysed there.
        SavedError: it is a saved report, and damaged.
    """
    from flopscope.report.snapshot import read_saved

    folder = _existing(Path(path).absolute().parent)
    spec = f"{path}{factory}@{revision}"
    outside = f"{spec} names a commit, but {folder} is in no git repository"
    top = Path(_git(folder, "rev-parse", "--show-toplevel", refused=outside))
    commit = _commit(folder, spec, revision)
    inside = _inside(folder, Path(path))
    _git(top, "cat-file", "-e", f"{commit}:{inside}", refused=f"{spec}: there is no file {inside} in {revision} ({commit[:12]})")
    with tempfile.TemporaryDirectory(prefix="flopscope-") as temporary:
        tree = Path(temporary) / "tree"
        _write_tree(top, commit, tree)
        if path.endswith(".json"):
            return _saved(tree / inside, spec)
        if path.endswith(".py") and not factory:
            raise SpecError(f"{spec} names no factory: write path/file.py:factory@REV")
        order: dict[str, str | dict[str, object]] = {
            "spec": f"{tree / inside}{factory}",
            "name": spec,
            "asked": asdict(asked),
            "tree": str(tree),
            "top": str(top.resolve()),
            "output": str(Path(temporary) / "report.json"),
        }
        _analyse(order, tree / _inside(folder, Path.cwd()) if _is_inside(Path.cwd(), top) else tree)
        return read_saved(str(order["output"]))


def _saved(path: Path, spec: str) -> Snapshot:
    from flopscope.report.snapshot import read_saved

    try:
        return read_saved(path)
    except SavedError as error:
        raise SavedError(str(error).replace(str(path), spec)) from error


def _existing(folder: Path) -> Path:
    """The nearest folder that is there now: a file of an old commit may have lain in one that is gone."""
    while not folder.is_dir():
        folder = folder.parent
    return folder


def _commit(folder: Path, spec: str, revision: str) -> str:
    is_known = f"{spec}: git knows no commit {revision!r} there"
    return _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", refused=is_known)


def _inside(folder: Path, path: Path) -> str:
    """A path as the repository names it, from its top folder on. ``folder`` is a folder of the repository."""
    path = Path(os.path.abspath(path))  # not resolved: a link is a file of the repository too
    near = _existing(path)
    prefix = _git(near, "rev-parse", "--show-prefix", refused=f"{path} is outside the repository of {folder}")
    rest = path.relative_to(near)
    return str(Path(prefix) / rest)


def _is_inside(path: Path, top: Path) -> bool:
    return path.resolve().is_relative_to(top.resolve())


def _write_tree(top: Path, commit: str, tree: Path) -> None:
    tree.mkdir()
    index = {"GIT_INDEX_FILE": str(tree.with_name("index"))}
    refused = f"git cannot write the files of {commit[:12]}"
    _git(top, "read-tree", commit, refused=refused, more=index)
    _git(top, "checkout-index", "--all", "--quiet", f"--prefix={tree}/", refused=refused, more=index)


def _git(folder: Path, *arguments: str, refused: str, more: Mapping[str, str] | None = None) -> str:
    """What git prints; where it fails, an error that begins with ``refused`` and ends with git's own reason."""
    environment = {name: value for name, value in os.environ.items() if name not in _REPOSITORY}  # a hook of git sets them
    environment |= {"GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", **(more or {})}
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, env=environment, check=False)
    except FileNotFoundError as error:
        raise SpecError(f"a commit was named, but git is not installed: {error.strerror}") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise SpecError(f"{refused}{f' ({reason[0]})' if reason else ''}")
    return done.stdout.decode(errors="surrogateescape").rstrip("\n")


def _analyse(order: Mapping[str, object], folder: Path) -> None:
    """Analyse a model in a process of its own, which reads all but flopscope from the commit."""
    import flopscope

    home = str(Path(flopscope.__file__).parent.parent)
    while not folder.is_dir():
        folder = folder.parent  # the folder where the user is may be younger than the commit
    command = [sys.executable, "-P", "-c", _CHILD, home, json.dumps(order)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    tree, top = str(order["tree"]), str(order["top"])
    said = done.stderr.replace(tree, top)
    if done.returncode:
        reason = (said.strip().splitlines() or ["it ended without a word"])[-1]
        raise SpecError(f"{order['name']}: {reason}")
    if said:
        click.echo(said, err=True, nl=False)
