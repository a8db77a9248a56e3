"""Pooling."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature, TensorType
from flopscope.rules.registry import count, prod, rule
from flopscope.rules.sizes import common_divisor

_SOURCE = "Dumoulin & Visin 2016, arXiv:1603.07285, chapter 3"


def window(op: Signature) -> int:
    """Elements in one window: a kernel size that is one number holds for all pooled dimensions."""
    kernel = op["kernel_size"]
    kernel = (kernel,) if isinstance(kernel, int) else tuple(kernel)
    dims = _pooled_dims(op)
    return prod(kernel * dims if len(kernel) == 1 else kernel)


def _pooled_dims(op: Signature) -> int:
    digits = [int(letter) for letter in op.target if letter.isdigit()]
    return digits[0] if digits else len(op["kernel_size"])


@rule("avg_pool", flops="k per output element: k - 1 additions and a division; k elements in a window", source=_SOURCE)
def avg_pool(op: Signature) -> Cost:
    """``[n, c, *s'] = avg_pool([n, c, *s], k)``."""
    return count(op, other=window(op) * op.output.elements)


@rule("max_pool", "fractional_max_pool", flops="k - 1 comparisons per output element; k elements in a window", source=_SOURCE)
def max_pool(op: Signature) -> Cost:
    """``[n, c, *s'] = max_pool([n, c, *s], k)``."""
    return count(op, other=(window(op) - 1) * op.output.elements)


def adaptive_reads(op: Signature, x: TensorType, out: TensorType) -> int:
    """Elements in all adaptive windows together.

    Window i of m over n elements runs from floor(i n / m) to ceil((i + 1) n / m). Neighbours overlap by one element unless m divides i n,
    so the windows hold n + m - gcd(n, m) elements.
    """
    first = len(x.shape) - _pooled_dims(op)
    lengths = (n + m - common_divisor(n, m) for n, m in zip(x.shape[first:], out.shape[first:], strict=True))
    return prod(x.shape[:first]) * prod(lengths)  # type: ignore[no-any-return]


@rule(
    "adaptive_avg_pool",
    flops="1 per element of all windows: additions and a division per window",
    source="PyTorch documentation of AdaptiveAvgPool2d",
)
def adaptive_avg_pool(op: Signature) -> Cost:
    """``[n, c, *s'] = adaptive_avg_pool([n, c, *s], s')``."""
    return count(op, other=adaptive_reads(op, op.inputs[0], op.output))


@rule(
    "adaptive_max_pool",
    flops="1 comparison per element of all windows but the first of each",
    source="PyTorch documentation of AdaptiveMaxPool2d",
)
def adaptive_max_pool(op: Signature) -> Cost:
    """``[n, c, *s'] = adaptive_max_pool([n, c, *s], s')``."""
    return count(op, other=adaptive_reads(op, op.inputs[0], op.output) - op.output.elements)


@rule("max_unpool", flops="none: values are put back where they came from", source="PyTorch documentation of MaxUnpool2d")
def max_unpool(op: Signature) -> Cost:
    """``[n, c, *s] = max_unpool([n, c, *s'], indices)``."""
    return count(op)
