"""What a published number may have counted: conventions, units, parts left out or added, and other input sizes.

A number with few digits leaves room, and many sums fall into it. So those are listed first that change the fewest things, and no more.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any

from flopscope.analyses.conventions import CONVENTIONS
from flopscope.cost import FLOPS_PER_MAC
from flopscope.errors import OptionError
from flopscope.graph import Graph, Op
from flopscope.report.explain import inputs_text, left_out, uncounted_in
from flopscope.report.text import TableFormat, render, si

if TYPE_CHECKING:
    from flopscope.report.report import Report

_NUMBER = re.compile(
    r"(?P<digits>\d[\d,_]*(?:\.\d+)?|\.\d+)(?:[eE](?P<power>[+-]?\d+))?\s*(?P<prefix>[kKMGBTP]?)\s*"
    r"(?P<unit>(?:(?i:macs?|flops?|mult?-?adds|multiply-adds))?)"
)
_PREFIXES = {"": 0, "k": 3, "K": 3, "M": 6, "G": 9, "B": 9, "T": 12, "P": 15}
_MOST_PARTS = 3
_MOST_SHOWN = 12
_FAR = 10
"""A number this many times larger or smaller than every count is a count of something else: no table could say of what."""


@dataclass(frozen=True, slots=True)
class Stated:
    """A number as somebody wrote it: any exact count from ``least`` to ``most`` rounds (or is cut) to it."""

    text: str
    value: Fraction
    step: Fraction
    """The value of the last digit that was written; 1 for an exact count."""

    def fits(self, count: int) -> bool:
        """Whether a count is this number after rounding."""
        return count == self.value if self.step == 1 else abs(count - self.value) <= self.step / 2


def parse_number(number: str | float) -> Stated:
    """A number, or a text such as ``4.11G``, ``557M``, ``4110000000`` or ``"4.1 GFLOPs"``.

    The unit decides nothing: many papers call multiply-accumulates FLOPs.

    Raises:
        OptionError: it is none, or not above zero.
    """
    text = (
        number if isinstance(number, str) else f"{number:.0f}" if isinstance(number, (int, float)) and abs(number) < 1e30 else repr(number)
    )
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise OptionError(
            f"{text!r} is neither a convention nor a number: write one of {', '.join(CONVENTIONS)}, or a count such as 4.11G, 557M, "
            "4110000000 or '4.1 GFLOPs'"
        )
    digits = match["digits"].replace(",", "").replace("_", "")
    power = int(match["power"] or 0) + _PREFIXES[match["prefix"]]
    if abs(power) > 30:
        raise OptionError(f"{text!r} is no count of a model: its power of ten is {power}")
    places = len(digits.partition(".")[2])
    scale = Fraction(10) ** power
    is_exact = power == 0 and places == 0
    if not Fraction(digits):
        raise OptionError(f"{text!r} is no count to explain: give a number above zero")
    return Stated(text.strip(), Fraction(digits) * scale, Fraction(1) if is_exact else scale / 10**places)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to count, and what it gives."""

    input: str
    base: str
    """A convention, or ``"contraction"`` with parts."""
    parts: tuple[str, ...]
    factor: str
    count: int

    @property
    def changes(self) -> int:
        """In how many ways it is not simply the multiply-accumulates of the model."""
        return (self.base != "contraction") + len(self.parts) + (self.factor != "") + (self.input != "")

    @property
    def text(self) -> str:
        """In words."""
        words = [self.base, *self.parts]
        tail = [self.factor] if self.factor else []
        place = [f"on {self.input}"] if self.input else []
        return ", ".join([" ".join(words), *tail, *place])


@dataclass(frozen=True, slots=True)
class NumberExplanation:
    """What a number may be a count of."""

    model: str
    input: str
    stated: Stated
    macs: int
    matches: tuple[Candidate, ...]
    """Those that give the number in all its digits, the simplest first; with more changes than the simplest needs they are left out."""
    nearest: tuple[Candidate, ...]
    """Where nothing matches: the nearest of all that were tried."""
    tried: int
    uncounted: tuple[str, ...] = ()
    """Ops that no rule prices: no way to count includes them."""

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """A table, and the sentence before it; the sentence alone where no way to count comes near."""
        if self.is_far:
            return f"{self.sentence}\n{left_out(self.uncounted)}"
        return f"{self.sentence}\n\n{self.to_table()}{left_out(self.uncounted)}"

    @property
    def is_far(self) -> bool:
        """Whether even the nearest way to count is off by more than a factor of ten."""
        best = abs(self.nearest[0].count)
        return not self.matches and not self.stated.value <= _FAR * best <= _FAR**2 * self.stated.value

    @property
    def sentence(self) -> str:
        """The result in words."""
        head = f"{self.stated.text} against {self.macs:,} MACs of {self.model} on {self.input}"
        if self.matches:
            more = " Few digits leave room for chance." if self.stated.value / self.stated.step < 1000 else ""
            return f"{head}: of {self.tried} ways to count, the simplest that give this number in all its digits are these.{more}"
        best = self.nearest[0]
        if self.is_far:
            return (
                f"{head}: the nearest of {self.tried} ways to count, {best.text} = {best.count:,}, is off by more than a factor of "
                f"{_FAR}, so this is most likely a count of another model, input or quantity. Check the number and its unit "
                "(K, M, G, T)."
            )
        missing = self.stated.value - best.count
        return (
            f"{head}: none of {self.tried} ways to count gives this number. The nearest is {best.text} = {best.count:,}; "
            f"{'+' if missing > 0 else '-'}{si(abs(round(missing)))} remain unexplained ({float(missing / self.stated.value):+.2%})."
        )

    def to_table(self, style: TableFormat = "table") -> str:
        """The ways to count, in one of the formats ``"table"``, ``"markdown"``, ``"latex"`` and ``"csv"``.

        Raises:
            OptionError: there is no such format.
        """
        rows = [
            [candidate.text, f"{candidate.count:,}", self._off_by(candidate)] for candidate in (self.matches or self.nearest)[:_MOST_SHOWN]
        ]
        return render(["what is counted", "count", "off by"], rows, style)

    def _off_by(self, candidate: Candidate) -> str:
        return f"{float((candidate.count - self.stated.value) / self.stated.value):+.3%}" if self.stated.value else ""

    def to_markdown(self) -> str:
        """The table in GitHub's Markdown, or the sentence where no way to count comes near."""
        return f"{self.sentence}\n" if self.is_far else self.to_table("markdown")

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""

        def plain(candidates: tuple[Candidate, ...]) -> list[dict[str, Any]]:
            return [
                {"convention": c.base, "parts": list(c.parts), "factor": c.factor, "input": c.input or self.input, "count": c.count}
                for c in candidates
            ]

        return {
            "model": self.model, "input": self.input, "stated": self.stated.text, "macs": self.macs, "tried": self.tried,
            "matches": plain(self.matches), "nearest": plain(self.nearest), "uncounted": list(self.uncounted),
        }  # fmt: skip

    def to_json(self, indent: int | None = 2) -> str:
        """The same as JSON."""
        return json.dumps(self.to_dict(), indent=indent) + "\n"


def explain_number(report: Report, stated: Stated, others: Mapping[str, Report]) -> NumberExplanation:
    """Look for ways to count that give a number.

    Args:
        report: the model on its own input.
        stated: the number.
        others: the same model on other inputs, by what to call them.
    """
    candidates = list(_candidates(report, ""))
    for name, other in others.items():
        candidates += _candidates(other, name)
    fitting = [candidate for candidate in candidates if stated.fits(candidate.count)]
    least = min((candidate.changes for candidate in fitting), default=0)
    matches = sorted((c for c in fitting if c.changes == least), key=lambda c: abs(c.count - stated.value))
    nearest = sorted(candidates, key=lambda c: (abs(c.count - stated.value), c.changes))[:5]
    return NumberExplanation(
        report.name, inputs_text(report), stated, report.total.macs, tuple(matches), tuple(nearest), len(candidates), uncounted_in(report)
    )


def _candidates(report: Report, input: str) -> Iterator[Candidate]:
    for name, convention in CONVENTIONS.items():
        count = report.under(name)
        yield from _scaled(input, f"{name} ({convention.unit})" if name != "contraction" else name, (), count)
    parts = [(name, amount) for name, amount in parts_of(report.graph).items() if amount]
    macs = report.total.macs
    for many in range(1, _MOST_PARTS + 1):
        for chosen in itertools.combinations(parts, many):
            names = tuple(name for name, _ in chosen)
            if len({name.split()[-1] for name in names}) == len(names):  # batch norm is added once or twice, not both
                yield from _scaled(input, "contraction", names, macs + sum(amount for _, amount in chosen))


def _scaled(input: str, base: str, parts: tuple[str, ...], count: int) -> Iterator[Candidate]:
    yield Candidate(input, base, parts, "", count)
    yield Candidate(input, base, parts, "times 2", FLOPS_PER_MAC * count)
    if count % FLOPS_PER_MAC == 0:
        yield Candidate(input, base, parts, "halved", count // FLOPS_PER_MAC)


_NORMS = ("layer_norm", "group_norm", "instance_norm", "rms_norm")
_ACTIVATIONS = (
    "relu",
    "relu6",
    "hardtanh",
    "hardswish",
    "hardsigmoid",
    "silu",
    "sigmoid",
    "gelu",
    "leaky_relu",
    "elu",
    "prelu",
    "tanh",
    "mish",
)


def _outputs(graph: Graph, *kinds: str) -> int:
    return sum(op.signature.output.elements * op.times for op in graph.ops if op.kind in kinds and op.signature.outputs)


def parts_of(graph: Graph) -> dict[str, int]:
    """What a count may have added to the multiply-accumulates, or left out of them (then negative), by name."""
    norms, activations = _outputs(graph, "batch_norm", "batch_norm_inference"), _outputs(graph, *_ACTIVATIONS)
    return {
        "- attention": -_macs(graph, lambda op: op.kind == "attention"),
        "- products": -_macs(graph, lambda op: op.kind in ("matmul", "einsum", "addmm")),
        "- classifier": -_classifier(graph),
        "+ bias": sum(op.signature.output.elements * op.times for op in graph.ops if op.signature.get("bias") is not None and _macs_of(op)),
        "+ batchnorm": norms,
        "+ 2 batchnorm": 2 * norms,
        "+ othernorm": _outputs(graph, *_NORMS),
        "+ activations": activations,
        "+ pooling": sum(_pooled(op) * op.times for op in graph.ops),
        "+ additions": _outputs(graph, "add", "add_"),
    }


def _macs_of(op: Op) -> int:
    """The multiply-accumulates of an op in all its runs."""
    from flopscope.analyses.totals import cost_of

    return cost_of(op.signature).macs * op.times


def _macs(graph: Graph, wanted: Callable[[Op], bool]) -> int:
    return sum(_macs_of(op) for op in graph.ops if wanted(op))


def _classifier(graph: Graph) -> int:
    """The multiply-accumulates of the last linear layer."""
    return next((_macs_of(op) for op in reversed(graph.ops) if op.kind == "linear"), 0)


def _pooled(op: Op) -> int:
    if op.kind not in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool"):
        return 0
    if op.kind.startswith("adaptive"):
        return op.signature.inputs[0].elements
    kernel = op.signature["kernel_size"]
    rank = len(op.signature.output.shape) - 2
    window: int = prod(kernel) if len(kernel) > 1 else kernel[0] ** rank
    return op.signature.output.elements * window
