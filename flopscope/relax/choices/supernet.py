"""A supernet -> its `CostModel`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from flopscope.analyses.totals import sum_of
from flopscope.cost import METRICS, ZERO, Cost
from flopscope.errors import InputError, SupernetError
from flopscope.frontends.torch.choices import Chain, ChoiceModule, ChoiceWatcher, Place, chains_of_parameters, find_choices
from flopscope.frontends.torch.guard import untouched
from flopscope.frontends.torch.inputs import dtype_of, tensors_from_text
from flopscope.frontends.torch.recorder import Recorder
from flopscope.frontends.torch.trace import trace
from flopscope.frontends.torch.tracer import Tracer
from flopscope.graph import Graph, Op
from flopscope.graph import Tensor as Value
from flopscope.latency.source import LatencySource
from flopscope.relax.choices.cost_model import CostModel
from flopscope.relax.choices.decisions import Decision, Source, names_of, source_of, storage_of
from flopscope.relax.choices.mixing import MixingFinder, given_to_candidates, weights_read
from flopscope.relax.choices.parts import Part
from flopscope.relax.choices.tables import Literals
from flopscope.relax.choices.timing import SECONDS, times_of
from flopscope.rules import module_classes


def cost_model(supernet: nn.Module, *args: Any, **kwargs: Any) -> CostModel:
    """The cost of every network in a supernet, as a differentiable function of the probabilities of its choices.

    A *choice* is any module with ``candidates`` (a ``ModuleList``) and ``probabilities()`` (a tensor on the simplex, made of any
    parameters). The supernet is traced once on the shapes of its inputs, with every candidate of every choice run, whatever its forward
    does. A network in the supernet is the supernet with one candidate in the place of each choice: ops that only mix candidates or draw
    paths are not counted, and architecture parameters are none of its parameters.

    Args:
        supernet: a module in the mode in which it is to be counted.
        *args: its inputs, as `flopscope.analyze` takes them.
        **kwargs: named inputs.

    Raises:
        SupernetError: there are no choices, or their candidates or probabilities cannot be used.
        InputError: the inputs cannot be read or do not fit the supernet.
        TraceError: the supernet raised.

    Examples:
        >>> from flopscope.relax import Choice
        >>> choice = Choice([nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.Identity()])
        >>> model = cost_model(nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), choice), "1x3x16x16")
        >>> model("macs").item() == 16 * 16 * 3 * 8 + 0.5 * (16 * 16 * 8 * 8 * 9)
        True
        >>> model("macs").backward()
        >>> choice.alpha.grad[0] > 0
        tensor(True)
    """
    return relaxed(supernet, args, kwargs)


def latency_model(supernet: nn.Module, source: LatencySource, *args: Any, **kwargs: Any) -> CostModel:
    """As `cost_model`, with the time of a source as one more metric: ``model("seconds")`` is the expected latency, with a derivative.

    That is ``E[lat] = sum over choices of sum_j p_j F(o_j)`` (Cai et al. 2019, arXiv:1812.00332, eq. 5 and 6), plus what lies outside every
    choice. F is the source's `total` of a candidate by itself, so nothing is fused, or kept in a cache, across its border. Times are
    added up as whole picoseconds. Ops whose time the source does not know make the seconds a lower bound, and a note says which.

    Args:
        supernet: as in `cost_model`.
        source: a roofline, a table or a predictor.
        *args: as in `cost_model`.
        **kwargs: as in `cost_model`.

    Raises:
        SupernetError: as `cost_model` does.
        InputError: as `cost_model` does.
        TraceError: as `cost_model` does.
    """
    return relaxed(supernet, args, kwargs, source)


def relaxed(supernet: nn.Module, args: Any, kwargs: Any, source: LatencySource | None = None) -> CostModel:
    """The cost model of a supernet, with times where there is a source of them."""
    if not isinstance(supernet, nn.Module):
        raise InputError(f"a supernet must be a torch.nn.Module, but a {type(supernet).__name__} was given")
    choices = find_choices(supernet)
    with _disable_current_modes():
        args, kwargs = tensors_from_text((args, kwargs), dtype_of(supernet))
        with untouched(list(supernet.modules())):
            sources = [source_of(choice) for choice in choices]
    decision_of, decisions = _decisions(choices, sources)
    tensors = _relaxation(supernet, sources)
    graph, watcher, values = _trace(supernet, args, kwargs, choices, tensors)
    counted, mixing, ops = _counted(supernet, graph, watcher, choices, tensors, values)
    timed = None if source is None else times_of(graph, ops, source)
    paths = [choice.path for choice in choices]
    rows = {key: _row(cost, None if timed is None else timed.get(key, 0)) for key, cost in counted.items()}
    parts = [part for key, row in rows.items() if (part := _part(key, row, paths, decision_of)) is not None]
    partial = any(cost.partial for cost in counted.values())
    called = {choice for chain in watcher.chains for choice, _ in chain}
    idle = [choice.path for index, choice in enumerate(choices) if index not in called]
    notes = [*_notes(graph, mixing, partial, idle), *(() if timed is None else timed.notes)]
    metrics = METRICS if timed is None else (*METRICS, SECONDS)
    model = CostModel(type(supernet).__name__, decisions, parts, notes, partial=partial, metrics=metrics)
    return model.attach(supernet)


def _counted(
    supernet: nn.Module,
    graph: Graph,
    watcher: ChoiceWatcher,
    choices: Sequence[ChoiceModule],
    tensors: Sequence[Tensor],
    values: Sequence[Value],
) -> tuple[dict[frozenset[Chain], Cost], set[int], dict[Chain, list[Op]]]:
    """The cost of what is there if any one of some chains of candidates is taken, the ops that no network has, the others by chain."""
    finder = MixingFinder(graph, watcher.places(), values)
    mixing, places = finder.found, finder.places
    owners = chains_of_parameters(supernet, choices)
    ops: dict[Chain, list[Op]] = {chain: [] for chain in sorted(watcher.chains)}
    for op, place in zip(graph.ops, given_to_candidates(graph, places), strict=True):
        if op.index not in mixing:
            _refuse_borrowed_weights(supernet, op, place, owners)
            ops[place.chain].append(op)
    counted = {frozenset([chain]): sum_of(Counter(op.signature for op in members)) for chain, members in ops.items()}
    for name, alternatives in _parameters(supernet, choices, tensors, owners, weights_read(graph, mixing)).items():
        key = frozenset(alternatives)
        counted[key] = counted.get(key, ZERO) + Cost(params=supernet.get_parameter(name).numel())
    return counted, mixing, ops


def _relaxation(supernet: nn.Module, sources: Sequence[Source]) -> list[Tensor]:
    """The tensors that probabilities are made of, and the weights that share memory with them."""
    found = {id(tensor): tensor for source in sources for tensor in source.tensors}
    storages = {storage_of(tensor) for tensor in found.values()}
    weights = (*supernet.parameters(), *supernet.buffers())
    return list((found | {id(weight): weight for weight in weights if storage_of(weight) in storages}).values())


def _decisions(choices: Sequence[ChoiceModule], sources: Sequence[Source]) -> tuple[list[int], list[Decision]]:
    """The decision of each choice, and all decisions in the order in which they are met."""
    found: dict[Any, list[int]] = {}
    for index, source in enumerate(sources):
        found.setdefault(source.key, []).append(index)
    decision_of = [0] * len(choices)
    decisions = []
    for decision, members in enumerate(found.values()):
        for member in members:
            decision_of[member] = decision
        decisions.append(Decision(tuple(choices[member].path for member in members), names_of(choices[members[0]].candidates)))
    return decision_of, decisions


def _trace(
    supernet: nn.Module, args: Any, kwargs: Any, choices: Sequence[ChoiceModule], tensors: Sequence[Tensor]
) -> tuple[Graph, ChoiceWatcher, list[Value]]:
    """The graph, what watched it, and the values of what probabilities are made of."""
    watcher: ChoiceWatcher | None = None
    values: list[Value] = []

    def watch(tracer: Tracer, recorder: Recorder) -> ChoiceWatcher:
        nonlocal watcher, values
        values = [tracer.value_of(tensor) for tensor in tensors]
        watcher = ChoiceWatcher(choices, tracer, recorder)
        return watcher

    readable = {id(tensor) for tensor in tensors if tensor.device.type != "meta"}
    graph = trace(supernet, args, kwargs, opaque=module_classes(), watch=watch, readable=readable)
    assert watcher is not None
    return graph, watcher, values


def _refuse_borrowed_weights(supernet: nn.Module, op: Op, place: Place, owners: dict[int, set[Chain]]) -> None:
    """An op that reads a weight of a candidate outside any call of the candidate cannot be told to belong to it."""
    for value in op.inputs:
        if value.role != "parameter" or value.name is None:
            continue
        chains = owners.get(id(_weight(supernet, value.name)), set())
        if chains and not any(set(chain) <= set(place.chain) for chain in chains):
            raise SupernetError(
                f"{op.kind} in {op.scope or 'the model itself'} reads the weight {value.name!r} of a candidate outside any call of the "
                "candidate, so the op cannot be told to belong to it. Call candidates as modules."
            )


def _weight(supernet: nn.Module, name: str) -> object:
    """The parameter of that name; none for one that the model holds outside its modules."""
    path, _, attribute = name.rpartition(".")
    try:
        return supernet.get_submodule(path)._parameters.get(attribute)
    except AttributeError:
        return None


def _parameters(
    supernet: nn.Module, choices: Sequence[ChoiceModule], tensors: Sequence[Tensor], owners: dict[int, set[Chain]], read: set[str]
) -> dict[str, set[Chain]]:
    """The parameters of the networks in a supernet, and the candidates that own them.

    What probabilities are made of, and what a choice holds for itself (gates), is no parameter of a network unless an op of the network
    reads it.
    """
    relaxation = {id(tensor) for tensor in tensors}
    relaxation |= {id(parameter) for choice in choices for parameter in choice.module.parameters(recurse=False)}
    return {
        name: owners[id(parameter)] for name, parameter in supernet.named_parameters() if id(parameter) not in relaxation or name in read
    }


def _row(cost: Cost, picoseconds: int | None) -> tuple[int, ...]:
    """The counts of a part by metric."""
    counts = tuple(int(getattr(cost, metric)) for metric in METRICS)
    return counts if picoseconds is None else (*counts, picoseconds)


def _part(alternatives: frozenset[Chain], counts: tuple[int, ...], paths: Sequence[str], decision_of: Sequence[int]) -> Part | None:
    """A part of the model, or ``None`` for what no architecture can have."""
    literals = {chain: _literals(chain, decision_of) for chain in alternatives}
    possible = {chain: found for chain, found in literals.items() if found is not None}
    if not possible:
        return None
    named = sorted(tuple((paths[choice], candidate) for choice, candidate in chain) for chain in possible)
    return Part(tuple(named), frozenset(possible.values()), counts)


def _literals(chain: Chain, decision_of: Sequence[int]) -> Literals | None:
    """What the decisions must take; ``None`` where one would have to take two candidates at once."""
    taken: dict[int, int] = {}
    for choice, candidate in chain:
        if taken.setdefault(decision_of[choice], candidate) != candidate:
            return None
    return frozenset(taken.items())


def _notes(graph: Graph, mixing: set[int], partial: bool, idle: Sequence[str]) -> list[str]:
    notes = list(graph.notes)
    if idle:
        notes.append(f"never called, so that only their parameters cost something: {', '.join(idle)}")
    if partial:
        notes.append("ops without a rule are not counted: all costs are lower bounds")
    kinds = Counter(graph.ops[index].kind for index in mixing)
    if kinds:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
        notes.append(f"not counted, because only the search runs them: {listed}")
    return notes
