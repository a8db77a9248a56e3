"""Tensors that stand in for real ones of the CPU: they have a shape and a place in autograd, and no data.

A meta tensor will not do for a training step: torch decides by the device which kernels a composite op takes, whether autocast applies,
and whether a gradient fits its parameter. These say that they are on the CPU, and every op on them is answered by a tracer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from flopscope.errors import TraceError

CPU = torch.device("cpu")


class StandIn(Tensor):
    """A tensor without data, on which ops run only inside the trace that made it."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Refuse: there is nothing to compute on."""
        raise TraceError(f"{func} ran outside the trace on a tensor that has only a shape; did the model keep a tensor for another thread?")

    def __repr__(self) -> str:  # type: ignore[override]
        return f"StandIn({tuple(self.shape)}, {self.dtype})"


def stand_in_for(tensor: Tensor, *, requires_grad: bool = False) -> StandIn:
    """A stand-in with the shape, strides and dtype of a tensor."""
    made: StandIn = Tensor._make_wrapper_subclass(
        StandIn, tensor.shape, strides=tensor.stride(), dtype=tensor.dtype, device=CPU, requires_grad=requires_grad
    )
    return made


def parameter_for(tensor: Tensor) -> StandIn:
    """A stand-in for a parameter, which is one itself."""
    made = stand_in_for(tensor, requires_grad=tensor.requires_grad)
    made._is_param = True  # how torch tells a parameter of another class
    return made
