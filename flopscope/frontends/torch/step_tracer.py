"""The tracer of a training step: autograd runs above it, so it sees the ops of the backward pass too, and what autograd keeps for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.utils._mode_utils import no_dispatch

from flopscope.frontends.torch.accumulation import ADD, IN_PLACE, owned
from flopscope.frontends.torch.cells import Cell, type_of
from flopscope.frontends.torch.memo import Entry
from flopscope.frontends.torch.real import DataNeeded
from flopscope.frontends.torch.stand_ins import StandIn, stand_in_for
from flopscope.frontends.torch.tracer import Tracer
from flopscope.step import Phase

_DETACH = torch.ops.aten.detach.default
_CHOICE = torch.ops.aten._fused_sdp_choice.default
_next_number = torch._C._autograd._get_sequence_nr
_current_node = torch._C._current_autograd_node


class StepTracer(Tracer):
    """Records the ops of a training step. Results are stand-ins for tensors of the CPU."""

    copy_of = staticmethod(stand_in_for)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.phases: list[Phase] = []
        """The phase of each op."""
        self.backward = False
        """Whether the backward pass runs."""
        self.deep = 0
        """How many modules are running: in a backward pass only those whose activations are computed again."""
        self.times = 1
        self._scopes: dict[int, str] = {}
        """The scope of each node of autograd's graph, by its number."""
        self._ended = -1
        """The number of the node of autograd's graph that ended last, of those whose gradients may be added to others."""
        self._strays: list[tuple[Tensor, Tensor | None]] = []
        """Leaves that want a gradient and have no stand-in, as those of a scripted module, each with the gradient that it held."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Answer one call of an op."""
        kwargs = kwargs or {}
        if func is _DETACH and isinstance(args[0], StandIn):
            return self.handle_on(args[0])
        if self.backward and not self.deep:
            func = self._as_on_plain_tensors(func, args)
        self.mark()
        outer = self.scope
        if self.backward and not self.deep:
            self.scope = self._scope_of_node()
        elif torch.is_grad_enabled():
            self._scopes.setdefault(_next_number() - 1, self.scope)  # the first op after a node is made is the one it is for
        try:
            return super().__torch_dispatch__(func, types, args, kwargs)
        finally:
            self.scope = outer
            self.mark()

    def node_ended(self) -> None:
        """The current node of autograd's graph has computed its gradients."""
        self._ended = _current_node()._sequence_nr()

    def _as_on_plain_tensors(self, func: Any, args: Sequence[Any]) -> Any:
        """The op that autograd would take if no mode looked on: where it owns the first operand, it writes the result there."""
        there = IN_PLACE.get(func)
        node = None if there is None else _current_node()
        if node is None or isinstance(node, BackwardCFunction):
            return func
        # Of additions only its own, of gradients of one value, and not those in the formula of a gradient.
        is_own = func is not ADD or node._sequence_nr() == self._ended
        return there if is_own and owned(args[0]) else func

    def _meet(self, tensor: Tensor) -> Cell:
        if tensor.requires_grad and tensor.is_leaf:
            self._strays.append((tensor, tensor.grad))
            tensor.grad = None
        return super()._meet(tensor)

    def gradients(self) -> dict[str, Tensor]:
        """The gradients of the parameters that have no stand-in, by name."""
        known = self._inventory.weights
        found = {known[id(tensor)][0]: tensor.grad for tensor, _ in self._strays if id(tensor) in known}
        return {name: gradient for name, gradient in found.items() if gradient is not None}

    def close(self) -> None:
        """Let go of every tensor that was met, as it was found."""
        for tensor, gradient in self._strays:
            tensor.grad = None  # torch compares the type of a gradient with the one that it replaces
            tensor.grad = gradient
        self._strays.clear()
        super().close()

    def mark(self) -> None:
        """Note the phase of the ops that were written down since the last call."""
        first = len(self.phases)
        phase: Phase = "forward" if not self.backward else "recompute" if self.deep else "backward"
        self.phases += [phase] * (len(self.ops) - first)
        if self.times != 1:
            for op in self.ops[first:]:
                op.times = self.times

    def _scope_of_node(self) -> str:
        """The scope of the forward op whose gradient is being computed."""
        node = _current_node()
        return self.scope if node is None else self._scopes.get(node._sequence_nr(), "")

    def handle_on(self, tensor: Tensor) -> Tensor:
        """Another handle on the same value, apart from autograd's graph: it detaches what it keeps, which is no op of the model."""
        cell = self.cell_of(tensor)
        made = stand_in_for(tensor)
        made._flopscope_cell = Cell(self, cell.type, self.value_of(tensor), cell.root)  # type: ignore[attr-defined]
        return made

    def _unusual(self, func: Any, types: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Stand-ins are plain tensors to all ops but one, which looks at more than shapes."""
        if func is _CHOICE:
            return _choice_of_attention(args, kwargs)
        return super()._unusual(func, [kind for kind in types if kind is not StandIn], args, kwargs)

    def _reshape_in_place(self, entry: Entry, tensors: list[Tensor], operands: list[Cell]) -> None:
        for position, template in entry.reshaped:
            tensor = tensors[position]
            if not isinstance(tensor, StandIn) or tensor.numel() != template.numel():
                raise DataNeeded("an op that changes the size of a tensor in place", self.scope)
            operands[position].type = type_of(template)
            with no_dispatch():
                torch.ops.aten.as_strided_.default(tensor, template.shape, template.stride())


def _choice_of_attention(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Which implementation torch takes for fused attention. The kernel of the CPU looks at shapes and strides alone."""

    def empty(item: Any) -> Any:
        if not isinstance(item, Tensor):
            return item
        return torch.empty(1, dtype=item.dtype).as_strided(item.shape, [*([0] * (item.dim() - 1)), min(1, item.stride(-1))])

    return int(_CHOICE(*map(empty, args), **{name: empty(item) for name, item in kwargs.items()}))
