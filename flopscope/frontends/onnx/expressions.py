"""Sizes that a file writes as sums or products of others, as in ``past_sequence_length + sequence_length``."""

from __future__ import annotations

import ast
from collections.abc import Callable

_LONGEST = 200


def computed(text: str, size_of: Callable[[str], int | None]) -> int | None:
    """The value of an expression in the names of other sizes; ``None`` for plain names and for what is no such expression.

    Args:
        text: what the file writes as the name of a dimension.
        size_of: the size of a name; ``None`` for names that no dimension has.
    """
    if len(text) > _LONGEST or not any(sign in text for sign in "+-*/"):
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        found = _value(tree, size_of)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None
    return found if found is not None and found > 0 else None


def _value(tree: ast.expr, size_of: Callable[[str], int | None]) -> int | None:
    if isinstance(tree, ast.Name):
        return size_of(tree.id)
    if isinstance(tree, ast.Constant):
        return tree.value if type(tree.value) is int else None
    if not isinstance(tree, ast.BinOp):
        return None
    left, right = _value(tree.left, size_of), _value(tree.right, size_of)
    if left is None or right is None:
        return None
    if isinstance(tree.op, ast.Add):
        return left + right
    if isinstance(tree.op, ast.Sub):
        return left - right
    if isinstance(tree.op, ast.Mult):
        return left * right
    return left // right if isinstance(tree.op, ast.FloorDiv) else None
