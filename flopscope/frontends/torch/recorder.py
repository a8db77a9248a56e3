"""Which module ran each op, how often each module ran and what it returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from flopscope.frontends.torch.cells import CELL, type_of
from flopscope.frontends.torch.census import Census, Inventory
from flopscope.frontends.torch.opaque import collapse, inputs_of
from flopscope.frontends.torch.tracer import Tracer
from flopscope.graph import Module, TensorType


class Recorder:
    """Keeps the scope of a tracer up to date while modules start and end."""

    def __init__(self, tracer: Tracer, census: Census, opaque: tuple[type[nn.Module], ...]) -> None:
        self._tracer = tracer
        self._paths = dict(census.paths)
        self._inventory = census.inventory
        self._opaque = opaque
        self._stack: list[tuple[nn.Module, str, int, Any]] = []
        self._calls: dict[str, list[Any]] = {}
        """By path: how often a module ran, and the type of the first tensor that it returned last."""
        self._made: dict[str, tuple[str, str]] = {}
        self._kept: list[nn.Module] = []
        self.deepest = ""

    def enter(self, module: nn.Module, args: Any) -> None:
        """A module starts."""
        path = self._paths.get(id(module))
        if path is None:
            path = self._path_of_stranger(module)
        tracer = self._tracer
        values = inputs_of(tracer, args) if self._opaque and isinstance(module, self._opaque) else None
        self._stack.append((module, tracer.scope, len(tracer.ops), values))
        tracer.scope = self.deepest = path

    def leave(self, module: nn.Module, kwargs: Any, output: Any) -> None:
        """A module ends, by returning or by raising (then ``output`` is ``None``)."""
        tracer = self._tracer
        while self._stack:
            last, outer, first_op, values = self._stack.pop()
            path, tracer.scope = tracer.scope, outer
            if last is module:
                call = self._calls.get(path)
                if call is None:
                    call = self._calls[path] = [0, None]
                call[0] += 1
                cell = getattr(output, CELL, None)
                call[1] = first_type(output) if cell is None else cell.type
                if values is not None:
                    collapse(tracer, module, path, [*values, *inputs_of(tracer, kwargs)], output, first_op)
                return

    def _path_of_stranger(self, module: nn.Module) -> str:
        """A module that the forward made, or holds outside the module tree, belongs to the one that called it."""
        outer = self._tracer.scope
        path = f"{outer}.({type(module).__name__})" if outer else f"({type(module).__name__})"
        self._paths[id(module)] = path
        self._made[path] = (type(module).__name__, type(module).__module__)
        self._kept.append(module)
        return path

    def add_place(self, path: str, name: str) -> None:
        """Ops may run at this path, which is no module."""
        self._made.setdefault(path, (name, ""))

    def module_list(self) -> Callable[[], list[Module]]:
        """A function that lists the modules with what was seen of each. It holds no module."""
        return partial(_module_list, self._inventory, self._made, self._calls)


def _module_list(inventory: Inventory, made: dict[str, tuple[str, str]], seen: dict[str, list[Any]]) -> list[Module]:
    found = []
    for path, name, origin in (*inventory.modules, *((path, *facts) for path, facts in made.items())):
        calls, output = seen.get(path, (0, None))
        places = 1 + inventory.repeats.count(path)
        found.append(Module(path, name, calls, None if output is None else output.shape, origin, places))
    return found


def first_type(output: Any) -> TensorType | None:
    """The type of the first tensor in whatever a module returned."""
    if isinstance(output, Tensor):
        return None if output.is_nested else type_of(output)
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, (list, tuple)):
        return next((found for item in output if (found := first_type(item)) is not None), None)
    return None
