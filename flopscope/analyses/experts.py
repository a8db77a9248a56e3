"""Mixtures of experts: what one token meets, beside what there is.

No class of any library is named here. Three facts of a traced graph tell experts from other layers:

1. *A choice*: an op such as ``topk`` gives the indices of k out of E alternatives for each of T tokens.
2. *Stacked experts*: an op reads E matrices that come from parameters, in or beside the module that chose among E. Of these matrices a
   token meets k. Kernels for groups, and matrices gathered by index, work on the rows that were routed, T * k; a plain batched product
   works on all E * T.
3. *Separate experts*: an op reads parameters, together with rows that were gathered from the T tokens by indices that depend on a choice,
   as a loop over experts does. A token meets k of these experts; where they differ in size, as many of each as it got rows.

Everything else is met by every token. What stays unknown: experts that all run on all tokens in a loop of their own, and are only weighted
with the choice afterwards, look like any other layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import takewhile
from math import prod
from typing import Any

from flopscope.analyses.totals import ancestors, cost_of
from flopscope.graph import Graph, Op, TensorType
from flopscope.graph import Tensor as Value

ROUTING = "experts are counted as routed with the model's own top-k; which experts a token meets depends on data"
_CHOOSING = ("topk", "argmax", "max")
_GATHERING = ("index", "index_select")
_GIVING_BACK = ("index_add", "index_put", "scatter", "scatter_add", "masked_scatter", "index_copy", "scatter_reduce", "slice_scatter")
_KEEPING = ("to", "contiguous", "clone", "select", "transpose", "permute", "index", "index_select", "stack", "cat", "unsqueeze", "reshape")
_CONTRACTING = ("linear", "matmul", "addmm", "einsum", "grouped_mm")


@dataclass(frozen=True, slots=True)
class Mixture:
    """One layer of experts."""

    scope: str
    """The path of the module that chose."""
    experts: int
    """How many there are."""
    chosen: int
    """How many of them a token meets."""
    tokens: int


@dataclass(frozen=True, slots=True)
class Experts:
    """What a model with mixtures of experts costs: what one token meets (active), and what all experts together would take (total)."""

    mixtures: tuple[Mixture, ...]
    active_params: int
    """Elements of the parameters that one token meets. Embeddings count as a whole."""
    total_params: int
    active_macs: int
    """Multiply-accumulates of this call, with every token at its chosen experts only."""
    total_macs: int
    """The same if every token met every expert."""

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain data."""
        layers = [{"scope": m.scope, "experts": m.experts, "chosen": m.chosen, "tokens": m.tokens} for m in self.mixtures]
        counts = {name: getattr(self, name) for name in ("active_params", "total_params", "active_macs", "total_macs")}
        return {**counts, "mixtures": layers}


def experts(graph: Graph) -> Experts | None:
    """The experts of a model, or ``None`` where no op of it chooses among parameters."""
    if not any(_choice_of(op) for op in graph.ops):
        return None
    walk = _Walk()
    for op in graph.ops:
        walk.see(op)
    walk.finish(graph)
    if not walk.met:
        return None
    sizes = {weight.name: weight.elements for weight in graph.parameters}
    unmet = sum((sizes[name] - min(Fraction(sizes[name]), met) for name, met in walk.met.items() if name in sizes), Fraction())
    run = sum(_macs(op) for op in graph.ops)
    total = sum(sizes.values())
    return Experts(
        tuple(dict.fromkeys(walk.used)), total - round(unmet), total, run - round(walk.idle_macs), run + round(walk.missing_macs)
    )  # fmt: skip


def _macs(op: Op) -> int:
    """The multiply-accumulates of an op in all its runs."""
    return cost_of(op.signature).macs * op.times


def _choice_of(op: Op) -> Mixture | None:
    """The choice that an op makes: indices of k out of E, for each token."""
    if op.kind not in _CHOOSING or not op.inputs:
        return None
    dim = op.signature.get("dim")
    indices = next((value for value in op.outputs if value.type.dtype.startswith("int")), None)
    scores = op.inputs[0].shape
    if indices is None or not isinstance(dim, int) or dim % max(1, len(scores)) != len(scores) - 1:
        return None
    alternatives = scores[-1]
    chosen = indices.shape[-1] if len(indices.shape) == len(scores) else 1
    tokens = prod(scores[:-1])
    return Mixture(op.scope, alternatives, chosen, tokens) if 0 < chosen < alternatives and tokens else None


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows that were gathered from the tokens by a choice."""

    mixture: Mixture
    gathered_at: int
    """The index of the op that gathered them."""
    count: int


@dataclass
class _Loop:
    """Separate experts that one choice leads to."""

    mixture: Mixture
    met: dict[str, int] = field(default_factory=dict)
    """By parameter: its elements, once for every row that met them."""
    rows: dict[int, int] = field(default_factory=dict)
    """By the op that gathered them: how many rows an expert got."""
    names: dict[int, set[str]] = field(default_factory=dict)
    """By the same: the parameters that they met."""
    macs: int = 0

    def container(self) -> str:
        """The path of the module that holds the experts."""
        paths = [_common_path(names) for names in self.names.values()]
        return _common_path(paths) if len(set(paths)) > 1 else paths[0].rpartition(".")[0]


def _common_path(paths: Iterable[str]) -> str:
    levels = zip(*(path.split(".") for path in paths), strict=False)
    return ".".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels))


@dataclass
class _Walk:
    """What is known of the values of a graph on the way through it."""

    chosen_by: dict[int, dict[int, Mixture]] = field(default_factory=dict)
    """By value: the last choice among each number of alternatives that it depends on."""
    weights_in: dict[int, frozenset[str]] = field(default_factory=dict)
    """By value: the parameters that it shows, moved but not computed with."""
    routed: dict[int, _Rows] = field(default_factory=dict)
    """By value: the rows that were gathered by a choice, of which it has one part each."""
    latest: dict[int, list[Mixture]] = field(default_factory=dict)
    """The choices made so far, by the number of alternatives."""
    loops: dict[str, _Loop] = field(default_factory=dict)
    """The separate experts, by the scope of the module that chose."""
    gathered: set[int] = field(default_factory=set)
    """The values that show parameters of the chosen experts, one for each row."""
    met: dict[str, Fraction] = field(default_factory=dict)
    """By parameter: how many of its elements a token meets."""
    used: list[Mixture] = field(default_factory=list)
    idle_macs: Fraction = Fraction()
    """What was computed for tokens at experts that they did not choose."""
    missing_macs: Fraction = Fraction()
    """What would be computed besides if every token met every expert."""

    def see(self, op: Op) -> None:
        """Take an op into account."""
        choices = self._choices_before(op)
        mixture = _choice_of(op)
        if mixture is not None:
            self.latest.setdefault(mixture.experts, []).append(mixture)
        shown = {value.id: names for value in op.inputs if (names := self._names(value))}
        if shown and not self._stacked(op, choices, shown):
            self._separate(op, shown)
        self._pass_on(op, choices, shown)

    def _choices_before(self, op: Op) -> dict[int, Mixture]:
        found: dict[int, Mixture] = {}
        for value in op.inputs:
            found |= self.chosen_by.get(value.id, {})
        return found

    def _names(self, value: Value) -> frozenset[str]:
        if value.role == "parameter":
            return frozenset((value.name or "",))
        return self.weights_in.get(value.id, frozenset())

    def _stacked(self, op: Op, choices: dict[int, Mixture], shown: dict[int, frozenset[str]]) -> bool:
        """An op that reads the matrices of all experts, or gathers those that were chosen."""
        found = False
        for value in op.inputs:
            names = shown.get(value.id)
            if names is None:
                continue
            if value.id in self.gathered and op.kind in _CONTRACTING:
                mixture = self.routed[value.id].mixture
                self.missing_macs += _macs(op) * (Fraction(mixture.experts, mixture.chosen) - 1)
                found = True
                continue
            gathers = op.kind in _GATHERING and self._indexes_with_choice(op, value)
            choice = self._choice_beside(op, value, choices) if len(value.shape) > 2 or gathers else None
            if choice is None:
                continue
            mixture = _as_routed(op, choice, value if gathers else None)
            reads_matrices = len(value.shape) > 2 and (op.kind in _CONTRACTING or gathers)
            if not reads_matrices and mixture not in self.used:  # other tables are no experts, but the biases of experts are
                continue
            self._meet(mixture, names, Fraction(value.type.elements * mixture.chosen, mixture.experts * len(names)))
            self._price_stacked(op, mixture)
            found = True
        return found

    def _choice_beside(self, op: Op, value: Value, choices: dict[int, Mixture]) -> Mixture | None:
        """The choice among as many alternatives as there are matrices: one that the op depends on, or one made beside its module."""
        if not value.shape or (op.kind not in _CONTRACTING and value.shape[0] not in choices):
            return None
        made = choices.get(value.shape[0]) or next(reversed(self.latest.get(value.shape[0], [])), None)
        return made if made is not None and _parent(made.scope) in ("", *ancestors(op.scope)) else None

    def _price_stacked(self, op: Op, mixture: Mixture) -> None:
        macs = _macs(op)
        if op.kind == "grouped_mm":
            self.missing_macs += macs * (Fraction(mixture.experts, mixture.chosen) - 1)
        elif op.kind in _CONTRACTING:
            self.idle_macs += macs * (1 - Fraction(mixture.chosen, mixture.experts))

    def _separate(self, op: Op, shown: dict[int, frozenset[str]]) -> None:
        """An op that reads parameters beside rows that were routed to them."""
        operand = next((value for value in op.inputs if value.id in self.routed and value.id not in shown), None)
        if operand is None:
            return
        rows = self.routed[operand.id]
        loop = self.loops.setdefault(rows.mixture.scope, _Loop(rows.mixture))
        loop.rows[rows.gathered_at] = rows.count
        loop.macs += _macs(op)
        for value in op.inputs:
            for name in shown.get(value.id, ()):
                loop.met[name] = loop.met.get(name, 0) + value.type.elements * _rows(operand)
                loop.names.setdefault(rows.gathered_at, set()).add(name)

    def finish(self, graph: Graph) -> None:
        """Take stock of the loops: a token meets as many experts as it chose, whatever was dropped, and nobody met the rest."""
        shapes = {weight.name: weight.type.shape for weight in graph.parameters}
        for loop in self.loops.values():
            mixture, rows = loop.mixture, sum(loop.rows.values())
            if not rows or not _is_one_of_many(loop, shapes):
                continue
            self.used.append(mixture)
            for name, elements in loop.met.items():
                self.met[name] = self.met.get(name, Fraction()) + Fraction(elements * mixture.chosen, rows)
            inside = f"{loop.container()}."
            for weight in graph.parameters:
                if weight.name.startswith(inside) and weight.name not in graph.weights:
                    self.met.setdefault(weight.name, Fraction())
            self.missing_macs += loop.macs * (Fraction(mixture.experts * mixture.tokens, rows) - 1)

    def _meet(self, mixture: Mixture, names: frozenset[str], elements: Fraction) -> None:
        for name in names:
            self.met[name] = self.met.get(name, Fraction()) + elements
        self.used.append(mixture)

    def _indexes_with_choice(self, op: Op, source: Value) -> bool:
        return any(value.id in self.chosen_by and not _is_float(value.type) for value in op.inputs if value.id != source.id)

    def _pass_on(self, op: Op, choices: dict[int, Mixture], shown: dict[int, frozenset[str]]) -> None:
        """What the outputs of an op inherit."""
        mixture = _choice_of(op)
        if mixture is not None:
            choices = {**choices, mixture.experts: mixture}
        moves = bool(shown) and (op.signature.effect == "view" or op.kind in _KEEPING)
        moves = moves and all(value.id in shown or not _is_float(value.type) for value in op.inputs)
        names = frozenset().union(*shown.values()) if moves else frozenset()
        rows = self._rows_of(op, choices)
        gathers = moves and any(value.id in shown and self._indexes_with_choice(op, value) for value in op.inputs) and op.kind in _GATHERING
        was_gathered = moves and any(value.id in self.gathered for value in op.inputs)
        for value in op.outputs:
            if choices:
                self.chosen_by[value.id] = choices
            if names:
                self.weights_in[value.id] = names
            if rows is not None:
                self.routed[value.id] = rows
            if gathers or was_gathered:
                self.gathered.add(value.id)

    def _rows_of(self, op: Op, choices: dict[int, Mixture]) -> _Rows | None:
        """The rows, gathered by a choice, that the outputs of an op still have."""
        if op.kind in _GIVING_BACK or not op.outputs:
            return None
        if op.kind in _GATHERING and op.inputs and self._indexes_with_choice(op, op.inputs[0]):
            source, count = op.inputs[0], _rows(op.outputs[0])
            if source.id in self.routed and source.id not in self.weights_in:
                return None  # back in the order of the tokens
            if self._names(source):
                return _Rows(choices[source.shape[0]], op.index, count) if source.shape and source.shape[0] in choices else None
            made = next((mixture for mixture in reversed(choices.values()) if _is_per_token(source, mixture)), None)
            return None if made is None else _Rows(made, op.index, count)
        inherited = [value for value in op.inputs if value.id in self.routed and value.id not in self.weights_in]
        if op.kind in ("split", "split_with_sizes") and inherited:  # each expert gets a part
            return self.routed[inherited[0].id]
        return next((self.routed[value.id] for value in inherited if any(_rows(value) == _rows(out) for out in op.outputs)), None)


def _as_routed(op: Op, mixture: Mixture, table: Value | None) -> Mixture:
    """The choice with as many experts for each token as were gathered from a table, or as rows were routed: some models choose twice."""
    if table is not None:
        rows = op.outputs[0].type.elements * table.shape[0] // max(1, table.type.elements)
    else:
        rows = op.signature["a"].shape[-2] if op.kind == "grouped_mm" else 0
    chosen, rest = divmod(rows, mixture.tokens)
    return mixture if rest or not 0 < chosen < mixture.experts else replace(mixture, chosen=chosen)


def _is_one_of_many(loop: _Loop, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether the parameters that rows were routed to are one of several experts, and not the next layer, which gets them all."""
    if len(loop.rows) > 1:
        return True
    inside = loop.container()
    for name in loop.met:
        shape = shapes.get(name, ())
        rest = name.removeprefix(f"{inside}.").partition(".")[2]
        alike = [other for other, its in shapes.items() if its == shape and other.startswith(f"{inside}.") and other.endswith(f".{rest}")]
        if (shape[:1] == (loop.mixture.experts,) and len(shape) > 2) or (rest and len(alike) == loop.mixture.experts):
            return True
    return False


def _is_per_token(value: Value, mixture: Mixture) -> bool:
    return len(value.shape) > 1 and _rows(value) == mixture.tokens


def _rows(value: Value) -> int:
    return prod(value.shape[:-1])


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _is_float(type: TensorType) -> bool:
    return type.dtype.startswith(("float", "bfloat", "complex"))
