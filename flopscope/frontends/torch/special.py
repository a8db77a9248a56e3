"""Ops that neither a meta kernel nor the memo can answer: questions about metadata, and shapes that hang on small data that is known.

Each function takes the tracer and the call, and returns the answer, or `PASS` where the call is like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from flopscope.frontends.torch.ledger import Ledger
from flopscope.frontends.torch.memo import describe
from flopscope.frontends.torch.schema import flat_tensors, schema_of

aten = torch.ops.aten
PASS: Final = object()
Special = Callable[[Ledger, Any, Sequence[Any], Mapping[str, Any]], Any]


def _same_size(_: Ledger, __: Any, args: Sequence[Any], ___: Any) -> bool:
    return bool(args[0].shape == args[1].shape)


def _same_storage(_: Ledger, __: Any, args: Sequence[Any], ___: Any) -> bool:
    return bool(args[0].numel() == args[1].numel())


def _gives_data(tracer: Ledger, _: Any, args: Sequence[Any], __: Any) -> bool:
    """``args[0].data = args[1]`` follows at once. What the tensor held before is kept, and put back at the end."""
    tracer.take_data(args[0], args[1])
    return True


def _pack(tracer: Ledger, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """``data, batch_sizes = _pack_padded_sequence(input, lengths, batch_first)`` on known lengths."""
    x, lengths, batch_first = args
    known = tracer.data_of(lengths)
    if known is None or tracer.data_of(x) is not None:
        return PASS
    with _disable_current_modes(), torch.inference_mode(False):
        sizes = Tensor.tolist(known)  # not through the method that notes reads
        if not sizes or min(sizes) <= 0 or sizes != sorted(sizes, reverse=True) or len(sizes) != x.shape[0 if batch_first else 1]:
            return PASS
        batch_sizes = torch.tensor([sum(length > step for length in sizes) for step in range(sizes[0])])
        data = torch.empty((sum(sizes), *x.shape[2:]), dtype=x.dtype, device="meta")
    return _written(tracer, func, args, kwargs, (data, batch_sizes))


def _unpack(tracer: Ledger, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """``padded, lengths = _pad_packed_sequence(data, batch_sizes, batch_first, padding_value, total_length)``."""
    data, batch_sizes, batch_first, _, total = args
    known = tracer.data_of(batch_sizes)
    if known is None or tracer.data_of(data) is not None:
        return PASS
    with _disable_current_modes(), torch.inference_mode(False):
        sizes = Tensor.tolist(known)  # not through the method that notes reads
        steps, batch = max(total, len(sizes)), sizes[0]
        lengths = torch.tensor([sum(size > item for size in sizes) for item in range(batch)])
        padded = torch.empty((*((batch, steps) if batch_first else (steps, batch)), *data.shape[1:]), dtype=data.dtype, device="meta")
    return _written(tracer, func, args, kwargs, (padded, lengths))


def _ctc(tracer: Ledger, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """``losses, log_alpha = _ctc_loss(log_probs [t, n, c], targets, input_lengths, target_lengths, blank, zero_infinity)``."""
    log_probs, targets, _, lengths = args[:4]
    known = tracer.data_of(lengths) if isinstance(lengths, Tensor) else lengths
    if tracer.data_of(log_probs) is not None or (known is None and targets.dim() != 2):
        return PASS
    if known is None:
        tracer.note(
            f"ctc_loss: the lengths of the targets are not known, so all are taken as {targets.shape[1]}, the longest that they can be"
        )
    with _disable_current_modes(), torch.inference_mode(False):
        sizes = Tensor.tolist(known) if isinstance(known, Tensor) else known
        longest = targets.shape[1] if sizes is None else max(sizes, default=0)
        steps, batch = (log_probs.shape[0], log_probs.shape[1]) if log_probs.dim() == 3 else (log_probs.shape[0], 1)
        losses = torch.empty(batch if log_probs.dim() == 3 else (), dtype=log_probs.dtype, device="meta")
        log_alpha = torch.empty((batch, steps, 2 * longest + 1), dtype=log_probs.dtype, device="meta")
    return _written(tracer, func, args, kwargs, (losses, log_alpha))


def _ctc_backward(tracer: Ledger, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """``gradient = _ctc_loss_backward(gradient of losses, log_probs, ...)``."""
    if tracer.data_of(args[1]) is not None:
        return PASS
    with _disable_current_modes(), torch.inference_mode(False):
        made = torch.empty(args[1].shape, dtype=args[1].dtype, device="meta")
    return _written(tracer, func, args, kwargs, (made,))[0]


def _written(tracer: Ledger, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], results: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Write the op down with these results, of which those on the CPU hold true data."""
    operands = [tracer.cell_of(tensor) for tensor in flat_tensors((*args, *kwargs.values()))]
    results = tuple(tensor if tensor.device.type == "cpu" else tracer.copy_of(tensor) for tensor in results)
    known = [tensor.device.type == "cpu" and type(tensor) is Tensor for tensor in results]
    from_input = any(operand.root.from_input and operand.root.concrete for operand in operands)
    if from_input:
        tracer.data_dependent.append((schema_of(func).target, tracer.scope))
    op = tracer.write([cell.value for cell in operands], results)
    for tensor, is_known in zip(results, known, strict=True):
        cell = tracer.cell_of(tensor)
        cell.root.concrete = is_known
        cell.root.from_input = from_input
    outputs = tuple(value.type for value in op.outputs)
    op.signature = describe(schema_of(func), args, kwargs, [cell.type for cell in operands], outputs, "fresh")
    return results


QUERIES: dict[Any, Special] = {
    aten.is_same_size.default: _same_size,
    aten._has_same_storage_numel.default: _same_storage,
    aten._has_compatible_shallow_copy_type.default: _gives_data,
}
"""Questions that compute nothing and are no ops of the model. They are answered so in a real run, too."""

SPECIAL: dict[Any, Special] = {
    **QUERIES,
    aten._pack_padded_sequence.default: _pack,
    aten._pad_packed_sequence.default: _unpack,
    aten._ctc_loss.default: _ctc,
    aten._ctc_loss.Tensor: _ctc,
    aten._ctc_loss_backward.default: _ctc_backward,
    aten._ctc_loss_backward.Tensor: _ctc_backward,
}
