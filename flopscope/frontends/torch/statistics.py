"""The statistics that normalisation layers return for their backward pass, as the kernels of the CPU make them.

The meta kernels answer for a GPU: there they are in float32 whatever the parameters are, and a batch norm in evaluation mode returns some
too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
_BATCH = (aten.native_batch_norm.default, aten._native_batch_norm_legit.default)
_OTHERS = (aten.native_layer_norm.default, aten.native_group_norm.default)


def with_statistics_of_cpu(func: Any, args: Sequence[Any], result: Any) -> Any:
    """The result of an op, with statistics as on a CPU where it returns some."""
    if func in _BATCH:
        x, weight, _, running = args[:4]
        trains = bool(args[5])
        dtype = next((tensor.dtype for tensor in (weight, running) if tensor is not None), x.dtype)
    elif func in _OTHERS:
        x, weight = args[0], args[2 if func is _OTHERS[0] else 1]
        trains, dtype = True, x.dtype if weight is None else weight.dtype
    else:
        return result
    return (result[0], *(_like(tensor, dtype, trains) for tensor in result[1:]))


def _like(statistic: Tensor, dtype: torch.dtype, trains: bool) -> Tensor:
    return torch.empty(statistic.shape if trains else (0,), dtype=dtype, device="meta")
