"""An op of PyTorch that can be run, made from its signature alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flopscope.graph import Signature
from flopscope.tensor_type import TensorType

_UNSAID = ("layout", "device", "pin_memory", "memory_format", "generator")
"""Arguments that a signature does not keep, or that say where a result is made."""
_INDEXES = {"aten::embedding": "weight", "aten::index": "self", "aten::index_select": "self", "aten::gather": "self"}
"""Ops whose integers are positions in another argument."""
FREE = ("flopscope::",)
"""Ops that a trace writes down for the sake of dataflow, and that nothing runs."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function of torch with arguments of the right types."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[Any, ...]
    """The tensors among the arguments that a model computes anew in each run."""

    def __call__(self) -> Any:
        """Run it."""
        return self.function(*self.args, **self.kwargs)

    def write_inputs(self) -> None:
        """Write the inputs anew, with what is in them."""
        for tensor in self.inputs:
            tensor.copy_(tensor)


def call_of(signature: Signature, weights: Collection[int] = ()) -> Call | None:
    """The op as it can be run; ``None`` where torch has no such op, or does not take arguments like these.

    Args:
        signature: the op.
        weights: which of its tensors, in order, are there before the model runs.
    """
    import torch

    for overload in _overloads(signature):
        call = _call(overload, signature, weights)
        for function in _functions(overload):
            found = Call(function, call.args, call.kwargs, call.inputs)
            try:
                with torch.inference_mode():
                    found()
            except Exception:  # another binding may take what this one does not, and if none does, the op is not measured
                continue
            return found
    return None


def _overloads(signature: Signature) -> Iterator[Any]:
    import torch

    namespace, _, name = signature.target.partition("::")
    name = f"{name}_" if signature.effect == "inplace" else name
    packet = getattr(getattr(torch.ops, namespace), name, None)
    if packet is None:
        return
    values = list(signature.arguments.values())
    for overload in (getattr(packet, each) for each in packet.overloads()):
        wanted = overload._schema.arguments
        if len(wanted) == len(values) and all(_fits(str(each.type), value) for each, value in zip(wanted, values, strict=True)):
            yield overload


def _fits(wanted: str, value: Any) -> bool:
    if isinstance(value, TensorType):
        return wanted in ("Tensor", "Optional[Tensor]")
    if isinstance(value, tuple) and any(isinstance(item, TensorType) for item in value):
        return wanted.startswith("List[") and "Tensor" in wanted
    return "Tensor" not in wanted or (value is None and wanted.startswith("Optional"))


def _functions(overload: Any) -> Iterator[Any]:
    """What calls an overload, as models do: a function of torch, a method of tensors; else the overload itself, which takes longer."""
    import torch

    name = overload._schema.name.partition("::")[2]
    for place in (torch, torch._C._nn, torch.Tensor):
        function = getattr(place, name, None)
        if function is not None:
            yield function
    yield overload


def _call(overload: Any, signature: Signature, weights: Collection[int]) -> Call:
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    tensors: list[Any] = []
    for argument, value in zip(overload._schema.arguments, signature.arguments.values(), strict=True):
        if argument.name in _UNSAID:
            continue
        made = _made(value, argument.name, _bound(signature))
        tensors += _tensors(made)
        if argument.kwarg_only:
            if made is not None and made != argument.default_value:
                kwargs[argument.name] = made
        else:
            args.append(made)
    inputs = [tensor for index, tensor in enumerate(tensors) if index not in weights and _is_writable(tensor)]
    return Call(overload, tuple(args), kwargs, () if signature.effect == "view" else tuple(inputs))


def _bound(signature: Signature) -> int:
    """What integers in the arguments of an op must stay below."""
    name = _INDEXES.get(signature.target)
    found = None if name is None else signature.get(name)
    return max(1, min(found.shape)) if isinstance(found, TensorType) and found.shape else 1


def _made(value: Any, name: str, bound: int) -> Any:
    import torch

    if isinstance(value, TensorType):
        return _tensor(value, bound)
    if isinstance(value, tuple):
        return [_made(item, name, bound) for item in value]
    if name == "dtype" and isinstance(value, str):
        return getattr(torch, value)
    return value


def _tensor(type: TensorType, bound: int) -> Any:
    """A tensor of a type: small numbers, positions below a bound, and no mask that hides anything."""
    import torch

    dtype = getattr(torch, type.dtype)
    size = max(1, type.extent)
    if dtype.is_floating_point or dtype.is_complex:
        flat = torch.empty(size, dtype=torch.float32).uniform_(0.1, 1.0).to(dtype)
    elif dtype is torch.bool:
        flat = torch.ones(size, dtype=dtype)
    else:
        flat = torch.randint(bound, (size,)).to(dtype)
    strides = type.strides if type.strides is not None else _contiguous(type.shape)
    return flat.as_strided(type.shape, strides)


def _contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(math.prod(shape[index + 1 :]) for index in range(len(shape)))


def _tensors(made: Any) -> list[Any]:
    import torch

    if isinstance(made, torch.Tensor):
        return [made]
    return [tensor for item in made for tensor in _tensors(item)] if isinstance(made, list) else []


def _is_writable(tensor: Any) -> bool:
    return bool(tensor.is_floating_point() and 0 not in tensor.stride())
