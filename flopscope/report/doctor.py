"""What a report could not count, what it had to assume, and what to write to change that."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flopscope.graph import SHAPE_UNKNOWN, Op, TensorType, Weight
from flopscope.report.text import shape_text

if TYPE_CHECKING:
    from flopscope.report.report import Report

_MOST = 8


@dataclass(frozen=True, slots=True)
class Uncounted:
    """An op that no rule prices, in all its calls."""

    target: str
    calls: int
    scopes: tuple[str, ...]
    example: Op
    stub: str
    """A rule to paste and complete; nothing where shapes are missing, and not a rule."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "op": self.target, "calls": self.calls, "scopes": list(self.scopes), "inputs": [str(t) for t in self.example.signature.inputs],
            "outputs": [str(t) for t in self.example.signature.outputs], "stub": self.stub,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that keeps the numbers of a report from being the whole truth."""

    name: str
    uncounted: tuple[Uncounted, ...]
    data_dependent: tuple[tuple[str, str, int], ...]
    """Ops that read values, with their scopes, and how often each ran there."""
    ran_for_real: bool
    notes: tuple[str, ...]
    unused: tuple[Weight, ...]
    """Parameters that no op reads."""
    uncalled: tuple[str, ...]
    """Modules that own parameters and never ran, such as heads of training."""

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to say."""
        return not (self.uncounted or self.data_dependent or self.notes or self.unused or self.uncalled)

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """Lines for people."""
        return _document(self, "", "").rstrip("\n") + "\n"

    def to_markdown(self) -> str:
        """The same in Markdown."""
        return _document(self, "## ", "```").rstrip("\n") + "\n"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "model": self.name,
            "healthy": self.healthy,
            "uncounted": [found.to_dict() for found in self.uncounted],
            "data_dependent": [{"op": op, "scope": scope, "calls": calls} for op, scope, calls in self.data_dependent],
            "ran_for_real": self.ran_for_real,
            "notes": list(self.notes),
            "unused_parameters": [{"name": weight.name, "elements": weight.elements} for weight in self.unused],
            "uncalled_modules": list(self.uncalled),
        }

    def to_json(self, indent: int | None = 2) -> str:
        """The same as JSON."""
        return json.dumps(self.to_dict(), indent=indent, default=repr) + "\n"


def diagnose(report: Report) -> Diagnosis:
    """Look through a report for what it could not count, what it read, what was made up and what was never used."""
    graph = report.graph
    read = {value.name for op in graph.ops for value in op.inputs if value.role == "parameter"}
    unused = tuple(weight for weight in graph.parameters if weight.name not in read)
    owners = {weight.scope for weight in unused}
    uncalled = tuple(module.path for module in graph.modules if module.calls == 0 and module.path in owners)
    calls: Counter[tuple[str, str]] = Counter()
    for op in graph.ops:
        calls[op.target, op.scope] += op.times
    data_dependent = tuple((target, scope, calls[target, scope] or 1) for target, scope in graph.data_dependent)
    ran = any("run for real" in note for note in graph.notes)
    return Diagnosis(report.name, tuple(_uncounted(report)), data_dependent, ran, tuple(report.notes), unused, uncalled)


def _uncounted(report: Report) -> list[Uncounted]:
    found: dict[tuple[str, bool], list[Op]] = {}
    for row in report.uncounted:
        found.setdefault((row.op, row.kind == SHAPE_UNKNOWN), []).append(report.graph.ops[row.index])
    return [
        Uncounted(
            target, sum(op.times for op in ops), tuple(dict.fromkeys(op.scope for op in ops)), ops[0], "" if lacks_shapes else stub(ops[0])
        )
        for (target, lacks_shapes), ops in found.items()
    ]


def stub(op: Op) -> str:
    """A rule for an op, ready to paste: with its arguments as they are in this call, and what remains to be written marked."""
    signature = op.signature
    name = "".join(sign if sign.isalnum() else "_" for sign in op.target.rpartition("::")[2]).strip("_") or "op"
    lines = ["import flopscope", "", ""]
    if op.target.startswith("module::"):
        module, _, class_name = op.target.removeprefix("module::").rpartition(".")
        lines = ["import flopscope", f"from {module} import {class_name}", "", ""]
        key = class_name
    else:
        key = f'"{op.target}"'
    lines.append(f'@flopscope.rule({key}, flops="TODO: which operations count", source="TODO: where the formula comes from")')
    lines += [f"def {name}(op):", '    """TODO: the shapes, as in ``[*, o] = linear([*, i], [o, i])``."""']
    lines += [f"    # op[{name!r}]: {_argument(value)}" for name, value in signature.arguments.items() if value is not None]
    lines += [f"    # op.outputs[{position}]: {type}" for position, type in enumerate(signature.outputs)]
    size = "op.output.elements" if signature.outputs else "0"
    return "\n".join([*lines, f"    return flopscope.count(op, macs=0, other={size})  # TODO"]) + "\n"


def _argument(value: Any) -> str:
    if isinstance(value, tuple) and any(isinstance(item, TensorType) for item in value):
        return f"({', '.join(map(str, value))})"
    return str(value) if isinstance(value, TensorType) else repr(value)


def _document(diagnosis: Diagnosis, heading: str, fence: str) -> str:
    if diagnosis.healthy:
        return f"{diagnosis.name}: every op is counted, nothing depends on data, every parameter is used.\n"
    counted = f"not counted: {', '.join(found.target for found in diagnosis.uncounted)}" if diagnosis.uncounted else "every op is counted"
    sections = [f"{heading}{diagnosis.name}: {counted}"]
    for found in diagnosis.uncounted:
        types = f"({', '.join(map(str, found.example.signature.inputs))}) -> {', '.join(map(str, found.example.signature.outputs))}"
        sections.append(_uncounted_text(found, types, heading, fence))
    if diagnosis.data_dependent:
        listed = [f"{target} in {scope or 'the model itself'}" for target, scope, _ in diagnosis.data_dependent]
        how = _how_data_decided(diagnosis)
        sections.append(f"{heading}DEPENDS ON DATA ({how}; other inputs may cost more or less): {_some(listed)}")
    sections += [f"{heading}NOTE: {note}" for note in diagnosis.notes]
    if diagnosis.uncalled:
        sections.append(f"{heading}NEVER RAN, though they own parameters: {_some(list(diagnosis.uncalled))}")
    if diagnosis.unused:
        total = sum(weight.elements for weight in diagnosis.unused)
        listed = [f"{weight.name} ({shape_text(weight.type.shape)})" for weight in diagnosis.unused]
        sections.append(f"{heading}UNUSED PARAMETERS ({total:,} elements, which the total of parameters includes): {_some(listed)}")
    return "\n\n".join(sections)


def _how_data_decided(diagnosis: Diagnosis) -> str:
    if diagnosis.ran_for_real:
        return "the whole model was run for real on the CPU"
    if any(target.startswith("ai.onnx::") for target, _, _ in diagnosis.data_dependent):
        return "these ops are counted for the most that they may do, or for one turn, as the notes say"
    return "these ops ran on the integer or boolean inputs"


def _uncounted_text(found: Uncounted, types: str, heading: str, fence: str) -> str:
    scopes = _some([scope or "the model itself" for scope in found.scopes])
    if not found.stub:
        why = "because a shape around it is not known: give shapes with --input"
        return f"{heading}NOT COUNTED: {found.target}, {found.calls} calls, in {scopes}, {why}"
    opening, closing = (f"{fence}python\n", f"{fence}\n") if fence else ("", "")
    return (
        f"{heading}NOT COUNTED: {found.target}, {found.calls} calls, in {scopes}\nsuch as {types}\n"
        f"To count it, complete this rule and run it before the analysis:\n\n{opening}{found.stub}{closing}".rstrip("\n")
    )


def _some(texts: list[str]) -> str:
    shown = ", ".join(texts[:_MOST])
    return shown if len(texts) <= _MOST else f"{shown} and {len(texts) - _MOST} more"
