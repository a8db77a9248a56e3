"""Softmax and its relatives."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, rule

SOFTMAX_FLOPS = 5
"""Per element: maximum, subtraction, exponential, sum, division."""


@rule("softmax", flops="5 per element: max, subtract, exp, add, divide", source="Milakov & Gimelshein 2018, arXiv:1805.02867, algorithm 2")
def softmax(op: Signature) -> Cost:
    """``x = softmax(x, dim)``."""
    return count(op, other=SOFTMAX_FLOPS * op.output.elements)


@rule("log_softmax", flops="5 per element: max, subtract, exp, add, subtract", source="Milakov & Gimelshein 2018, arXiv:1805.02867")
def log_softmax(op: Signature) -> Cost:
    """``x = log_softmax(x, dim)``."""
    return count(op, other=SOFTMAX_FLOPS * op.output.elements)


@rule(
    "logsumexp",
    "special_logsumexp",
    flops="4 per input element: max, subtract, exp, add",
    source="PyTorch documentation of torch.logsumexp",
)
def logsumexp(op: Signature) -> Cost:
    """``[*] = logsumexp([*, d], dim)``."""
    return count(op, other=4 * op.inputs[0].elements + 2 * op.output.elements)


@rule(
    "_masked_softmax",
    "_nested_tensor_softmax_with_shape",
    flops="6 per element: the mask, and the softmax",
    source="Milakov & Gimelshein 2018, arXiv:1805.02867",
)
def masked_softmax(op: Signature) -> Cost:
    """``x = softmax(x, mask)``."""
    return count(op, other=(SOFTMAX_FLOPS + 1) * op.output.elements)


@rule(
    "_softmax_backward_data", "_masked_softmax_backward",
    flops="4 per element: y (g - sum(g y)); 1 more for a mask", source="derivative of y = exp(x) / sum(exp(x))",
)  # fmt: skip
def softmax_backward(op: Signature) -> Cost:
    """``x = softmax_backward(g, y)``."""
    return count(op, other=(5 if op.kind == "_masked_softmax_backward" else 4) * op.output.elements)


@rule("_log_softmax_backward_data", flops="4 per element: g - exp(y) sum(g)", source="derivative of y = x - log(sum(exp(x)))")
def log_softmax_backward(op: Signature) -> Cost:
    """``x = log_softmax_backward(g, y)``."""
    return count(op, other=4 * op.output.elements)
