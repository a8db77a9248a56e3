"""Which module is running: hooks for the whole process that look at the state of the calling thread only.

Hooks on the modules themselves would be writing on the user's model. The global hooks are installed when the first trace of the process
starts and removed when the last one ends, so nothing is left behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from torch import nn
from torch.nn.modules import module as module_internals
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook


class ScopeListener(Protocol):
    """What is told about modules that start and end."""

    def enter(self, module: nn.Module, args: Any) -> None:
        """A module starts."""

    def leave(self, module: nn.Module, kwargs: Any, output: Any) -> Any:
        """A module ends; ``output`` is ``None`` where it raised. What is returned, unless ``None``, takes the place of the output."""


class _Thread(threading.local):
    listener: ScopeListener | None = None


@dataclass(slots=True)
class _Hooks:
    """The global hooks of this process, and how many traces use them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    removers: list[Callable[[], object]] = field(default_factory=list)


_thread = _Thread()
_hooks = _Hooks()


def _on_enter(module: nn.Module, args: Any) -> None:
    if _thread.listener is not None:
        _thread.listener.enter(module, args)


def _on_leave(module: nn.Module, _args: Any, *rest: Any) -> Any:
    # The rest is (kwargs, output), but only (output) where torch calls the hook because the module raised.
    if _thread.listener is None:
        return None
    return _thread.listener.leave(module, rest[0] if len(rest) > 1 else {}, rest[-1])


@contextmanager
def listening(listener: ScopeListener) -> Iterator[None]:
    """Tell the listener about every module that runs in this thread."""
    with _hooks.lock:
        if _hooks.users == 0:
            before = register_module_forward_pre_hook(_on_enter)
            after = register_module_forward_hook(_on_leave, with_kwargs=True, always_call=True)
            # torch itself forgets to take a hook out of its table of hooks with keyword arguments.
            forget = partial(module_internals._global_forward_hooks_with_kwargs.pop, after.id, None)
            _hooks.removers = [before.remove, after.remove, forget]
        _hooks.users += 1
    outer = _thread.listener
    _thread.listener = listener
    try:
        yield
    finally:
        _thread.listener = outer
        with _hooks.lock:
            _hooks.users -= 1
            if _hooks.users == 0:
                for remove in _hooks.removers:
                    remove()
                _hooks.removers = []
