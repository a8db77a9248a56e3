"""A model that was built on shapes alone, with numbers in it, so that it can run."""

from __future__ import annotations

from typing import Any

_SPREAD = 0.05
"""Weights this small keep what a deep network computes finite, and none of it is so small that a processor slows down."""


def made_real(model: Any) -> Any:
    """Give a model's parameters and buffers that hold no data some numbers, in place. Returns the model.

    Those that are shared stay shared. What is real stays as it is.
    """
    import torch

    memo: dict[int, Any] = {}
    for module in model.modules() if isinstance(model, torch.nn.Module) else ():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is not None and tensor.is_meta:
                    held[name] = memo.setdefault(id(tensor), _real(tensor))
    return model


def real_inputs(value: Any) -> Any:
    """The same nested inputs with numbers in those that hold no data; whole numbers are zero."""
    import torch

    if isinstance(value, torch.Tensor):
        return _real(value) if value.is_meta else value
    if isinstance(value, dict):
        return {name: real_inputs(item) for name, item in value.items()}
    return type(value)(map(real_inputs, value)) if type(value) in (list, tuple) else value


def _real(tensor: Any) -> Any:
    import torch

    made = torch.zeros(tensor.shape, dtype=tensor.dtype)
    if made.is_floating_point():
        made.uniform_(-_SPREAD, _SPREAD)
    return torch.nn.Parameter(made, requires_grad=False) if isinstance(tensor, torch.nn.Parameter) else made
