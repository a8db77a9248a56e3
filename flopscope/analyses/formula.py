"""The formula of a rule with its letters filled in, read off the rule itself.

The rule runs once more, on the same op, whose sizes are now numbers that remember how they were computed. So the text cannot
say anything else than the code does. The letters are those of the shape signature in the rule's docstring; a size that has none there is
called after its argument, such as ``weight[1]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flopscope.graph import Signature, TensorType
from flopscope.rules import rule_for

METRICS = ("macs", "flops", "access")
_LONGEST = 600
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

_SUMS = ("+", "-")
_ALL = ("+", "-", "*", "//")

Tree = tuple[Any, ...]
"""``("size", name)``, or an operator with the numbers that it joined."""


class Size(int):
    """A whole number that remembers how it was computed."""

    tree: Tree

    @staticmethod
    def named(value: int, name: str) -> Size:
        """A size with a name."""
        return _made(value, ("size", name))

    def __add__(self, other: Any) -> Any:
        return _joined("+", int(self) + int(other), self, other) if isinstance(other, int) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return _joined("+", int(other) + int(self), other, self) if isinstance(other, int) else NotImplemented

    def __sub__(self, other: Any) -> Any:
        return _joined("-", int(self) - int(other), self, other) if isinstance(other, int) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return _joined("-", int(other) - int(self), other, self) if isinstance(other, int) else NotImplemented

    def __mul__(self, other: Any) -> Any:
        return _joined("*", int(self) * int(other), self, other) if isinstance(other, int) else NotImplemented

    def __rmul__(self, other: Any) -> Any:
        return _joined("*", int(other) * int(self), other, self) if isinstance(other, int) else NotImplemented

    def __floordiv__(self, other: Any) -> Any:
        return _joined("//", int(self) // int(other), self, other) if isinstance(other, int) else NotImplemented

    def __rfloordiv__(self, other: Any) -> Any:
        return _joined("//", int(other) // int(self), other, self) if isinstance(other, int) else NotImplemented


def _made(value: int, tree: Tree) -> Size:
    made = Size(value)
    made.tree = tree
    return made


def _joined(operator: str, value: int, left: int, right: int) -> Size:
    """A number made of two. What changes nothing (times 1, plus 0, of plain numbers) is left out."""
    neutral = {"*": 1, "//": 1, "+": 0, "-": 0}[operator]
    if type(right) is not Size and right == neutral and isinstance(left, Size):
        return left
    if type(left) is not Size and left == neutral and operator in "*+" and isinstance(right, Size):
        return right
    return _made(value, (operator, left, right))


def _spelled(number: int, *, values: bool) -> str:
    """A number as it was computed, with names or with values. Sizes that were multiplied first are written without spaces."""
    if not isinstance(number, Size):
        return str(number)
    if number.tree[0] == "size":
        return str(int(number)) if values else str(number.tree[1])
    operator, left, right = number.tree
    if operator == "*":
        return " * ".join(_in_product(factor, values) for factor in _factors(number))
    first, second = _spelled(left, values=values), _spelled(right, values=values)
    if operator == "//":
        return f"{_parenthesised(left, first, _SUMS)} // {_parenthesised(right, second, _ALL)}"
    return f"{first} {operator} {_parenthesised(right, second, _SUMS) if operator == '-' else second}"


def _factors(number: Size) -> Iterator[int]:
    """The factors of a product, where sizes that were multiplied with each other first stay together."""
    _, left, right = number.tree
    if _is_group(number) and _is_size(right):
        yield number
        return
    yield from _factors(left) if isinstance(left, Size) and left.tree[0] == "*" and not _is_group(left) else (left,)
    yield right


def _is_size(number: int) -> bool:
    return isinstance(number, Size) and number.tree[0] == "size"


def _is_group(number: int) -> bool:
    """Whether a number is a product of sizes and nothing else, such as the elements of a tensor."""
    return _is_size(number) or (isinstance(number, Size) and number.tree[0] == "*" and all(map(_is_group, number.tree[1:])))


def _in_product(factor: int, values: bool) -> str:
    if _is_group(factor):
        return "*".join(_flat(factor, values))
    return _parenthesised(factor, _spelled(factor, values=values), (*_SUMS, "//"))


def _flat(number: int, values: bool) -> Iterator[str]:
    if isinstance(number, Size) and number.tree[0] == "*":
        yield from _flat(number.tree[1], values)
        yield from _flat(number.tree[2], values)
    else:
        text = _spelled(number, values=values)
        yield f"({text})" if "+" in text else text


def _parenthesised(number: int, text: str, operators: tuple[str, ...]) -> str:
    """The text in parentheses where the number was made by one of the operators."""
    return f"({text})" if isinstance(number, Size) and number.tree[0] in operators else text


@dataclass(frozen=True, slots=True)
class Filled:
    """One count of an op: by its letters, by their values, and the number itself."""

    metric: str
    letters: str
    values: str
    number: int

    def __str__(self) -> str:
        parts = [self.letters, self.values] if self.letters != self.values else [self.letters]
        return " = ".join([self.metric, *(part for part in parts if part != str(self.number)), f"{self.number:,}"])


def filled(op: Signature) -> list[Filled]:
    """The counts of an op with their formulas; nothing for an op that no rule prices."""
    rule = rule_for(op)
    if rule is None:
        return []
    cost = rule.formula(with_names(op, letters_of(rule.formula.__doc__ or "", op)))
    if cost is None:
        return []
    return [_filled(metric, getattr(cost, metric)) for metric in METRICS]


def _filled(metric: str, number: int) -> Filled:
    letters, values = _spelled(number, values=False), _spelled(number, values=True)
    if len(letters) > _LONGEST:
        letters = values = f"(a sum of {letters.count('+') + 1} terms)"
    return Filled(metric, letters, values, int(number))


Letters = Mapping[str, list[str]]
"""The names of the dimensions of a tensor, by the name of the argument, or ``out``, ``out1``, ..."""


def with_names(op: Signature, letters: Letters) -> Signature:
    """The same op with sizes and whole-number attributes that remember their names."""

    def named(value: Any, name: str) -> Any:
        if isinstance(value, TensorType):
            names = letters.get(name) or [f"{name}[{position}]" for position in range(len(value.shape))]
            shape = tuple(Size.named(size, text) for size, text in zip(value.shape, names, strict=True))
            return replace(value, shape=shape)
        if isinstance(value, tuple):
            return tuple(named(item, f"{name}[{position}]") for position, item in enumerate(value))
        return Size.named(value, name) if type(value) is int and value > 1 else value

    outputs = tuple(named(type, name) for name, type in zip(_output_names(op), op.outputs, strict=True))
    return replace(op, arguments={name: named(value, name) for name, value in op.arguments.items()}, outputs=outputs)


def _output_names(op: Signature) -> list[str]:
    return ["out"] if len(op.outputs) == 1 else [f"out{position}" for position in range(len(op.outputs))]


def signature_text(doc: str) -> str:
    """The shape signature that a rule states in its docstring; empty where it states none."""
    found = re.match(r"``(.+?)``", doc.strip())
    return found[1] if found and "=" in found[1] else ""


def letters_of(doc: str, op: Signature) -> dict[str, list[str]]:
    """The names that a rule's docstring gives to the dimensions of the tensors of an op, where they fit its shapes."""
    left, _, right = signature_text(doc).partition(" = ")
    call = re.match(r"\w+\((.*)\)", right)
    if call is None:
        return {}
    tensors = {name: value for name, value in op.arguments.items() if value is None or isinstance(value, TensorType)}
    outputs = dict(zip(_output_names(op), op.outputs, strict=True))
    found = _assigned(_split(left), outputs) | _assigned(_split(call[1]), tensors)
    return found if _is_consistent(found, {**tensors, **outputs}) else {}


def _assigned(tokens: list[str], types: Mapping[str, TensorType | None]) -> dict[str, list[str]]:
    types = {name: type for name, type in types.items() if name not in tokens}  # a bare name stands for a tensor of any shape
    labels = [names for names in map(_names, tokens) if names is not None]
    found = {}
    for names, (argument, type) in zip(labels, types.items(), strict=False):
        fitted = None if type is None else _fitted(names, len(type.shape))
        if fitted is not None:
            found[argument] = fitted
    return found


def _split(text: str) -> list[str]:
    """The parts between the commas that lie in no bracket."""
    parts, depth, current = [], 0, ""
    for sign in text:
        depth += (sign in "[(") - (sign in "])")
        if sign == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += sign
    return [*parts, current.strip()] if current.strip() else parts


def _names(token: str) -> list[str] | None:
    inner = re.fullmatch(r"\[([^\[\]]*)\]\??", token)
    return None if inner is None else [name.strip() for name in inner[1].split(",") if name.strip()]


def _fitted(labels: list[str], rank: int) -> list[str] | None:
    """The labels for that many dimensions: one with a star stands for as many as remain."""
    starred = [label for label in labels if label.startswith("*")]
    if len(starred) > 1 or (not starred and len(labels) != rank) or rank < len(labels) - len(starred):
        return None
    found = []
    for label in labels:
        if not label.startswith("*"):
            found.append(label)
            continue
        many = rank - len(labels) + 1
        stem = label[1:] or "r"
        found += [stem if many == 1 else stem + str(i + 1).translate(_SUBSCRIPTS) for i in range(many)]
    return found


def _is_consistent(found: Letters, types: Mapping[str, TensorType | None]) -> bool:
    """Whether each letter has one size."""
    sizes: dict[str, int] = {}
    for argument, labels in found.items():
        type = types[argument]
        for label, size in zip(labels, type.shape if type is not None else (), strict=True):
            if sizes.setdefault(label, size) != size:
                return False
    return True
