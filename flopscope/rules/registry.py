"""Where rules live: a rule is the cost of one kind of op, as a pure function of its signature.

A rule reads the types and attributes in a `Signature` and returns a `Cost`. It uses only ``+ - * //`` and products on dimensions, so that
the same lines run on ints, on tensors and on symbols. It states the FLOPs that it counts in one line, and the source of that line.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from flopscope.cost import FLOPS_PER_MAC, ZERO, Cost
from flopscope.errors import RuleError
from flopscope.graph import Signature, TensorType

Formula = Callable[[Signature], Cost | None]
AnyFormula = TypeVar("AnyFormula", bound=Callable[..., Any])

_FORM: Final = """Write it as
    @flopscope.rule("mylib::myop", flops="2 per MAC", source="the paper, equation 3")
    def myop(op):
        return flopscope.count(op, macs=op["x"].elements * op["weight"].shape[0])"""


VIEW: Final = "any_view"
"""The key of the rule for every op that only gives the same memory another shape."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A formula, with what it counts and who says so. A formula returns ``None`` for a call that it cannot price after all."""

    key: str
    formula: Formula
    flops: str
    """The convention: which operations make up the FLOPs."""
    source: str
    family: str


_rules: dict[str, Rule] = {}
_module_classes: dict[str, type] = {}
_priced: dict[Signature, Cost | None] = {}


def rule(*keys: str | type, flops: str, source: str) -> Callable[[AnyFormula], AnyFormula]:
    """Register a formula for the ops or module classes named by the keys.

    Args:
        keys: a custom op by its qualified name (``"mylib::myop"``), a kind of op (``"conv"``), or a ``torch.nn.Module`` class, whose
            calls are then priced as a whole, whatever ops run inside.
        flops: one line that says which operations the FLOPs count.
        source: where that convention or formula comes from.

    Returns:
        A decorator that leaves the function as it is.

    Raises:
        RuleError: a key is already taken or is no op name and no module class, or the function does not take one argument.

    Examples:
        >>> import flopscope, torch
        >>> class Swap(torch.nn.Module):
        ...     def forward(self, x):
        ...         return x.flip(-1)
        >>> @flopscope.rule(Swap, flops="none", source="moves its input")
        ... def swap(op):
        ...     return flopscope.count(op)
        >>> flopscope.analyze(Swap(), "2x8").ops[0].cost.access  # reads 16 elements and writes as many
        32
        >>> flopscope.forget_rule(Swap)
    """
    if not keys:
        raise RuleError(f"a rule needs the op or module class that it prices. {_FORM}")

    def register(formula: AnyFormula) -> AnyFormula:
        _check_formula(formula)
        names = [_name_of(key) for key in keys]
        for name in names:
            if name in _rules:
                known = _rules[name].formula
                raise RuleError(
                    f"{name!r} already has a rule: {known.__module__}.{known.__qualname__}. Remove it first with "
                    f"flopscope.forget_rule({name!r}) "
                    "if it is to be replaced."
                )
        for key, name in zip(keys, names, strict=True):
            _rules[name] = Rule(name, formula, flops, source, formula.__module__.rpartition(".")[2])
            if isinstance(key, type):
                _module_classes[name] = key
        _priced.clear()
        return formula

    return register


def forget_rule(key: str | type) -> None:
    """Remove a rule.

    Raises:
        RuleError: there is no such rule.

    Examples:
        >>> import flopscope
        >>> @flopscope.rule("mylib::twice", flops="1 per element", source="the definition of doubling")
        ... def twice(op):
        ...     return flopscope.count(op, other=op.output.elements)
        >>> flopscope.forget_rule("mylib::twice")
    """
    name = _name_of(key)
    if name not in _rules:
        raise RuleError(f"there is no rule for {name!r}, so none can be removed")
    del _rules[name]
    _module_classes.pop(name, None)
    _priced.clear()


def _check_formula(formula: object) -> None:
    if not callable(formula):
        raise RuleError(f"a rule must be a function of one signature, but {formula!r} was given. {_FORM}")
    try:
        inspect.signature(formula).bind(None)
    except TypeError as error:
        raise RuleError(f"a rule must be callable with one argument, the signature of the op ({error}). {_FORM}") from None


def _name_of(key: object) -> str:
    if isinstance(key, str):
        namespace, colons, name = key.partition("::")
        parts = (*namespace.split("."), name) if colons else (key,)
        if all(part.isidentifier() for part in parts):
            return key
        raise RuleError(f"{key!r} is no op name: expected 'namespace::name' without an overload (or a kind such as 'conv'). {_FORM}")
    if isinstance(key, type):
        if any(base.__module__.startswith("torch.nn.modules") and base.__name__ == "Module" for base in key.__mro__):
            return f"module::{key.__module__}.{key.__qualname__}"
        raise RuleError(f"{key.__qualname__} is no torch.nn.Module class, so no call of it can be priced. {_FORM}")
    raise RuleError(f"a rule is registered for a string or a module class, but {key!r} was given. {_FORM}")


def module_classes() -> tuple[type, ...]:
    """The module classes that have a rule of their own."""
    return tuple(_module_classes.values())


def rule_for(signature: Signature) -> Rule | None:
    """The rule that prices an op: that of its own name, else that of views where it is one, else that of its kind."""
    own = _rules.get(signature.target)
    if own is None and signature.effect == "view":
        return _rules.get(VIEW)
    return own or _rules.get(signature.kind)


def registered() -> dict[str, Rule]:
    """All rules by key."""
    return dict(_rules)


def price(signature: Signature) -> Cost | None:
    """The cost of one call, or ``None`` where no rule knows the op. Parameters are not in it: they belong to the graph.

    Raises:
        RuleError: the op breaks the shape signature that its rule states.
    """
    try:
        return _priced[signature]
    except KeyError:
        pass
    found = rule_for(signature)
    try:
        result = None if found is None else found.formula(signature)
    except (KeyError, IndexError, ValueError, TypeError, ZeroDivisionError) as error:
        raise RuleError(
            f"the rule for {signature.target} ({found.formula.__qualname__ if found else ''}) cannot price a call with "
            f"{', '.join(map(str, signature.inputs))} and {signature.attributes}: {type(error).__name__}: {error}"
        ) from error
    if result is not None and not isinstance(result, Cost):
        raise RuleError(f"the rule for {signature.target} returned {result!r}, where a flopscope.Cost is needed. {_FORM}")
    if len(_priced) > _MOST_PRICED:
        _priced.clear()
    _priced[signature] = result
    return result


_MOST_PRICED = 500_000

Traffic = Iterable[tuple[int, TensorType]]
"""Elements that an op moves, each with the tensor type that gives their width."""


def count(op: Signature, *, macs: int = 0, other: int = 0, reads: Traffic | None = None, writes: Traffic | None = None) -> Cost:
    """The cost of an op from its counts.

    Args:
        op: the signature that is priced.
        macs: multiply-accumulates.
        other: arithmetic operations besides them; ``flops`` becomes ``2 * macs + other``.
        reads: the elements that are read; by default every input, each once.
        writes: the elements that are written; by default every output.

    Examples:
        >>> from flopscope.graph import Signature, TensorType
        >>> x, weight, out = (TensorType.of(shape) for shape in ((2, 8), (4, 8), (2, 4)))
        >>> cost = count(Signature("mylib::linear", "linear", {"x": x, "weight": weight}, (out,)), macs=2 * 8 * 4)
        >>> cost.flops, cost.access, cost.access_bytes
        (128, 56, 224)
    """
    read = [(type.stored_elements, type) for type in op.read] if reads is None else list(reads)
    written = [(type.elements, type) for type in op.outputs] if writes is None else list(writes)
    return Cost(
        macs=macs,
        flops=FLOPS_PER_MAC * macs + other,
        elements_read=sum(elements for elements, _ in read),
        elements_written=sum(elements for elements, _ in written),
        bytes_read=sum(type.bytes(elements) for elements, type in read),
        bytes_written=sum(type.bytes(elements) for elements, type in written),
    )


def free(op: Signature) -> Cost:  # noqa: ARG001 - every rule takes the signature
    """The cost of an op that moves and computes nothing, such as a view."""
    return ZERO


def expect(condition: bool, what: str) -> None:
    """State the shape signature of a rule: letters that are equal must have equal sizes.

    Relaxed sizes compare as tensors, not as a truth value. They pass: the op was checked with the sizes with which it was traced.

    Raises:
        ValueError: they do not; `price` adds the op and its shapes.
    """
    if condition is False:
        raise ValueError(f"its shapes break {what}")


prod = math.prod
