"""Complex numbers: how many real operations one complex operation is.

``(a + bi)(c + di) = (ac - bd) + (ad + bc)i`` takes four products and two additions, and adding the result to a sum two more: a complex
multiply-accumulate is four real ones. Ways with three products exist (Gauss), and some kernels use them; they are not counted.
Source of all counts: the definitions of the operations on pairs of real numbers.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import Traffic, count

MACS = 4
"""Real multiply-accumulates in a complex one."""
ADDITION = 2
"""Real operations in a complex addition, subtraction or change of sign."""
PRODUCT = 6
"""Real operations in a complex product: four products and two additions."""

FLOPS_PER_ELEMENT = (
    dict.fromkeys(("add", "sub", "subtract", "rsub", "neg", "negative"), ADDITION)
    | dict.fromkeys(("mul", "multiply", "square"), PRODUCT)
    | dict.fromkeys(("div", "divide", "true_divide"), 11)  # six products and three additions, then two divisions by |c|^2
    | {
        "reciprocal": 6,  # conj(z) / |z|^2: two squares, an addition, a change of sign, two divisions
        "abs": 4,  # sqrt(a^2 + b^2)
        "absolute": 4,
        "sgn": 6,  # z / |z|
        "exp": 5,  # exp(a) (cos b + i sin b)
        "lerp": ADDITION + PRODUCT + ADDITION,
        "addcmul": 2 * PRODUCT + ADDITION,
        "addcdiv": PRODUCT + 11 + ADDITION,
        "eq": 3,  # two comparisons and their conjunction
        "ne": 3,
        "conj_physical": 1,  # the sign of the imaginary part
    }
)
"""Real operations per element of elementwise functions; those that are not listed count one call, as for real numbers."""


def is_complex(op: Signature) -> bool:
    """Whether an op works on complex numbers."""
    return any(type.dtype.startswith("complex") for type in op.inputs)


def addition(op: Signature) -> int:
    """Real operations in one addition of an op."""
    return ADDITION if is_complex(op) else 1


def contraction(op: Signature, *, macs: int, additions: int = 0, reads: Traffic | None = None, writes: Traffic | None = None) -> Cost:
    """The cost of a contraction: its multiply-accumulates and the additions beside them, in real operations whatever the dtype."""
    if is_complex(op):
        return count(op, macs=MACS * macs, other=ADDITION * additions, reads=reads, writes=writes)
    return count(op, macs=macs, other=additions, reads=reads, writes=writes)
