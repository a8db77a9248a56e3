"""Closed forms as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy
from sympy.printing.str import StrPrinter

from flopscope.cost import METRICS
from flopscope.relax.closed.numbers import quotient_in

if TYPE_CHECKING:
    from flopscope.relax.closed.form import ClosedForm

LABELS = {"macs": "MACs", "flops": "FLOPs", "params": "params", "access": "access", "access_bytes": "access bytes"}
_MOST_TERMS_TO_FACTOR = 12


class _Printer(StrPrinter):  # type: ignore[misc]
    """Writes a floor over one divisor, ``floor((R + 3)/4)``, or as the ceiling that it is, ``ceil(R/4)``."""

    def _print_floor(self, expression: Any) -> str:
        above, below = quotient_in(expression)
        rest = above - below + 1
        if below.is_Integer and len(sympy.Add.make_args(rest)) < len(sympy.Add.make_args(above)):
            return f"ceil({self._quotient(rest, below)})"
        return f"floor({self._quotient(above, below)})"

    def _quotient(self, above: Any, below: Any) -> str:
        text = self._print(above)
        return f"({text})/{self._print(below)}" if above.is_Add else f"{text}/{self._print(below)}"


def formula(expression: Any) -> str:
    """An expression as text, factored or expanded, whichever is shorter. An int is written with separators."""
    expression = sympy.sympify(expression)
    if expression.is_Integer:
        return f"{int(expression):,}"
    candidates = [expression, sympy.factor_terms(expression)]
    if len(sympy.Add.make_args(expression)) <= _MOST_TERMS_TO_FACTOR:
        candidates.append(sympy.factor(expression))
    texts: list[str] = [_Printer().doprint(candidate) for candidate in candidates]
    return min(texts, key=len)


def described(form: ClosedForm) -> str:
    """All metrics of a form, where they hold, and what else a reader must know."""
    at_least = "at least " if form.cost.partial else ""
    lines = [f"{form.name} in {', '.join(form.symbols)}"]
    width = max(map(len, LABELS.values()))
    for metric in METRICS:
        mark = "" if metric == "params" else at_least
        lines.append(f"{LABELS[metric]:<{width}}  {mark}{formula(getattr(form.cost, metric))}")
    for names, cost in form.at_one.items():
        ones = {form.symbols[name]: 1 for name in sorted(names)}
        same = {metric: sympy.sympify(getattr(form.cost, metric)).subs(ones) for metric in METRICS}
        parts = [f"{LABELS[m]} {formula(getattr(cost, m))}" for m in METRICS if getattr(cost, m) != same[m]]
        lines.append(f"at {', '.join(f'{symbol} = 1' for symbol in ones)}: {', '.join(parts) or 'other reads and writes'}")
    if form.conditions:
        lines.append(f"holds where {', '.join(form.conditions)}")
    lines += [f"note: {note}" for note in form.notes]
    return "\n".join(lines) + "\n"
