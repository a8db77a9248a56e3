"""An op of PyTorch that can be run, made from its signature alone."""

from __future__ import annotations

import contextlib
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
class Bound:
    """An overload of torch, and its arguments, with a `TensorType` in the place of each tensor."""

    overload: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def filled(self, tensors: Iterator[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with tensors in the places of types, in order."""
        args = [_filled(value, tensors) for value in self.args]
        return args, {name: _filled(value, tensors) for name, value in self.kwargs.items()}


@dataclass(frozen=True, slots=True)
class Call:
    """A function of torch with arguments of the right types."""

    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    inputs: Sequence[Any]
    """The tensors among the arguments that a model computes anew in each run."""

    def __call__(self) -> Any:
        """Run it."""
        return self.function(*self.args, **self.kwargs)

    def write_inputs(self) -> None:
        """Write the inputs anew, with what is in them."""
        write(self.inputs)


def write(tensors: Sequence[Any]) -> None:
    """Write tensors anew, with what is in them: so the op before has left them in the cache."""
    for tensor in tensors:
        tensor.copy_(tensor)


def call_of(signature: Signature, weights: Collection[int] = ()) -> Call | None:
    """The op as it can be run; ``None`` where torch has no such op, or does not take arguments like these.

    Args:
        signature: the op.
        weights: which of its tensors, in order, are there before the model runs.
    """
    import torch

    bound_at = _bound(signature)
    for each in bindings(signature):
        tensors = [tensor_of(type, bound_at) for type in signature.inputs]
        args, kwargs = each.filled(iter(tensors))
        inputs = [tensor for index, tensor in enumerate(tensors) if index not in weights and is_writable(tensor)]
        for function in _functions(each.overload):
            found = Call(function, args, kwargs, [] if signature.effect == "view" else inputs)
            # another binding may take what this one does not, and if none does, the op is not measured
            with contextlib.suppress(Exception), torch.inference_mode():
                found()
                return found
    return None


def bindings(signature: Signature) -> Iterator[Bound]:
    """The overloads of torch that a signature may be of, with its arguments."""
    for overload in _overloads(signature):
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        needed = 0
        for argument, value in zip(overload._schema.arguments, signature.arguments.values(), strict=True):
            plain = _plain(value, argument.name)
            if argument.name in _UNSAID:
                continue
            usual = argument.has_default_value() and plain == argument.default_value
            if not argument.kwarg_only:
                args.append(plain)
                needed = needed if usual else len(args)
            elif plain is not None and plain != argument.default_value:
                kwargs[argument.name] = plain
        yield Bound(overload, tuple(args[:needed]), kwargs)  # as models call it: what is last and as usual is not said


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


def _bound(signature: Signature) -> int:
    """What integers in the arguments of an op must stay below."""
    name = _INDEXES.get(signature.target)
    found = None if name is None else signature.get(name)
    return max(1, min(found.shape)) if isinstance(found, TensorType) and found.shape else 1


def _plain(value: Any, name: str) -> Any:
    import torch

    return getattr(torch, value) if name == "dtype" and isinstance(value, str) else value


def _filled(value: Any, tensors: Iterator[Any]) -> Any:
    if isinstance(value, TensorType):
        return next(tensors)
    return [_filled(item, tensors) for item in value] if isinstance(value, tuple) else value


def tensor_of(type: TensorType, bound: int = 1) -> Any:
    """A tensor of a type: small numbers, positions below a bound, and masks that hide nothing."""
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


def is_writable(tensor: Any) -> bool:
    """Whether a tensor can be written anew: it holds numbers, each in a place of its own."""
    return bool(tensor.is_floating_point() and 0 not in tensor.stride())
