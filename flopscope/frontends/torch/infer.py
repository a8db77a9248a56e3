"""What an op returns, from shapes alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from flopscope.frontends.torch.cells import meta_like
from flopscope.frontends.torch.for_backward import as_on_cpu
from flopscope.frontends.torch.schema import map_tensors, reads_values
from flopscope.frontends.torch.shortcuts import shortcut

_MOST_ELEMENTS_ON_CPU = 2**24


class NoShapeError(Exception):
    """What an op returns cannot be known from shapes."""


def infer(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The result of an op on meta tensors.

    Where the op has no meta kernel, it is run once on zeros of the same shapes, if these are small.

    Raises:
        NoShapeError: the op reads values, or has no kernel that answers without them.
    """
    if func in _SAME_DTYPES:
        _check_dtypes(args)
    short = shortcut(func)
    if short is not None and (answer := short(*args, **kwargs)) is not None:
        return answer
    try:
        return as_on_cpu(func, args, kwargs, func(*args, **kwargs))
    except (NotImplementedError, RuntimeError) as error:
        if not _is_about_meta(error):
            raise
    return _run_on_zeros(func, args, kwargs)


aten = torch.ops.aten
_SAME_DTYPES = frozenset((
    aten.linear.default, aten.matmul.default, aten.mm.default, aten.bmm.default, aten.mv.default, aten.dot.default, aten.addmm.default,
    aten.baddbmm.default,
))  # fmt: skip


def _check_dtypes(args: Any) -> None:
    """What kernels refuse and meta kernels accept: a product of tensors of different dtypes."""
    dtypes = {arg.dtype for arg in args if isinstance(arg, Tensor)}
    if len(dtypes) > 1 and not (torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")):
        names = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        raise RuntimeError(f"a product of tensors needs one dtype, but got {names}")


def _is_about_meta(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, NotImplementedError) or any(sign in text.lower() for sign in ("meta", "data-dependent", "fake impl"))


def _run_on_zeros(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    budget = _MOST_ELEMENTS_ON_CPU

    def zeros(tensor: Tensor) -> Tensor:
        nonlocal budget
        budget -= tensor.numel()
        if budget < 0:
            raise NoShapeError
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu")

    cpu = torch.device("cpu")
    zero_args = map_tensors(args, zeros, cpu)
    zero_kwargs = {name: map_tensors(item, zeros, cpu) for name, item in kwargs.items()}
    try:
        with _NoValues():
            result = func(*zero_args, **zero_kwargs)
    except (NotImplementedError, RuntimeError) as error:
        raise NoShapeError from error
    meta = torch.device("meta")
    return map_tensors(result, meta_like, meta)


class _NoValues(TorchDispatchMode):
    """Refuses ops that read values, also inside composite ones: what they return for zeros says nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if reads_values(func):
            raise NoShapeError
        with self:
            result = func.decompose(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if result is NotImplemented else result


def is_made_of_tensors(result: Any) -> bool:
    """Whether a result is tensors (``None`` may stand for an absent one), or a list of them with sizes in between."""
    if result is None or isinstance(result, Tensor):
        return True
    return (
        isinstance(result, (list, tuple))
        and all(item is None or isinstance(item, (Tensor, int)) for item in result)
        and (not result or any(not isinstance(item, int) for item in result))
    )
