"""The modules, parameters and buffers of a model, each once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter, UninitializedTensorMixin  # type: ignore[attr-defined]

from flopscope.errors import TraceError
from flopscope.frontends.torch.cells import DTYPE_NAMES, elements_stored, indices_stored
from flopscope.graph import TensorType, Weight


@lru_cache(maxsize=4096)
def _facts_of(module_class: type) -> tuple[bool, bool, bool]:
    """Whether modules of a class run all below them as one program, whether that is a scripted one, and whether they may pack weights."""
    is_scripted = issubclass(module_class, torch.jit.ScriptModule)
    may_pack = any(base.__module__.startswith("torch.ao.") for base in module_class.__mro__)
    return is_scripted or issubclass(module_class, torch.fx.GraphModule), is_scripted, may_pack


@dataclass(slots=True)
class Inventory:
    """What a model owns, in plain data: a report that holds it keeps no module and no tensor alive."""

    modules: list[tuple[str, str, str]] = field(default_factory=list)
    """The path of each module, the name of its class and the Python module that defines it, parents before children."""
    repeats: list[str] = field(default_factory=list)
    """The paths of modules that are inside more than one module, once for each module after the first."""
    weights: dict[int, tuple[str, str, bool]] = field(default_factory=dict)
    """By the id of each tensor: its first name, the path of the module that owns it, and whether it is a parameter."""
    aliases: dict[int, list[str]] = field(default_factory=dict)
    packed: dict[int, list[tuple[str, TensorType]]] = field(default_factory=dict)
    """By the hash of each packed object of a quantised module: the names and types of its weight and bias."""
    facts: list[tuple[int, torch.Size, torch.dtype, bool]] = field(default_factory=list)
    """Of each weight: its id, shape, dtype and whether it is trainable."""

    sparse: dict[int, tuple[int | None, int]] = field(default_factory=dict)
    """By the id of each sparse weight: how many elements and how many indices it stores."""

    def add_stranger(self, tensor: Tensor) -> tuple[str, str, bool]:
        """A parameter that the model holds outside its modules, or that a function reaches in some other way."""
        found = self.weights[id(tensor)] = (f"(parameter {len(self.weights)})", "", True)
        self.facts.append((id(tensor), tensor.shape, tensor.dtype, tensor.requires_grad))
        return found

    def weight_list(self, parameters: bool) -> list[Weight]:
        """The parameters, or the buffers."""
        found = []
        for key, shape, dtype, trainable in self.facts:
            name, path, is_parameter = self.weights[key]
            if is_parameter == parameters:
                elements, indices = self.sparse.get(key, (None, 0))
                type = TensorType.of(tuple(shape), DTYPE_NAMES[dtype], None, elements)
                found.append(Weight(name, type, path, trainable, tuple(self.aliases.get(key, ())), indices))
        return found


@dataclass(slots=True)
class Census:
    """The modules of a model, and what they own."""

    modules: list[nn.Module] = field(default_factory=list)
    paths: dict[int, str] = field(default_factory=dict)
    """The first path of each module, by its id."""
    inventory: Inventory = field(default_factory=Inventory)
    programs: dict[str, bool] = field(default_factory=dict)
    """The paths of the modules that run everything below them as one program, and whether that is a scripted one."""
    kept: list[Tensor] = field(default_factory=list)
    """Weights of scripted modules, whose Python objects would else be made anew at each access."""

    @staticmethod
    def of_function(name: str) -> Census:
        """A function owns nothing that can be known before it runs."""
        census = Census()
        census.inventory.modules.append(("", name, ""))
        return census


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
        census.inventory.repeats.append(census.paths[id(module)])
        return
    census.paths[id(module)] = path
    census.modules.append(module)
    census.inventory.modules.append((path, type(module).__name__, type(module).__module__))
    prefix = f"{path}." if path else ""
    is_program, is_scripted, may_pack = _facts_of(type(module))  # type: ignore[arg-type]
    if is_program:
        census.programs[path] = is_scripted
    if is_scripted:
        parameters: Any = dict(module.named_parameters(recurse=False))
        buffers: Any = dict(module.named_buffers(recurse=False))
        children: Any = dict(module.named_children())
        census.kept += [*parameters.values(), *buffers.values()]
    else:
        parameters, buffers, children = module._parameters, module._buffers, module._modules
    if parameters:
        _list_weights(parameters, True, path, prefix, census.inventory)
    if buffers:
        _list_weights(buffers, False, path, prefix, census.inventory)
    if may_pack and "_packed_params" in module.__dict__:
        _list_packed(module, path, prefix, census)
    seen: set[int] = set()
    for name, child in children.items():
        if child is not None and id(child) not in seen:
            seen.add(id(child))
            _visit(child, prefix + name, census)


def _list_packed(module: nn.Module, path: str, prefix: str, census: Census) -> None:
    """The weights that a quantised module holds in an object that is no tensor."""
    held = module.__dict__["_packed_params"]
    packed: Any = held if isinstance(held, torch.ScriptObject) else None
    if packed is None or "unpack" not in packed._method_names():
        return
    weights = dict(zip(("weight", "bias"), packed.unpack()[:2], strict=True))
    weights = {name: tensor for name, tensor in weights.items() if tensor is not None}
    census.kept += weights.values()
    _list_weights(weights, True, path, prefix, census.inventory)
    named = [(f"{prefix}{name}", TensorType.of(tuple(tensor.shape), DTYPE_NAMES[tensor.dtype])) for name, tensor in weights.items()]
    census.inventory.packed[hash(packed)] = named


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
        if tensor.layout is not torch.strided:
            found.sparse[key] = elements_stored(tensor), indices_stored(tensor)
