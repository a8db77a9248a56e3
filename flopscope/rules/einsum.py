"""Einstein summation: any equation, as it is computed, two operands at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, expect, prod, rule

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Equation:
    """A parsed equation: a label for each dimension of each operand, the labels of the output, and the size of each label."""

    operands: tuple[Labels, ...]
    output: Labels
    sizes: Mapping[str, int]


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
    return count(op, macs=macs, other=additions)


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
    operands = tuple(_labels(term, len(shape), text) for term, shape in zip(terms, shapes, strict=True))
    sizes: dict[str, int] = {}
    for labels, shape in zip(operands, shapes, strict=True):
        for label, size in zip(labels, shape, strict=True):
            known = sizes.get(label, 1)
            expect(
                bool(known == 1 or size == 1 or known == size), f"the equation {text!r}, where {label!r} has the sizes {known} and {size}"
            )
            sizes[label] = size if known == 1 else known
    broadcast = tuple(sorted((label for label in sizes if label.startswith(".")), key=lambda label: -int(label[1:])))
    if arrow:
        before, dots, after = right.partition("...")
        output = (*before, *(broadcast if dots else ()), *after)
    else:
        letters = [label for labels in operands for label in labels if not label.startswith(".")]
        output = (*broadcast, *sorted(label for label in set(letters) if letters.count(label) == 1))
    return Equation(operands, output, sizes)


def _labels(term: str, rank: int, text: str) -> Labels:
    """One label per dimension; the dimensions under ``...`` are called ``.1``, ``.2``, ... from the right."""
    before, dots, after = term.partition("...")
    hidden = rank - len(before) - len(after)
    expect(hidden >= 0 if dots else hidden == 0, f"the equation {text!r}, where {term!r} does not fit {rank} dimensions")
    return (*before, *(f".{position}" for position in range(hidden, 0, -1)), *after)


def contraction_cost(equation: Equation, path: Sequence[int] | None = None) -> tuple[int, int]:
    """The multiply-accumulates and the additions before them, over all pairwise steps.

    ``path`` is the flat list of pairs that torch passes on where it has an optimised order; each pair is taken out and its result put at the end.
    """
    remaining = [tuple(dict.fromkeys(labels)) for labels in equation.operands]  # a repeated label takes the diagonal, which costs nothing
    if len(remaining) == 1:
        return 0, _summed(remaining[0], set(equation.output), equation.sizes)[1]
    macs = additions = 0
    pairs = list(zip(path[::2], path[1::2], strict=True)) if path else [(0, 1)] * (len(remaining) - 1)
    for i, j in pairs:
        first, second = remaining[i], remaining[j]
        remaining = [labels for position, labels in enumerate(remaining) if position not in (i, j)]
        needed = set(equation.output).union(*remaining)
        first, before_first = _summed(first, needed | set(second), equation.sizes)
        second, before_second = _summed(second, needed | set(first), equation.sizes)
        together = tuple(dict.fromkeys((*first, *second)))
        macs += prod(equation.sizes[label] for label in together)
        additions += before_first + before_second
        result = tuple(label for label in together if label in needed)
        remaining = [*remaining, result] if path else [result, *remaining]
    return macs, additions


def _summed(labels: Labels, needed: set[str], sizes: Mapping[str, int]) -> tuple[Labels, int]:
    """An operand after labels that nobody needs were summed away, and the additions that this took (one per element)."""
    kept = tuple(label for label in labels if label in needed)
    return kept, 0 if len(kept) == len(labels) else prod(sizes[label] for label in labels)
