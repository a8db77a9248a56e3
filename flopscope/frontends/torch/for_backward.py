"""What ops return for their backward pass alone, as the kernels of the CPU make it.

The meta kernels answer for a GPU: there the statistics of a normalisation are in float32 whatever the parameters are, a batch norm in
evaluation mode returns some too, and a recurrent layer has no workspace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from flopscope.frontends.torch.cells import meta_like
from flopscope.frontends.torch.onednn import page_bytes, row_elements

aten = torch.ops.aten
_BATCH = (aten.native_batch_norm.default, aten._native_batch_norm_legit.default)
_WEIGHT_OF = {aten.native_layer_norm.default: 2, aten.native_group_norm.default: 1}
_BAGS = (aten._embedding_bag.default, aten._embedding_bag_forward_only.default)
_RECURRENT = aten.mkldnn_rnn_layer.default


def as_on_cpu(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> Any:
    """The result of an op, with what is meant for its backward pass as on a CPU."""
    if func in _BATCH:
        weight, running, trains = args[1], args[3], bool(args[5])
        dtype = next((tensor.dtype for tensor in (weight, running) if tensor is not None), args[0].dtype)
        return (result[0], *(_statistic(tensor, dtype, trains) for tensor in result[1:]))
    if func in _WEIGHT_OF:
        weight = args[_WEIGHT_OF[func]]
        dtype = args[0].dtype if weight is None else weight.dtype
        return (result[0], *(_statistic(tensor, dtype, True) for tensor in result[1:]))
    if func in _BAGS and all(tensor.device.type == "meta" for tensor in result):
        return _of_bags(func, args, kwargs)
    if func is _RECURRENT and args[15]:
        size = _workspace_bytes(args[0], args[10])
        return (*result[:3], torch.empty(size, dtype=torch.uint8, device="meta"))
    return result


def _statistic(tensor: Tensor, dtype: torch.dtype, trains: bool) -> Tensor:
    return torch.empty(tensor.shape if trains else (0,), dtype=dtype, device="meta")


def _of_bags(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What bags of embeddings are on a CPU: their kernel runs on a table of one row, which shows which of its ways it takes."""
    table = args[0]
    row = torch.zeros(1, table.shape[1], dtype=table.dtype)
    others = [torch.zeros(item.shape, dtype=item.dtype) if isinstance(item, Tensor) else item for item in args[1:]]
    named = {name: torch.zeros(item.shape, dtype=item.dtype) if isinstance(item, Tensor) else item for name, item in kwargs.items()}
    made = func(row, *others, **named)
    return tuple(meta_like(tensor) for tensor in made)


def _workspace_bytes(x: Tensor, hidden: int) -> int:
    """What oneDNN keeps of one direction of an LSTM layer on ``[steps, batch, inputs]``, each part in whole pages.

    That are the gates, the outputs, and states of all steps and the first, of the layer and of its input. Compared with the sizes that
    torch gets.
    """
    steps, batch, inputs = x.shape
    states = 2 * (steps + 1) * batch
    gates, outputs = steps * batch * row_elements(4 * hidden), steps * batch * row_elements(hidden)
    return page_bytes(gates, outputs, *[states * row_elements(max(inputs, hidden))] * 3, *[states * hidden] * 2)
