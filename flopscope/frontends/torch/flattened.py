"""Scopes in models whose submodules do not run as Python modules: scripted and exported ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from flopscope.frontends.torch.census import Inventory
from flopscope.graph import Op


def flattened_paths(modules: Sequence[nn.Module], paths: dict[int, str]) -> set[str]:
    """The paths of the modules that run everything below them as one program."""
    kinds: tuple[Any, ...] = (torch.jit.ScriptModule, torch.fx.GraphModule)
    return {paths[id(module)] for module in modules if isinstance(module, kinds)}


def scope_by_weights(ops: Sequence[Op], paths: set[str], inventory: Inventory) -> None:
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
