"""Tracing a supernet with every candidate of every choice run, whatever its forward runs.

A choice is a module with ``candidates`` and ``probabilities()``. Its forward may sum all candidates, run one that it draws, or two behind
gates. A `ChoiceWatcher` sees which candidates the forward called. Those that it left out are called when the choice ends, with what the
first candidate was given (or the choice itself, where none ran), and their results are thrown away. So each op has a known place: the
candidates that it is inside of, and the call of a choice that it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from flopscope.errors import SupernetError
from flopscope.frontends.torch.opaque import values_of
from flopscope.frontends.torch.recorder import Recorder
from flopscope.frontends.torch.tracer import Tracer

Chain = tuple[tuple[int, int], ...]
"""The candidates that something is inside of, from the outermost: pairs of the index of a choice and the index of its candidate."""


@dataclass(slots=True, eq=False)
class ChoiceModule:
    """A choice of a supernet."""

    path: str
    module: nn.Module
    candidates: tuple[nn.Module, ...]


def find_choices(supernet: nn.Module) -> list[ChoiceModule]:
    """Every module with ``candidates`` and ``probabilities()``, each once, in the order of the module tree.

    Raises:
        SupernetError: there is none, or one has no candidates that are modules.
    """
    found = []
    for path, module in supernet.named_modules():
        candidates = getattr(module, "candidates", None)
        if candidates is None or not callable(getattr(module, "probabilities", None)):
            continue
        members = tuple(candidates.values() if isinstance(candidates, nn.ModuleDict) else candidates) if _is_iterable(candidates) else ()
        if not members or not all(isinstance(member, nn.Module) for member in members):
            raise SupernetError(
                f"the choice {path!r} needs candidates that are a ModuleList of at least one module, but they are {candidates!r}"
            )
        found.append(ChoiceModule(path, module, members))
    if not found:
        raise SupernetError(
            f"{type(supernet).__name__} has no choices. A choice is a module with `candidates` (a ModuleList) and `probabilities()` (a "
            "tensor that sums to one), such as flopscope.relax.Choice. What a network without choices costs, flopscope.analyze tells."
        )
    return found


def _is_iterable(value: Any) -> bool:
    return isinstance(value, (nn.ModuleList, nn.ModuleDict, nn.Sequential, list, tuple))


@dataclass(slots=True, eq=False)
class Call:
    """One call of a choice."""

    choice: int
    ran: list[int] = field(default_factory=list)
    """The candidates that its forward called, in order."""
    returned: frozenset[int] = frozenset()
    """The ids of the values that it returned."""
    end: int = 0
    """The ops of the call come before this one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an op ran."""

    chain: Chain = ()
    """The candidates that it is inside of."""
    calls: tuple[Call, ...] = ()
    """For each of them, the call of the choice that offers it."""
    own: Call | None = None
    """The call of a choice in whose own forward, outside its candidates, it ran."""
    repeated: bool = False
    """Whether a candidate was called a second time with the same inputs, as when a path is drawn twice."""

    def inside(self, call: Call, candidate: int, repeated: bool) -> Place:
        """The place inside a candidate."""
        return Place((*self.chain, (call.choice, candidate)), (*self.calls, call), None, repeated or self.repeated)


@dataclass(slots=True)
class _Running:
    """A choice, or a candidate, that has started and not ended."""

    module: nn.Module
    place: Place
    call: Call
    candidate: int | None
    first: int
    args: tuple[Any, ...]
    inputs: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Of a choice: the ids of the values that each of its candidates was first called with."""
    given: tuple[tuple[Any, ...], Mapping[str, Any]] | None = None
    """Of a choice: what the first candidate was called with."""


class ChoiceWatcher:
    """Listens to modules beside a recorder, and notes which ops ran inside which candidates."""

    def __init__(self, choices: Sequence[ChoiceModule], tracer: Tracer, recorder: Recorder) -> None:
        self._choices = choices
        self._index = {id(choice.module): index for index, choice in enumerate(choices)}
        self._tracer = tracer
        self._recorder = recorder
        self._running: list[_Running] = []
        self._members = {id(candidate) for choice in choices for candidate in choice.candidates}
        self._spans: list[tuple[Place, int, int]] = []
        self.chains: set[Chain] = {()}
        """Every chain of candidates that was reached."""

    def places(self) -> list[Place]:
        """Where each op ran."""
        found = [Place()] * len(self._tracer.ops)
        for place, first, end in reversed(self._spans):  # outer spans first
            found[first:end] = [place] * (end - first)
        return found

    @property
    def _place(self) -> Place:
        return self._running[-1].place if self._running else Place()

    # -- modules that start ---------------------------------------------------------------------------------

    def enter(self, module: nn.Module, args: Any) -> None:
        """A module starts."""
        self._recorder.enter(module, args)
        if id(module) in self._members:
            self._enter_candidate(module, args)
        choice = self._index.get(id(module))
        if choice is not None:
            call, place = Call(choice), self._place
            own = Place(place.chain, place.calls, call, place.repeated)
            self._running.append(_Running(module, own, call, None, len(self._tracer.ops), args))

    def _enter_candidate(self, module: nn.Module, args: Any) -> None:
        """Know which candidate of the innermost choice this is: a module listed twice stands for the first that has not run."""
        top = self._running[-1] if self._running else None
        if top is None or top.candidate is not None:
            if top is not None and any(module is part for part in top.module.modules()):
                return  # a part of the candidate that is running, which another choice offers too
            raise SupernetError(
                f"a candidate ({type(module).__name__} in {self._recorder.deepest}) was called outside the choice that offers it, so its "
                "ops cannot be told apart from the rest. Call the choice as a module, and its candidates in its forward."
            )
        candidates = self._choices[top.call.choice].candidates
        positions = [position for position, candidate in enumerate(candidates) if candidate is module]
        if not positions:
            return
        position = next((position for position in positions if position not in top.call.ran), positions[0])
        inputs = tuple(value.id for value in values_of(self._tracer, args))
        repeated = position in top.call.ran and top.inputs[position] == inputs
        if position not in top.call.ran:
            top.call.ran.append(position)
            top.inputs[position] = inputs
        place = top.place.inside(top.call, position, repeated)
        self.chains.add(place.chain)
        self._running.append(_Running(module, place, top.call, position, len(self._tracer.ops), args))

    # -- modules that end -----------------------------------------------------------------------------------

    def leave(self, module: nn.Module, kwargs: Any, output: Any) -> Any:
        """A module ends, by returning or by raising (then ``output`` is ``None``). What it returns takes the place of the output."""
        ended = []
        while self._running and self._running[-1].module is module:
            top = self._running[-1]
            if top.candidate is None and output is not None:
                self._end_choice(top, kwargs, output)
            elif top.candidate is not None:
                output = self._renewed(output, top.first)
            ended.append(self._running.pop())
            if top.candidate is not None:
                if self._running[-1].given is None:
                    self._running[-1].given = (top.args, kwargs)
                break  # the same module may be running further out as something else
        before = len(self._tracer.ops)
        self._recorder.leave(module, kwargs, output)
        after = len(self._tracer.ops)
        if after < before:
            self._refuse_collapse(module, after - 1)
        self._spans += [(running.place, running.first, after) for running in ended]
        return output

    def _renewed(self, output: Any, first: int) -> Any:
        """What a candidate returned, with an alias in the place of what it only passed on: so it is known to come from the candidate."""

        def alias(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            producer = self._tracer.value_of(leaf).producer
            return torch.ops.aten.alias(leaf) if producer is None or producer < first else leaf

        return tree_map(alias, output)

    def _end_choice(self, choice: _Running, kwargs: Mapping[str, Any], output: Any) -> None:
        """Call the candidates that the forward of a choice did not call."""
        call = choice.call
        called = list(call.ran)
        missing = [position for position in range(len(self._choices[call.choice].candidates)) if position not in called]
        if missing and choice.given:
            self._refuse_partial_inputs(choice, kwargs)
        args, named = choice.given or (choice.args, kwargs)
        for position in missing:
            self._run(choice, position, args, named)
        call.ran, call.end = called, len(self._tracer.ops)
        call.returned = self._returned(output, choice)

    def _returned(self, output: Any, choice: _Running) -> frozenset[int]:
        """The values that a choice returns; none where it returns the outputs of all candidates as they are, to be mixed elsewhere."""
        values = values_of(self._tracer, output)
        ended = {place.chain for place, first, end in self._spans for value in values if first <= (value.producer or -1) < end}
        apart = {chain for chain in ended if len(chain) > len(choice.place.chain)}
        is_list = len(apart) > 1 and len(apart) >= len(set(choice.call.ran))
        return frozenset() if is_list else frozenset(value.id for value in values)

    def _run(self, choice: _Running, position: int, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        offered = self._choices[choice.call.choice]
        try:
            offered.candidates[position](*args, **named)
        except SupernetError:
            raise
        except Exception as error:
            whose = "its first candidate" if choice.given else "the choice"
            raise SupernetError(
                f"the forward of the choice {offered.path!r} did not call its candidate {position} "
                f"({type(offered.candidates[position]).__name__}), and it cannot be called with what {whose} was given: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _refuse_partial_inputs(self, choice: _Running, kwargs: Mapping[str, Any]) -> None:
        """Where a choice has several inputs and passed on only some, others may be meant for other candidates."""
        assert choice.given is not None
        passed = {value.id for value in values_of(self._tracer, choice.given)}
        own = {
            value.id: leaf
            for leaf in tree_leaves((choice.args, dict(kwargs)))
            if isinstance(leaf, Tensor) and not self._tracer.cell_of(leaf).root.concrete
            for value in [self._tracer.value_of(leaf)]
            if value.role != "parameter"
        }
        if passed & own.keys() and own.keys() - passed:
            raise SupernetError(
                f"the choice {self._choices[choice.call.choice].path!r} has several inputs, and its forward called one candidate with "
                "some of them only. What the other candidates would be given is not known. Call all candidates in the forward, or give "
                "the choice one input."
            )

    def _refuse_collapse(self, module: nn.Module, index: int) -> None:
        """A module that is priced as a whole, as the op of this index, has no ops inside, so no choices either."""
        for place, _, end in self._spans:
            if end > index:
                path = self._choices[(place.own or place.calls[-1]).choice].path
                raise SupernetError(
                    f"the choice {path!r} lies inside {type(module).__name__}, which has a rule of its own that prices it as a whole. "
                    "Remove that rule with flopscope.forget_rule, or take the choice out."
                )


def chains_of_parameters(supernet: nn.Module, choices: Sequence[ChoiceModule]) -> dict[int, set[Chain]]:
    """Of each parameter, by its id, the candidates that it is inside of, by every route through the module tree that leads to it."""
    index = {id(choice.module): position for position, choice in enumerate(choices)}
    found: dict[int, set[Chain]] = {}
    seen: set[tuple[int, Chain, tuple[int, ...]]] = set()

    def visit(module: nn.Module, chain: Chain, outer: tuple[int, ...]) -> None:
        if (id(module), chain, outer) in seen:
            return
        seen.add((id(module), chain, outer))
        for parameter in module._parameters.values():
            if parameter is not None:
                found.setdefault(id(parameter), set()).add(chain)
        if id(module) in index:
            outer = (*outer, index[id(module)])
        for child in module._modules.values():
            if child is None:
                continue
            offers = [
                (choice, position)
                for choice in outer
                for position, candidate in enumerate(choices[choice].candidates)
                if candidate is child and choice not in [member for member, _ in chain]
            ]
            for offer in offers:
                visit(child, (*chain, offer), outer)
            if not offers:
                visit(child, chain, outer)

    visit(supernet, (), ())
    return found
