"""Tracing a supernet with every candidate of every choice run, whatever its forward runs.

A choice is a module with ``candidates`` and ``probabilities()``. Its forward may sum all candidates, run one that it draws, or two behind
gates. A `ChoiceWatcher` sees which candidates the forward called. Those that it left out are called when the choice ends, with what the
first candidate was given (or the choice itself, where none ran), and their results are thrown away. So each op has a known place: the
candidates that it is inside of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from flopscope.errors import SupernetError
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


@dataclass(slots=True)
class Span:
    """The ops that ran while a choice or a candidate ran: those from ``first`` up to before ``end``."""

    choice: int
    candidate: int | None
    """``None`` for the choice itself."""
    chain: Chain
    """The candidates that it is inside of, itself included."""
    first: int
    end: int


@dataclass(slots=True)
class _Running:
    """A choice, or a candidate, that has started and not ended."""

    module: nn.Module
    choice: int
    candidate: int | None
    chain: Chain
    first: int
    args: tuple[Any, ...]
    ran: list[int] = field(default_factory=list)
    given: tuple[tuple[Any, ...], Mapping[str, Any]] | None = None
    """What the first candidate of this choice was called with."""


class ChoiceWatcher:
    """Listens to modules beside a recorder, and notes which ops ran inside which candidates."""

    def __init__(self, choices: Sequence[ChoiceModule], tracer: Tracer, recorder: Recorder) -> None:
        self._choices = choices
        self._index = {id(choice.module): index for index, choice in enumerate(choices)}
        self._tracer = tracer
        self._recorder = recorder
        self._running: list[_Running] = []
        self._members = {id(candidate) for choice in choices for candidate in choice.candidates}
        self.spans: list[Span] = []
        """The spans that have ended, inner ones before outer ones."""

    @property
    def _chain(self) -> Chain:
        return self._running[-1].chain if self._running else ()

    def enter(self, module: nn.Module, args: Any) -> None:
        """A module starts."""
        self._recorder.enter(module, args)
        first = len(self._tracer.ops)
        if id(module) in self._members:
            self._enter_candidate(module, args, first)
        choice = self._index.get(id(module))
        if choice is not None:
            self._running.append(_Running(module, choice, None, self._chain, first, args))

    def _enter_candidate(self, module: nn.Module, args: Any, first: int) -> None:
        """Know which candidate of the innermost choice this is: a module listed twice stands for the first that has not run."""
        top = self._running[-1] if self._running else None
        if top is None or top.candidate is not None:
            if top is not None and any(module is part for part in top.module.modules()):
                return  # a part of the candidate that is running, which another choice offers too
            raise SupernetError(
                f"a candidate ({type(module).__name__} in {self._recorder.deepest}) was called outside the choice that offers it, so its "
                "ops cannot be told apart from the rest. Call the choice as a module, and its candidates in its forward."
            )
        candidates = self._choices[top.choice].candidates
        positions = [position for position, candidate in enumerate(candidates) if candidate is module]
        if positions:
            position = next((position for position in positions if position not in top.ran), positions[0])
            top.ran.append(position)
            chain = (*self._chain, (top.choice, position))
            self._running.append(_Running(module, top.choice, position, chain, first, args))

    def leave(self, module: nn.Module, kwargs: Any, output: Any) -> None:
        """A module ends, by returning or by raising (then ``output`` is ``None``)."""
        ended = []
        while self._running and self._running[-1].module is module:
            top = self._running[-1]
            if top.candidate is None and output is not None:
                self._run_the_rest(top, kwargs)
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
        self.spans += [Span(call.choice, call.candidate, call.chain, call.first, after) for call in ended]

    def _run_the_rest(self, choice: _Running, kwargs: Mapping[str, Any]) -> None:
        """Call the candidates that the forward of a choice did not call."""
        args, named = choice.given or (choice.args, kwargs)
        path, candidates = self._choices[choice.choice].path, self._choices[choice.choice].candidates
        for position, candidate in enumerate(candidates):
            if position in choice.ran:
                continue
            try:
                candidate(*args, **named)
            except SupernetError:
                raise
            except Exception as error:
                raise SupernetError(
                    f"the forward of the choice {path!r} did not call its candidate {position} ({type(candidate).__name__}), and it "
                    "cannot be "
                    f"called with what {'its first candidate' if choice.given else 'the choice'} was given: {type(error).__name__}: {error}"
                ) from error

    def _refuse_collapse(self, module: nn.Module, index: int) -> None:
        """A module that is priced as a whole, as the op of this index, has no ops inside, so no choices either."""
        for span in self.spans:
            if span.end > index:
                raise SupernetError(
                    f"the choice {self._choices[span.choice].path!r} lies inside {type(module).__name__}, which has a rule of its own that "
                    "prices it as a whole. Remove that rule with flopscope.forget_rule, or take the choice out."
                )


def chains_of(spans: Sequence[Span], ops: int) -> tuple[list[Chain], list[Span | None]]:
    """Of each op the candidates that it is inside of, and the call of a choice in whose own forward, outside its candidates, it ran."""
    chains: list[Chain] = [()] * ops
    own_calls: list[Span | None] = [None] * ops
    for span in reversed(spans):  # outer spans first
        for index in range(span.first, span.end):
            chains[index] = span.chain
            own_calls[index] = span if span.candidate is None else None
    return chains, own_calls


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
