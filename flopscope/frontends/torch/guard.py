"""Leaving the user's model as it was found, also when its forward writes to it."""

from __future__ import annotations

import operator
import random
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

_WANTS_GRADIENT = operator.attrgetter("requires_grad")
_COPIED = frozenset((dict, list, set, OrderedDict, defaultdict, deque))


@contextmanager
def untouched(modules: list[nn.Module], *, gradients: bool = False) -> Iterator[None]:
    """Put back, on leaving, every attribute of the modules that was set, deleted or replaced, and the random number generators.

    So are the flags of the parameters that ask for gradients and, with ``gradients``, the gradients that they hold. Attributes are restored
    by identity, and lists, dicts and sets that are attributes by their members. Data that an attribute holds at a
    deeper level is not followed.
    """
    modules = [module for module in modules if not isinstance(module, torch.jit.ScriptModule)]  # their state is not in Python
    before = [_snapshot(module, gradients) for module in modules]
    parameters = [p for found in before if found[1] for p in found[1].values() if p is not None]
    flags = list(map(_WANTS_GRADIENT, parameters))
    held = [p.grad for p in parameters] if gradients else []
    default_dtype = torch.get_default_dtype()
    random_state, torch_state = random.getstate(), torch.get_rng_state()
    numpy_random = getattr(sys.modules.get("numpy"), "random", None)
    numpy_state = numpy_random.get_state() if numpy_random is not None else None
    try:
        yield
    finally:
        for module, snapshot in zip(modules, before, strict=True):
            _restore(module, snapshot)
        if list(map(_WANTS_GRADIENT, parameters)) != flags:
            for parameter, flag in zip(parameters, flags, strict=True):
                parameter.requires_grad_(flag)
        for parameter, gradient in zip(parameters, held, strict=False):
            parameter.grad = gradient
        torch.set_default_dtype(default_dtype)
        random.setstate(random_state)
        torch.set_rng_state(torch_state)
        if numpy_random is not None and numpy_state is not None:
            numpy_random.set_state(numpy_state)


_Snapshot = tuple[dict[str, Any], "dict[str, Any] | None", "dict[str, Any] | None", "dict[str, Any] | None", list[tuple[Any, Any]]]


def _snapshot(module: nn.Module, hooks: bool) -> _Snapshot:
    """The attributes, parameters, buffers and children of a module (``None`` where it has none), and copies of its other containers."""
    state = module.__dict__.copy()
    parameters, buffers, children = state["_parameters"], state["_buffers"], state["_modules"]
    others: list[tuple[Any, Any]] = _NOTHING
    # The layers of torch itself hold no other lists, dicts or sets that a forward changes, but for hooks.
    if hooks or not type(module).__module__.startswith("torch.nn.modules"):
        others = [(value, value.copy() if value else None) for value in state.values() if type(value) in _COPIED]
    return (
        state,
        parameters.copy() if parameters else None,
        buffers.copy() if buffers else None,
        children.copy() if children else None,
        others,
    )


_NOTHING: list[tuple[Any, Any]] = []


def _restore(module: nn.Module, snapshot: _Snapshot) -> None:
    before, parameters, buffers, children, others = snapshot
    state = module.__dict__
    if len(state) != len(before) or not all(map(operator.is_, state.values(), before.values())):
        state.clear()
        state.update(before)
    if parameters or state["_parameters"]:
        _restore_members(state["_parameters"], parameters)
    if buffers or state["_buffers"]:
        _restore_members(state["_buffers"], buffers)
    if children or state["_modules"]:
        _restore_members(state["_modules"], children)
    for container, copy in others:
        if container or copy:
            _restore_members(container, copy)


def _restore_members(container: Any, copy: Any) -> None:
    if copy is None or not _same_members(container, copy):
        container.clear()
        if copy:
            (container.extend if isinstance(container, (list, deque)) else container.update)(copy)


def _same_members(one: Any, other: Any) -> bool:
    if len(one) != len(other):
        return False
    if isinstance(one, dict):
        return all(map(operator.is_, one.values(), other.values())) and all(map(operator.eq, one, other))
    return bool(one == other) if isinstance(one, set) else all(map(operator.is_, one, other))
