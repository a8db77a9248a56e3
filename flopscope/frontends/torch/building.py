"""Building models without memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from flopscope.frontends.torch.cells import meta_like
from flopscope.frontends.torch.schema import flat_tensors, map_tensors, schema_of

_MOST_REAL_ELEMENTS = 2**17
_META = torch.device("meta")
_RESERVES = ("aten::empty", "aten::empty_strided", "aten::empty_permuted", "aten::new_empty", "aten::new_empty_strided", "aten::empty_like")
_FILLS = (
    "aten::zeros", "aten::ones", "aten::full", "aten::rand", "aten::randn", "aten::randint", "aten::eye", "aten::normal", "aten::arange",
    "aten::linspace", "aten::randperm", "aten::tril_indices", "aten::triu_indices",
)  # fmt: skip


class _Builder(TorchDispatchMode):
    """Makes memory that is only reserved a meta tensor, and keeps computations with small real tensors real."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        schema = schema_of(func)
        if schema.target in _RESERVES:
            return func(*args, **{**kwargs, "device": _META, "pin_memory": None})
        if schema.target in _FILLS:
            return self._fill(func, args, kwargs)
        tensors = flat_tensors((*args, *kwargs.values()))
        if not any(tensor.device.type == "meta" for tensor in tensors):
            return func(*args, **kwargs)
        overwrites = schema.mutated_names and not schema.only_reshapes and bool(args) and tensors[0] is args[0]
        if overwrites and tensors[0].device.type == "meta":
            return tensors[0]  # what an initialiser writes into memory that does not exist
        return func(*map_tensors(args, _as_meta, _META), **{name: map_tensors(item, _as_meta, _META) for name, item in kwargs.items()})

    @staticmethod
    def _fill(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if flat_tensors((*args, *kwargs.values())):
            return func(*args, **kwargs)
        shape = func(*args, **{**kwargs, "device": _META, "pin_memory": None, **({"generator": None} if "generator" in kwargs else {})})
        return shape if shape.numel() > _MOST_REAL_ELEMENTS else func(*args, **kwargs)


def _as_meta(tensor: Tensor) -> Tensor:
    return tensor if tensor.device.type == "meta" else meta_like(tensor)


@contextmanager
def building() -> Iterator[None]:
    """Build models that take no memory: inside, `torch.empty` reserves nothing, while small tensors that hold values stay real.

    Parameters become meta tensors, initialisers do nothing, and constructors that compute (rotary frequencies, drop rates, position
    indices) work as always. The model can be analysed, but not run. Real factories of more than 131,072 elements become meta tensors too.

    Examples:
        >>> import torch, flopscope
        >>> with flopscope.building():
        ...     model = torch.nn.Linear(1_000_000, 1_000_000)  # four terabytes, if it were real
        >>> flopscope.analyze(model, "1x1000000").total.macs
        1000000000000
    """
    with _Builder():
        yield
