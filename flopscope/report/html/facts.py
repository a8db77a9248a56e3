"""What a page shows, as compact plain data: columns in place of rows, each text once, what ops with the same signature share once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flopscope.analyses.memory.storages import Storage, storages
from flopscope.cost import Cost
from flopscope.graph import Graph, Op, Signature
from flopscope.latency.device import Device, device, device_names
from flopscope.report.html.families import FAMILIES, family_of
from flopscope.report.memory_text import numbers
from flopscope.report.rows import ModuleRow
from flopscope.report.text import counted, shape_text
from flopscope.rules import why_uncounted
from flopscope.version import __version__

if TYPE_CHECKING:
    from flopscope.report.report import Report

FORMAT = 1
"""The version of the data's form: raised when a reader of the older form would misread it."""
FIRST_DEVICE = "a100-80"
"""The device that a page shows at first; the others can be chosen."""
_EXACT = 2**53
"""A browser reads whole numbers exactly up to here; longer ones travel as texts."""
_LONGEST = 300
"""The longest text of one attribute or list of shapes, in characters: constants can be tables."""


class Texts:
    """Texts, each once, with a number to call it by."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """The number of a text."""
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text) - _LONGEST} more characters)"
        if text not in self._numbers:
            self._numbers[text] = len(self.all)
            self.all.append(text)
        return self._numbers[text]


def facts(report: Report) -> dict[str, Any]:
    """All that the page of a report shows."""
    texts = Texts()
    rows = report.by_module()
    places = _places(rows)
    found = {
        "format": FORMAT,
        "flopscope": __version__,
        "model": report.name,
        "inputs": [str(value.type) for value in report.graph.inputs],
        "notes": list(dict.fromkeys([*report.notes, *report.memory.notes])),
        "uncounted": _uncounted(report),
        "total": _counts(report.total),
        "memory": _memory(report),
        "families": FAMILIES,
        "devices": [_rates(device(name)) for name in sorted(device_names(), key=lambda name: name != FIRST_DEVICE)],
        "modules": _modules(rows, places, texts),
        **_ops(report, places, texts),
        "pieces": _pieces(storages(report.graph), texts),
    }
    return found | {"texts": texts.all}


def _rates(found: Device) -> dict[str, Any]:
    """What a roofline needs of a device: peaks, so that it is a bound and no prediction."""
    return {
        "key": found.name,
        "name": found.title,
        "bytes_per_second": found.bandwidth_bytes_per_second,
        "flops_per_second": dict(found.peak_flops),
        "source": "; ".join(dict.fromkeys(text for name, text in found.sources.items() if name.startswith(("bandwidth", "peak_flops")))),
    }


def exact(count: int) -> int | str:
    """A count as JSON that a browser reads without loss."""
    return count if abs(count) <= _EXACT else str(count)


def _counts(cost: Cost) -> dict[str, int | str]:
    names = ("macs", "flops", "params", "access", "access_bytes", "bytes_read", "bytes_written", "uncounted")
    return {name: exact(getattr(cost, name)) for name in names}


def _memory(report: Report) -> dict[str, Any]:
    memory = report.memory
    counts = {name: None if count is None else exact(count) for name, count in numbers(memory).items()}
    return counts | {"peak_at": memory.timeline.peak_at, "partial": memory.partial, "planned_bytes": exact(memory.fused.peak_bytes)}


def _uncounted(report: Report) -> list[dict[str, Any]]:
    """The ops that are in no total: each name once, with how often it runs, where first, and why."""
    calls: Counter[str] = Counter()
    first: dict[str, str] = {}
    for row in report.uncounted:
        calls[row.op] += row.times
        first.setdefault(row.op, row.scope)
    return [{"op": op, "calls": count, "scope": first[op], "why": why_uncounted(op) or ""} for op, count in calls.most_common()]


def _places(rows: list[ModuleRow]) -> dict[str, int]:
    return {row.path: place for place, row in enumerate(rows)}


def _modules(rows: list[ModuleRow], places: dict[str, int], texts: Texts) -> dict[str, list[Any]]:
    """The module tree, parents before children: each with the place of its parent, and with everything inside it."""
    parents = [_parent(row.path, places) for row in rows]
    above = ["" if parent < 0 else rows[parent].path for parent in parents]
    names = [row.path[len(prefix) :].removeprefix(".") for row, prefix in zip(rows, above, strict=True)]
    return {
        "parent": parents,
        "name": [texts(name) for name in names],
        "class": [texts(row.class_name) for row in rows],
        "calls": [row.calls for row in rows],
        "output": [texts(shape_text(row.output)) for row in rows],
        **{name: [exact(getattr(row.cost, name)) for row in rows] for name in _MODULE_COUNTS},
    }


_MODULE_COUNTS = ("macs", "flops", "params", "access_bytes", "uncounted")
_SIGNATURE_COUNTS = ("macs", "flops", "access_bytes", "uncounted")


def _parent(path: str, places: dict[str, int]) -> int:
    """The place of the nearest module above a path, or -1 for the model itself."""
    while path:
        path = path.rpartition(".")[0]
        if path in places:
            return places[path]
    return -1


def _ops(report: Report, places: dict[str, int], texts: Texts) -> dict[str, Any]:
    """The ops in the order in which they ran, and what they compute: counts are those of one call."""
    graph = report.graph
    kinds: dict[int, int] = {}
    signatures: list[tuple[Signature, Cost]] = []
    costs = graph.annotations["cost"]
    for op, cost in zip(graph.ops, costs, strict=True):
        if id(op.signature) not in kinds:
            kinds[id(op.signature)] = len(signatures)
            signatures.append((op.signature, cost if op.times == 1 else _once(cost, op.times)))
    inputs = {value.id: -1 - place for place, value in enumerate(graph.inputs)}
    return {
        "signatures": _signatures(signatures, texts),
        "ops": {
            "signature": [kinds[id(op.signature)] for op in graph.ops],
            "scope": [places.get(op.scope, 0) for op in graph.ops],
            "name": [texts(op.name) for op in graph.ops],
            "times": [op.times for op in graph.ops],
            "params": [exact(cost.params) for cost in costs],
            "own_params": _own_params(graph),
            "reads": [_reads(op, inputs) for op in graph.ops],
        },
        "outputs": _producers(graph),
    }


def _own_params(graph: Graph) -> list[int | str]:
    """The parameters of each op that belong to the very module that ran it: a module may read those of another, which lists them too."""
    scopes = {weight.name: weight.scope for weight in graph.parameters}
    seen: set[int] = set()
    found: list[int | str] = []
    sizes = {weight.name: weight.elements for weight in graph.parameters}
    for op in graph.ops:
        own = 0
        for value in op.inputs:
            if value.role == "parameter" and value.id not in seen:
                seen.add(value.id)
                own += sizes[value.name or ""] if scopes[value.name or ""] == op.scope else 0
        found.append(exact(own))
    return found


def _once(cost: Cost, times: int) -> Cost:
    """The cost of one call of an op that runs several times."""
    return Cost(**{name: getattr(cost, name) // times for name in ("macs", "flops", "bytes_read", "bytes_written", "uncounted")})


def _signatures(signatures: list[tuple[Signature, Cost]], texts: Texts) -> dict[str, list[Any]]:
    return {
        "target": [texts(signature.target) for signature, _ in signatures],
        "kind": [texts(signature.kind) for signature, _ in signatures],
        "family": [texts(family_of(signature)) for signature, _ in signatures],
        "inputs": [texts(counted(shape_text(type.shape) for type in signature.inputs)) for signature, _ in signatures],
        "outputs": [texts(counted(shape_text(type.shape) for type in signature.outputs)) for signature, _ in signatures],
        "dtype": [texts(_dtype(signature)) for signature, _ in signatures],
        "attributes": [texts(_attributes(signature)) for signature, _ in signatures],
        **{name: [exact(getattr(cost, name)) for _, cost in signatures] for name in _SIGNATURE_COUNTS},
    }


def _dtype(signature: Signature) -> str:
    """The dtype that an op computes in: that of its first output, or of its first input where it has none."""
    types = (*signature.outputs, *signature.inputs)
    return types[0].dtype if types else ""


def _attributes(signature: Signature) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in signature.attributes.items())


def _reads(op: Op, inputs: dict[int, int]) -> list[int]:
    """What an op reads, each once: how many ops ago it was made, or -1 for the first input of the model, -2 for the second."""
    found = (op.index - value.producer if value.producer is not None else inputs.get(value.id, 0) for value in op.inputs)
    return [read for read in dict.fromkeys(found) if read]


def _producers(graph: Graph) -> list[int]:
    """The ops whose results the model returns."""
    return list(dict.fromkeys(value.producer for value in graph.outputs if value.producer is not None))


def _pieces(pieces: Iterable[Storage], texts: Texts) -> dict[str, list[Any]]:
    """The pieces of memory: each with the op that made it (-1: there before the first), and the first op that runs without it."""
    found = [piece for piece in pieces if piece.bytes]
    return {
        "bytes": [exact(piece.bytes) for piece in found],
        "born": [piece.born for piece in found],
        "died": [piece.died for piece in found],
        "producer": [-1 if piece.producer is None else piece.producer for piece in found],
        "type": [texts(str(piece.type)) for piece in found],
        "what": [texts(piece.what or piece.name or ("input" if piece.role == "input" else "")) for piece in found],
    }
