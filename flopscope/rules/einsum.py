"""Einstein summation: any equation, as it is computed, two operands at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.complex_numbers import contraction
from flopscope.rules.registry import expect, prod, rule
from flopscope.rules.sizes import broadcast, is_one

Sizes = dict[str, int]
"""An operand as the size of each of its labels. A label of size one is broadcast to the size that others have."""


@dataclass(frozen=True, slots=True)
class Equation:
    """A parsed equation: the operands, and the labels of the output."""

    operands: tuple[Sizes, ...]
    output: tuple[str, ...]


@rule(
    "einsum",
    flops="2 per MAC of each pairwise contraction; 1 addition per element that is summed away before",
    source="PyTorch documentation of torch.einsum (left to right unless a path is given)",
)
def einsum(op: Signature) -> Cost:
    """``einsum(equation, operands)``.

    Two operands cost one multiply-accumulate per combination of the labels that the pair has after labels which only one of them has, and
    nobody else needs, were summed away. One operand costs additions only.
    """
    equation = parse(op["equation"], [type.shape for type in op["operands"]])
    macs, additions = contraction_cost(equation, op.get("path"))
    return contraction(op, macs=macs, additions=additions)


def parse(text: str, shapes: Sequence[Sequence[int]]) -> Equation:
    """Read an equation for operands of the given shapes.

    ``...`` stands for as many dimensions as remain, aligned at the right and broadcast; without ``->`` the output is the broadcast
    dimensions, then all labels that occur once, in alphabetical order.

    Raises:
        ValueError: the equation does not fit the shapes.
    """
    left, arrow, right = text.replace(" ", "").partition("->")
    terms = left.split(",")
    expect(len(terms) == len(shapes), f"the equation {text!r}, which names {len(terms)} operands")
    labelled = [_labels(term, len(shape), text) for term, shape in zip(terms, shapes, strict=True)]
    sizes: Sizes = {}
    for labels, shape in zip(labelled, shapes, strict=True):
        for label, size in zip(labels, shape, strict=True):
            known = sizes.get(label, 1)
            fits = is_one(known) or is_one(size) or size == known
            expect(fits, f"the equation {text!r}, where {label!r} has the sizes {known} and {size}")
            sizes[label] = broadcast(known, size)
    # A repeated label takes the diagonal, which costs nothing.
    operands = tuple(dict(zip(labels, shape, strict=True)) for labels, shape in zip(labelled, shapes, strict=True))
    dotted = tuple(sorted((label for label in sizes if label.startswith(".")), key=lambda label: -int(label[1:])))
    if arrow:
        before, dots, after = right.partition("...")
        output = (*before, *(dotted if dots else ()), *after)
    else:
        letters = [label for labels in labelled for label in labels if not label.startswith(".")]
        output = (*dotted, *sorted(label for label in set(letters) if letters.count(label) == 1))
    return Equation(operands, output)


def _labels(term: str, rank: int, text: str) -> tuple[str, ...]:
    """One label per dimension; the dimensions under ``...`` are called ``.1``, ``.2``, ... from the right."""
    before, dots, after = term.partition("...")
    hidden = rank - len(before) - len(after)
    expect(hidden >= 0 if dots else hidden == 0, f"the equation {text!r}, where {term!r} does not fit {rank} dimensions")
    return (*before, *(f".{position}" for position in range(hidden, 0, -1)), *after)


def contraction_cost(equation: Equation, path: Sequence[int] | None = None) -> tuple[int, int]:
    """The multiply-accumulates and the additions before them, over all pairwise steps.

    ``path`` is the flat list of pairs that torch passes on where it has an optimised order; each pair is taken out and its result put at
    the end.
    """
    remaining = list(equation.operands)
    if len(remaining) == 1:
        return 0, _summed(remaining[0], set(equation.output))[1]
    macs = additions = 0
    pairs = list(zip(path[::2], path[1::2], strict=True)) if path else [(0, 1)] * (len(remaining) - 1)
    for i, j in pairs:
        first, second = remaining[i], remaining[j]
        remaining = [operand for position, operand in enumerate(remaining) if position not in (i, j)]
        needed = set(equation.output).union(*remaining)
        first, before_first = _summed(first, needed | _long(second))
        second, before_second = _summed(second, needed | _long(first))
        together = {label: broadcast(first.get(label, 1), second.get(label, 1)) for label in (*first, *second)}
        macs += prod(together.values())
        additions += before_first + before_second
        result = {label: size for label, size in together.items() if label in needed}
        remaining = [*remaining, result] if path else [result, *remaining]
    return macs, additions


def _long(operand: Sizes) -> set[str]:
    """The labels over which a product with this operand sums: those of size one are no reason to wait with a sum."""
    return {label for label, size in operand.items() if not is_one(size)}


def _summed(operand: Sizes, needed: set[str]) -> tuple[Sizes, int]:
    """An operand after labels that nobody needs were summed away, and the additions that this took (one per element)."""
    kept = {label: size for label, size in operand.items() if label in needed or is_one(size)}
    return kept, 0 if len(kept) == len(operand) else prod(operand.values())
