"""Leaving the user's model as it was found, also when its forward writes to it."""

from __future__ import annotations

import operator
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

_COPIED = frozenset((dict, list, set))

_FIRST_NAMES = tuple(vars(nn.Module()))


@contextmanager
def untouched(modules: list[nn.Module]) -> Iterator[None]:
    """Put back, on leaving, every attribute of the modules that was set, deleted or replaced, and the random number generators.

    Attributes are restored by identity, and lists, dicts and sets that are attributes by their members. Data that an attribute holds at a
    deeper level is not followed.
    """
    before = [_snapshot(module) for module in modules]
    random_state, torch_state = random.getstate(), torch.get_rng_state()
    numpy_random = getattr(sys.modules.get("numpy"), "random", None)
    numpy_state = numpy_random.get_state() if numpy_random is not None else None
    try:
        yield
    finally:
        for module, (names, values, copies) in zip(modules, before, strict=True):
            _restore(module, names, values, copies)
        random.setstate(random_state)
        torch.set_rng_state(torch_state)
        if numpy_random is not None and numpy_state is not None:
            numpy_random.set_state(numpy_state)


_Snapshot = tuple[tuple[str, ...], tuple[Any, ...], list[tuple[Any, Any]]]


def _snapshot(module: nn.Module) -> _Snapshot:
    state = module.__dict__
    names, values = tuple(state), tuple(state.values())
    # The attributes that every module begins with are known, and only three of them hold what a forward may change.
    known = len(_FIRST_NAMES) if names[: len(_FIRST_NAMES)] == _FIRST_NAMES else 0
    copies = [(value, value.copy()) for value in values[known:] if type(value) in _COPIED]
    if known:
        copies += [(value, value.copy()) for value in (module._parameters, module._buffers, module._modules) if value]
    return names, values, copies


def _restore(module: nn.Module, names: tuple[str, ...], values: tuple[Any, ...], copies: list[tuple[Any, Any]]) -> None:
    state = module.__dict__
    if len(state) != len(names) or not all(map(operator.is_, state.values(), values)):
        for name in [name for name in state if name not in names]:
            del state[name]
        state.update(zip(names, values, strict=True))
    for container, copy in copies:
        if (container or copy) and not _same_members(container, copy):
            container.clear()
            (container.extend if isinstance(container, list) else container.update)(copy)


def _same_members(one: Any, other: Any) -> bool:
    if len(one) != len(other):
        return False
    if isinstance(one, dict):
        return all(map(operator.is_, one.values(), other.values())) and all(map(operator.eq, one, other))
    return bool(one == other) if isinstance(one, set) else all(map(operator.is_, one, other))
