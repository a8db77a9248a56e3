"""The cost of a piece of computation: exact counts with units, that add up."""

from __future__ import annotations

from dataclasses import dataclass

FLOPS_PER_MAC = 2
"""A multiply-accumulate is one multiplication and one addition. This is the only place that says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one op, or a sum of ops, costs. All counts are exact integers.

    The fields are typed as ``int`` because reports hold ints; the rules that fill them use only arithmetic, so tensors and
    symbols pass through the same lines.

    Examples:
        >>> product = Cost(macs=6, flops=12, elements_read=5, elements_written=6, bytes_read=20, bytes_written=24)
        >>> (product + product * 2).macs, product.access, product.access_bytes
        (18, 11, 44)
        >>> (product + Cost(uncounted=1)).partial
        True
    """

    macs: int = 0
    """Multiply-accumulates of contractions (convolutions, matrix products, attention)."""
    flops: int = 0
    """``2 * macs`` plus all other arithmetic operations."""
    params: int = 0
    """Elements of the parameters, each tensor counted once however often it is used."""
    elements_read: int = 0
    """Elements read from memory, weights included."""
    elements_written: int = 0
    """Elements written to memory."""
    bytes_read: int = 0
    """Bytes read from memory, in the dtypes of the tensors."""
    bytes_written: int = 0
    """Bytes written to memory, in the dtypes of the tensors."""
    uncounted: int = 0
    """Calls of ops that no rule prices. When it is not zero, every other field is a lower bound."""

    @property
    def access(self) -> int:
        """Elements read and written."""
        return self.elements_read + self.elements_written

    @property
    def access_bytes(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    @property
    def intensity(self) -> float | None:
        """Arithmetic intensity: FLOPs per byte read and written; ``None`` where no byte moves.

        Where the cost is `partial`, it is that of the ops that were counted, which is no bound.

        Source: Williams et al. 2009, "Roofline", Communications of the ACM 52(4), section 3.
        """
        return self.flops / self.access_bytes if self.access_bytes else None

    @property
    def partial(self) -> bool:
        """Whether this cost is only a lower bound, because something in it was not counted."""
        return bool(self.uncounted)

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            macs=self.macs + other.macs,
            flops=self.flops + other.flops,
            params=self.params + other.params,
            elements_read=self.elements_read + other.elements_read,
            elements_written=self.elements_written + other.elements_written,
            bytes_read=self.bytes_read + other.bytes_read,
            bytes_written=self.bytes_written + other.bytes_written,
            uncounted=self.uncounted + other.uncounted,
        )

    def __mul__(self, times: int) -> Cost:
        """The cost of doing the same work ``times`` times; parameters are multiplied too."""
        return Cost(
            macs=self.macs * times,
            flops=self.flops * times,
            params=self.params * times,
            elements_read=self.elements_read * times,
            elements_written=self.elements_written * times,
            bytes_read=self.bytes_read * times,
            bytes_written=self.bytes_written * times,
            uncounted=self.uncounted * times,
        )

    __rmul__ = __mul__


ZERO = Cost()
"""The cost of nothing."""

METRICS = ("macs", "flops", "params", "access", "access_bytes")
"""The names of the metrics that tables and queries accept, in the order in which they are shown."""
