"""The process that analyses a model at a commit: everything but flopscope is imported from the files of that commit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from flopscope.errors import FlopscopeError, SpecError


def main(text: str) -> None:
    """Analyse what an order says, and save the report. Errors of flopscope end the process with their message.

    Args:
        text: the order as JSON: the SPEC in the tree, the name to show, the options, the tree, the top of the checkout, the file to write.
    """
    order: dict[str, Any] = json.loads(text)
    try:
        _analyse(order)
    except FlopscopeError as error:
        sys.stderr.write(f"\n{' '.join(str(error).split())}\n")
        sys.exit(2)


def _analyse(order: dict[str, Any]) -> None:
    from flopscope.cli.asking import Asked
    from flopscope.cli.output import results_only

    tree, top = Path(order["tree"]), Path(order["top"])
    sys.path[:] = [*_of_tree(sys.path[1:], tree, top), sys.path[0]]
    with results_only():
        report = Asked(**order["asked"]).report(order["spec"])
    _check_sources(tree, top)
    report.graph.name = order["name"]
    Path(order["output"]).write_text(report.to_json(None), encoding="utf-8")


def _of_tree(paths: list[str], tree: Path, top: Path) -> list[str]:
    """The places of modules with those of the checkout replaced by those of the commit, where it has them."""
    found = []
    for path in paths:
        place = Path(path).resolve()
        inside = tree / place.relative_to(top) if place.is_relative_to(top) else place
        found.append(str(inside if inside.exists() else place))
    return found


def _check_sources(tree: Path, top: Path) -> None:
    """See that no module came from the checkout that the commit has too, as an editable installation would give it.

    Raises:
        SpecError: one did.
    """
    import flopscope

    own = Path(flopscope.__file__).resolve().parent
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str):
            continue
        place = Path(file).resolve()
        if place.is_relative_to(own) or not place.is_relative_to(top):
            continue
        if (tree / place.relative_to(top)).exists():
            raise SpecError(
                f"the module {name} was imported from {place}, which is the checkout and not the commit; "
                "import it by a path relative to the file, or check the commit out (git worktree add) and analyse it there"
            )
