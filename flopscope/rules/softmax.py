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


@rule("logsumexp", flops="4 per input element: max, subtract, exp, add", source="PyTorch documentation of torch.logsumexp")
def logsumexp(op: Signature) -> Cost:
    """``[*] = logsumexp([*, d], dim)``."""
    return count(op, other=4 * op.inputs[0].elements + 2 * op.output.elements)
