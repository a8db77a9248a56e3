"""Scopes in models whose submodules do not run as Python modules: scripted and exported ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flopscope.frontends.torch.census import Inventory
from flopscope.graph import Op


def scope_by_weights(ops: Sequence[Op], paths: Collection[str], inventory: Inventory) -> int:
    """Give each op that such a module ran the scope of the submodule that owns the first weight that it reads.

    Returns:
        How many ops read no weight of a submodule, and so stay with the program as a whole. A program without submodules has none.
    """
    owner = {name: path for name, path, _ in inventory.weights.values()}
    inside = set(owner.values()) - {""}
    programs = {path for path in paths if any(below != path and f"{below}.".startswith(f"{path}." if path else "") for below in inside)}
    left = 0
    for op in ops:
        if op.scope not in paths:
            continue
        for value in op.inputs:
            path = owner.get(value.name or "") if value.role in ("parameter", "buffer") else None
            if path is not None and path.startswith(op.scope):
                op.scope = path
                break
        else:
            left += op.scope in programs
    return left
