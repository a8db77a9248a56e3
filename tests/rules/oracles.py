"""Counters that share nothing with the rules: they do the computation in loops and count the multiplications.

Positions in the padding are visited like all others, as a dense kernel visits them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def conv_macs(
    batch: int, channels: int, out_channels: int, sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], groups: int,
) -> int:  # fmt: skip
    """Multiply-accumulates of a convolution, one at a time: slide the kernel while it fits into the padded input."""

    def starts(size: int, k: int, s: int, p: int, d: int) -> list[int]:
        found, position = [], 0
        while position + d * (k - 1) + 1 <= size + 2 * p:
            found.append(position)
            position += s
        return found

    per_dim = [starts(*facts) for facts in zip(sizes, kernel, stride, padding, dilation, strict=True)]
    count = 0
    for _ in range(batch):
        for out_channel in range(out_channels):
            group = out_channel * groups // out_channels
            inputs = [c for c in range(channels) if c * groups // channels == group]
            for _position in itertools.product(*per_dim):
                for _channel in inputs:
                    for _tap in itertools.product(*(range(k) for k in kernel)):
                        count += 1
    return count


def conv_transpose_macs(batch: int, channels: int, out_channels: int, sizes: Sequence[int], kernel: Sequence[int], groups: int) -> int:
    """Multiply-accumulates of a transposed convolution: every input element is multiplied with every tap of every output channel of its group."""
    count = 0
    for _ in range(batch):
        for channel in range(channels):
            group = channel * groups // channels
            outputs = [c for c in range(out_channels) if c * groups // out_channels == group]
            for _position in itertools.product(*(range(size) for size in sizes)):
                for _out in outputs:
                    for _tap in itertools.product(*(range(k) for k in kernel)):
                        count += 1
    return count


def matmul_macs(a: Sequence[int], b: Sequence[int]) -> int:
    """Multiply-accumulates of ``a @ b`` with broadcasting, by running over all indices."""
    a = (1, *a) if len(a) == 1 else tuple(a)
    b = (*b, 1) if len(b) == 1 else tuple(b)
    batch_a, batch_b = list(a[:-2]), list(b[:-2])
    while len(batch_a) < len(batch_b):
        batch_a.insert(0, 1)
    while len(batch_b) < len(batch_a):
        batch_b.insert(0, 1)
    batches = [y if x == 1 else x for x, y in zip(batch_a, batch_b, strict=True)]
    count = 0
    for _ in itertools.product(*(range(size) for size in batches)):
        for _row in range(a[-2]):
            for _column in range(b[-1]):
                for _inner in range(a[-1]):
                    count += 1
    return count


def einsum_macs(terms: Sequence[str], output: str, sizes: dict[str, int]) -> int:
    """Multiply-accumulates of an einsum of two operands whose every label is in the output or in both operands."""
    labels = sorted(set("".join(terms)))
    assert all(label in output or all(label in term for term in terms) for label in labels)
    return sum(1 for _ in itertools.product(*(range(sizes[label]) for label in labels)))


def adaptive_pool_reads(n: int, m: int) -> int:
    """Elements in all windows of an adaptive pooling of n elements to m, window by window."""
    count = 0
    for i in range(m):
        start = (i * n) // m
        end = start
        while end * m < (i + 1) * n:
            end += 1
        count += end - start
    return count
