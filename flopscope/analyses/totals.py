"""Adding up: the cost of each op, of the whole graph, of each kind and of each module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from flopscope.cost import ZERO, Cost
from flopscope.graph import Graph, Module, Op, Signature
from flopscope.rules import price

UNCOUNTED = Cost(uncounted=1)
"""The cost of a call that no rule prices: nothing is known of it but that it is there."""


def cost_of(signature: Signature) -> Cost:
    """The cost of one call, parameters apart; ``uncounted`` is one where no rule prices it."""
    found = price(signature)
    return UNCOUNTED if found is None else found


def op_costs(graph: Graph) -> list[Cost]:
    """The cost of each op. A parameter belongs to the first op that reads it."""
    sizes = {weight.name: weight.elements for weight in graph.parameters}
    seen: set[int] = set()
    costs = []
    for op in graph.ops:
        params = 0
        for value in op.inputs:
            if value.role == "parameter" and value.id not in seen:
                seen.add(value.id)
                params += sizes[value.name or ""]
        found = cost_of(op.signature) if op.times == 1 else cost_of(op.signature) * op.times
        costs.append(replace(found, params=params) if params else found)
    return costs


def total(graph: Graph) -> Cost:
    """The cost of the whole graph. Its parameters are all parameters of the model, whether or not an op reads them."""
    found = sum_of(counted(graph.ops))
    return replace(found, params=sum(weight.elements for weight in graph.parameters))


def weight_of(ops: Sequence[Op]) -> tuple[int, int]:
    """How many of some ops no rule prices, and the FLOPs of the others: unknown cost outweighs any that is known."""
    found = sum_of(counted(ops))
    return found.uncounted, found.flops


def counted(ops: Sequence[Op]) -> Mapping[Signature, int]:
    """How often each signature runs."""
    counts = Counter([op.signature for op in ops])
    for op in ops:
        if op.times != 1:
            counts[op.signature] += op.times - 1
    return counts


def sum_of(counts: Mapping[Signature, int]) -> Cost:
    """The cost of each signature times how often it occurs. Field by field, which is faster than adding records."""
    priced = [(found, times) for signature, times in counts.items() if (found := cost_of(signature)) is not ZERO]
    return Cost(**{name: sum([getattr(found, name) * times for found, times in priced]) for name in _FIELDS})


_FIELDS = tuple(field.name for field in fields(Cost))


def module_costs(graph: Graph) -> dict[str, Cost]:
    """The cost of each module with everything inside it, by path. A parameter belongs to the first module that owns it."""
    own: dict[str, Counter[Signature]] = {}
    for op in graph.ops:
        own.setdefault(op.scope, Counter())[op.signature] += op.times
    costs = {path: sum_of(counts) for path, counts in own.items()}
    for weight in graph.parameters:
        costs[weight.scope] = costs.get(weight.scope, ZERO) + Cost(params=weight.elements)
    result = {module.path: ZERO for module in graph.modules}
    result.setdefault("", ZERO)
    for path, found in costs.items():
        for ancestor in ancestors(path):
            if ancestor in result:
                result[ancestor] += found
    return result


def ancestors(path: str) -> list[str]:
    """A path and all paths above it, up to the model itself, whose path is empty."""
    result = [path]
    while path:
        path = path.rpartition(".")[0]
        result.append(path)
    return result


def depth_of(module: Module) -> int:
    """How deep a module lies in the tree: the model itself lies at 0."""
    return module.path.count(".") + 1 if module.path else 0
