"""Why a module or an op costs what it costs: formulas with their letters filled in, and where they come from."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flopscope.analyses.formula import Filled, filled, letters_of, signature_text
from flopscope.errors import OptionError
from flopscope.graph import Op
from flopscope.report.text import shape_text
from flopscope.rules import rule_for

if TYPE_CHECKING:
    from flopscope.report.report import Report


@dataclass(frozen=True, slots=True)
class OpWhy:
    """One op: its formulas, weights and the rule behind them."""

    ops: tuple[Op, ...]
    """The op, and all others of the same module that compute the same."""
    formulas: tuple[Filled, ...]
    shapes: str
    """The shape signature of the rule; empty where it states none."""
    letters: dict[str, int]
    weights: tuple[tuple[str, str, int], ...]
    """Name, shape and elements of each parameter that the op reads."""
    convention: str
    source: str

    @property
    def times(self) -> int:
        """How often they run in all; the formulas are those of one run."""
        return sum(op.times for op in self.ops)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        first = self.ops[0]
        return {
            "ops": [op.index for op in self.ops],
            "times": self.times,
            "scope": first.scope,
            "op": first.target,
            "kind": first.kind,
            "inputs": [str(type) for type in first.signature.inputs],
            "outputs": [str(type) for type in first.signature.outputs],
            "signature": self.shapes,
            "letters": self.letters,
            "formulas": {f.metric: {"formula": f.letters, "values": f.values, "count": f.number} for f in self.formulas},
            "weights": [{"name": name, "shape": shape, "elements": elements} for name, shape, elements in self.weights],
            "convention": self.convention,
            "source": self.source,
        }

    def to_text(self) -> str:
        """Lines for people."""
        first = self.ops[0]
        again = f"   ({self.times:,} times)" if self.times > 1 else ""
        types = f"({', '.join(map(str, first.signature.inputs))}) -> {', '.join(map(str, first.signature.outputs))}"
        lines = [f"#{first.index} {first.scope or 'the model itself'}: {first.target}{types}{again}"]
        if not self.formulas:
            return "\n".join([*lines, "  NOT COUNTED: no rule prices this op; flopscope doctor says what to write"])
        if self.letters:
            lines.append(f"  {self.shapes}, {', '.join(f'{letter} = {size:,}' for letter, size in self.letters.items())}")
        lines += [f"  {formula}" for formula in self.formulas if formula.number or formula.metric != "macs"]
        lines += [f"  params = {shape} = {elements:,} ({name})" for name, shape, elements in self.weights]
        lines += [f"  FLOPs are {self.convention}", f"  source: {self.source}"]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Why:
    """The ops of a module, each with its formulas."""

    scope: str
    class_name: str
    macs: int
    flops: int
    params: int
    ops: tuple[OpWhy, ...]

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """Lines for people."""
        head = f"{self.scope or 'the model'} ({self.class_name}): {self.macs:,} MACs, {self.flops:,} FLOPs, {self.params:,} params"
        return "\n\n".join([head, *(op.to_text() for op in self.ops)]) + "\n"

    def to_markdown(self) -> str:
        """The formulas as a list in Markdown."""
        lines = [
            f"**{self.scope or 'the model'}** ({self.class_name}): {self.macs:,} MACs, {self.flops:,} FLOPs, {self.params:,} params",
            "",
        ]
        for op in self.ops:
            again = f", {op.times:,} times" if op.times > 1 else ""
            lines.append(f"- `{op.ops[0].target}` in `{op.ops[0].scope}`{again} ({op.source or 'not counted'})")
            lines += [f"    - `{formula}`" for formula in op.formulas if formula.number]
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        counts = {"macs": self.macs, "flops": self.flops, "params": self.params}
        return {"scope": self.scope, "class": self.class_name, **counts, "ops": [op.to_dict() for op in self.ops]}

    def to_json(self, indent: int | None = 2) -> str:
        """The same as JSON."""
        return json.dumps(self.to_dict(), indent=indent, default=repr) + "\n"


def why(report: Report, scope: str) -> Why:
    """The formulas of the ops of a module, or of one op.

    Args:
        report: the report.
        scope: the path of a module, ``"#7"`` for the op of that index, or the name of a node of an ONNX model.

    Raises:
        OptionError: there is no such module or op.
    """
    graph = report.graph
    if scope.startswith("#"):
        op = _op_of(scope, graph.ops)
        cost = report.ops[op.index].cost
        return Why(scope, op.target, cost.macs, cost.flops, cost.params, (_explained([op]),))
    module = next((module for module in graph.modules if module.path == scope), None)
    if module is None:
        named = [op for op in graph.ops if op.name == scope]
        if named:
            parts = [report.ops[op.index].cost for op in named]
            explained = tuple(_explained([op]) for op in named)
            return Why(
                scope, named[0].target, sum(c.macs for c in parts), sum(c.flops for c in parts), sum(c.params for c in parts), explained
            )
        raise _unknown(scope, [module.path for module in graph.modules])
    row = next(row for row in report.by_module() if row.path == scope)
    inside = [op for op in graph.ops if op.scope == scope or op.scope.startswith(f"{scope}.") or not scope]
    groups: dict[tuple[str, int], list[Op]] = {}
    for op in inside:
        groups.setdefault((op.scope, id(op.signature)), []).append(op)
    ops = tuple(_explained(group) for group in groups.values())
    return Why(scope, module.class_name, row.cost.macs, row.cost.flops, row.cost.params, ops)


def _op_of(text: str, ops: Sequence[Op]) -> Op:
    if not text[1:].isdecimal() or int(text[1:]) >= len(ops):
        raise OptionError(f"there is no op {text}: the ops of this model are #0 to #{len(ops) - 1}")
    return ops[int(text[1:])]


def _unknown(scope: str, paths: Sequence[str]) -> OptionError:
    tails = [path for path in paths if path.endswith(f".{scope.rpartition('.')[2]}")]
    close = difflib.get_close_matches(scope, list(paths), 3, 0.4) or tails[:3]
    hint = f"Did you mean {', '.join(close)}?" if close else f"It has {len(paths)} modules; flopscope analyze lists them."
    return OptionError(f"there is no module {scope!r} in this model. {hint} One op is named by its index, as in '#7'")


def _explained(ops: Sequence[Op]) -> OpWhy:
    signature = ops[0].signature
    rule = rule_for(signature)
    doc = (rule.formula.__doc__ or "") if rule is not None else ""
    letters: dict[str, int] = {}
    for argument, names in letters_of(doc, signature).items():
        type = signature.outputs[int(argument[3:] or 0)] if argument not in signature.arguments else signature[argument]
        letters.update(zip(names, type.shape, strict=True))
    weights = {value.name: value for op in ops for value in op.inputs if value.role == "parameter" and value.name is not None}
    listed = tuple((name, shape_text(value.shape), value.type.elements) for name, value in weights.items())
    formulas = tuple(filled(signature))
    source = (rule.flops, rule.source) if rule is not None else ("", "")
    return OpWhy(tuple(ops), formulas, signature_text(doc), letters, listed, *source)
