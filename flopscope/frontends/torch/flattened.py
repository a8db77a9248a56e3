"""Scopes in models whose submodules do not run as Python modules: scripted and exported ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flopscope.frontends.torch.census import Inventory
from flopscope.graph import Op


def scope_by_weights(ops: Sequence[Op], paths: Collection[str], inventory: Inventory) -> None:
    """Give each op that such a module ran the scope of the submodule that owns the first weight that it reads."""
    owner = {name: path for name, path, _ in inventory.weights.values()}
    for op in ops:
        if op.scope not in paths:
            continue
        for value in op.inputs:
            path = owner.get(value.name or "") if value.role in ("parameter", "buffer") else None
            if path is not None and path.startswith(op.scope):
                op.scope = path
                break
