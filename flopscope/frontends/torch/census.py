"""The modules, parameters and buffers of a model, each once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter, UninitializedTensorMixin  # type: ignore[attr-defined]

from flopscope.errors import TraceError
from flopscope.frontends.torch.cells import DTYPE_NAMES
from flopscope.graph import TensorType, Weight


@dataclass(slots=True)
class Inventory:
    """What a model owns, in plain data: a report that holds it keeps no module and no tensor alive."""

    modules: list[tuple[str, str]] = field(default_factory=list)
    """The path and the class name of each module, parents before children."""
    weights: dict[int, tuple[str, str, bool]] = field(default_factory=dict)
    """By the id of each tensor: its first name, the path of the module that owns it, and whether it is a parameter."""
    aliases: dict[int, list[str]] = field(default_factory=dict)
    facts: list[tuple[int, torch.Size, torch.dtype, bool]] = field(default_factory=list)
    """Of each weight: its id, shape, dtype and whether it is trainable."""

    def weight_list(self, parameters: bool) -> list[Weight]:
        """The parameters, or the buffers."""
        found = []
        for key, shape, dtype, trainable in self.facts:
            name, path, is_parameter = self.weights[key]
            if is_parameter == parameters:
                type = TensorType.of(tuple(shape), DTYPE_NAMES[dtype])
                found.append(Weight(name, type, path, trainable, tuple(self.aliases.get(key, ()))))
        return found


@dataclass(slots=True)
class Census:
    """The modules of a model, and what they own."""

    modules: list[nn.Module] = field(default_factory=list)
    paths: dict[int, str] = field(default_factory=dict)
    """The first path of each module, by its id."""
    inventory: Inventory = field(default_factory=Inventory)


def take_census(model: nn.Module) -> Census:
    """Walk the module tree once.

    Raises:
        TraceError: the model has lazy parameters, whose shapes are not known yet.
    """
    census = Census()
    _visit(model, "", census)
    return census


def _visit(module: nn.Module, path: str, census: Census) -> None:
    if id(module) in census.paths:
        return
    census.paths[id(module)] = path
    census.modules.append(module)
    census.inventory.modules.append((path, type(module).__name__))
    prefix = f"{path}." if path else ""
    if module._parameters:
        _list_weights(module._parameters, True, path, prefix, census.inventory)
    if module._buffers:
        _list_weights(module._buffers, False, path, prefix, census.inventory)
    for name, child in module._modules.items():
        if child is not None:
            _visit(child, prefix + name, census)


def _list_weights(tensors: Mapping[str, Tensor | None], is_parameter: bool, path: str, prefix: str, found: Inventory) -> None:
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        key = id(tensor)
        if key in found.weights:
            found.aliases.setdefault(key, []).append(prefix + name)
            continue
        if type(tensor) is not Parameter and isinstance(tensor, UninitializedTensorMixin):
            raise TraceError(
                f"cannot analyse a model whose parameter {prefix + name!r} has no shape yet. Run the model once on a real input, so that "
                "its lazy modules find their sizes, and analyse it then."
            )
        found.weights[key] = (prefix + name, path, is_parameter)
        found.facts.append((key, tensor.shape, tensor.dtype, tensor.requires_grad))
