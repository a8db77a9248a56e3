"""Optimizers by formula: the bytes they keep, the bytes a step takes, and its operations.

>>> from flopscope.analyses.training.optimizers import OPTIMIZERS
>>> from flopscope.graph import TensorType, Weight
>>> weights = [Weight("weight", TensorType.of((1000, 100), "float32"), scope="")]
>>> OPTIMIZERS["adamw"].state_bytes(weights)
800004
>>> OPTIMIZERS["adamw"].step_bytes(weights, "loop")
800000
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from flopscope.analyses.training import lists, loops, operations, states
from flopscope.analyses.training.held import Held, Rounded, exact
from flopscope.analyses.training.loops import Step
from flopscope.analyses.training.operations import Operations
from flopscope.analyses.training.settings import Settings
from flopscope.analyses.training.states import States, StateTensor
from flopscope.errors import OptionError
from flopscope.graph import TensorType, Weight, bits_of

Implementation = Literal["loop", "foreach", "fused"]
"""One parameter after another; all of one dtype op by op; or one kernel that takes no memory of its own."""

_DEFAULTS = Settings()
Common = Callable[[list[TensorType], Settings], Iterator[StateTensor]]


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An optimizer and its settings. It knows parameters by shape and dtype only."""

    name: str
    home: str
    """The class that it stands for."""
    states: States
    operations: Operations
    steps: dict[Implementation, Step]
    """What a step takes, in each implementation that the class has. The first is the one that works everywhere."""
    settings: Settings = _DEFAULTS
    allowed: tuple[str, ...] = ()
    made_before: bool = False
    """Whether the state is made together with the optimizer. Else the first step makes it before it does anything."""
    first_steps: dict[Implementation, Step] | None = None
    """What the first step takes, where the state is made in the course of it."""
    common: Common | None = None
    """State that all parameters share."""

    def with_settings(self, **given: Any) -> Optimizer:
        """The same optimizer with other settings, such as ``momentum=0.9``.

        Raises:
            OptionError: it has no such setting.
        """
        settings = self.settings.changed(self.name, (*self.allowed, "master_weights"), given)
        if settings.nesterov and not settings.momentum and "momentum" in self.allowed:
            raise OptionError(f"nesterov of the optimizer {self.name!r} needs momentum, but that is zero")
        return replace(self, settings=settings)

    def implementation_on(self, device: str) -> Implementation:
        """What PyTorch takes by default on a device: ``"cpu"`` loops, others use lists where the optimizer can."""
        wanted: Implementation = "loop" if device == "cpu" else "foreach"
        return wanted if wanted in self.steps else next(iter(self.steps))

    def state(self, weights: Iterable[Weight]) -> list[StateTensor]:
        """Every tensor that is kept from one step to the next, in the order of the parameters. Frozen parameters have none."""
        trained, copied = self._worked_on(weights)
        masters = [StateTensor("master", type) for type in copied]
        return [*masters, *self._state_of(trained)]

    def state_bytes(self, weights: Iterable[Weight], *, rounded: Rounded = exact, scalars: bool = True) -> int:
        """The bytes that are kept from one step to the next.

        Args:
            weights: the parameters of a model.
            rounded: what the allocator takes for a tensor of so many bytes.
            scalars: count tensors of one number too, such as the count of steps, which lie in the memory of the CPU unless the
                implementation is fused.
        """
        kept = (tensor.type for tensor in self.state(weights) if scalars or not tensor.scalar)
        return sum(rounded(type.bytes(type.elements)) for type in kept)

    def step_bytes(
        self, weights: Iterable[Weight], implementation: Implementation = "loop", *, first: bool = False, rounded: Rounded = exact
    ) -> int:
        """The most bytes that a step holds beyond what was there before it.

        Args:
            weights: the parameters of a model, all of which have gradients unless they are frozen.
            implementation: how the step is computed; see `Implementation`.
            first: the first step, which makes the state as well. (The count of steps and other single numbers are left out.)
            rounded: what the allocator takes for a tensor of so many bytes.

        Raises:
            OptionError: the optimizer has no such implementation.
        """
        if implementation not in self.steps:
            raise OptionError(f"{self.home} has no implementation {implementation!r}; it has {', '.join(self.steps)}")
        trained, copied = self._worked_on(weights)
        groups = [trained] if implementation == "loop" else _by_dtype(trained)
        # PyTorch does not say in which order it takes the dtypes: the worst counts.
        orders = (groups, groups[::-1]) if len(groups) > 1 else (groups,)
        return max(self._peak(order, copied, implementation, first, rounded) for order in orders)

    def flops(self, weights: Iterable[Weight]) -> int:
        """The operations of one step, as the rules count them. Not of the first, in which some buffers are only filled."""
        trained, _copied = self._worked_on(weights)  # copies to more bits, or to fewer, compute nothing
        return sum(self.operations(type, self.settings) for type in trained)

    def _peak(
        self,
        groups: Sequence[Sequence[TensorType]],
        copied: list[TensorType],
        implementation: Implementation,
        first: bool,
        rounded: Rounded,
    ) -> int:
        held = Held(rounded)
        steps = self.first_steps if first and self.first_steps is not None else self.steps
        if first and steps is self.steps and not self.made_before:
            trained = [type for group in groups for type in group]
            held.bind("state", [tensor.type for tensor in self._state_of(trained) if not tensor.scalar])
        held.bind("gradients of masters", copied)
        for group in groups:
            steps[implementation](held, group, self.settings)
        return held.peak_bytes

    def _state_of(self, trained: list[TensorType]) -> list[StateTensor]:
        shared = () if self.common is None else self.common(trained, self.settings)
        return [*(tensor for type in trained for tensor in self.states(type, self.settings)), *shared]

    def _worked_on(self, weights: Iterable[Weight]) -> tuple[list[TensorType], list[TensorType]]:
        """The parameters that are trained, and those of them that stand in for others of fewer bits."""
        trained = [weight.type for weight in weights if weight.trainable]
        if not self.settings.master_weights:
            return trained, []
        types = [TensorType.of(type.shape, "float32") if bits_of(type.dtype) < 32 else type for type in trained]
        return types, [wide for wide, type in zip(types, trained, strict=True) if wide is not type and bits_of(type.dtype) < 32]


def optimizer(name: str, **settings: Any) -> Optimizer:
    """The optimizer of a name, with its default settings or others.

    Raises:
        OptionError: there is no optimizer of that name, or it has no such setting.
    """
    if name not in OPTIMIZERS:
        raise OptionError(f"there is no optimizer {name!r}; choose one of {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name].with_settings(**settings) if settings else OPTIMIZERS[name]


def _nothing(_held: Held, _weights: Sequence[TensorType], _settings: Settings) -> None:
    """A kernel that reads and writes parameters, gradients and state in place."""


def _first_fused_sgd(held: Held, weights: Sequence[TensorType], settings: Settings) -> None:
    if settings.momentum:
        held.bind(f"buffers of {weights[0].dtype}", weights)


def _by_dtype(types: Sequence[TensorType]) -> list[list[TensorType]]:
    groups: dict[str, list[TensorType]] = {}
    for type in types:
        groups.setdefault(type.dtype, []).append(type)
    return list(groups.values())


_SGD: dict[Implementation, Step] = {"loop": loops.sgd, "foreach": lists.sgd, "fused": _nothing}
_FIRST_SGD: dict[Implementation, Step] = {
    "loop": partial(loops.sgd, first=True),
    "foreach": partial(lists.sgd, first=True),
    "fused": _first_fused_sgd,
}
_ADAM: dict[Implementation, Step] = {"loop": loops.adam, "foreach": lists.adam, "fused": _nothing}
_OF_SGD = ("momentum", "dampening", "nesterov", "weight_decay", "maximize")
_OF_ADAM = ("amsgrad", "weight_decay", "maximize")
_OF_8_BITS = ("block_size", "min_8bit_size", "weight_decay")


def _eight_bits(name: str, home: str, plain: Operations, moments: int, settings: Settings) -> Optimizer:
    kept, maps = states.eight_bits(moments), states.maps_of_eight_bits
    counted = operations.eight_bits(plain, moments)
    steps: dict[Implementation, Step] = {"fused": _nothing}
    return Optimizer(name, f"bitsandbytes.optim.{home}", kept, counted, steps, settings, _OF_8_BITS, common=maps)


_DECOUPLED = Settings(weight_decay=True, decoupled=True)
_MOMENTUM = Settings(momentum=True)
_ALL = (
    Optimizer("sgd", "torch.optim.SGD", states.sgd, operations.sgd, _SGD, allowed=_OF_SGD, first_steps=_FIRST_SGD),
    Optimizer("momentum", "torch.optim.SGD", states.sgd, operations.sgd, _SGD, _MOMENTUM, _OF_SGD, first_steps=_FIRST_SGD),
    Optimizer("adam", "torch.optim.Adam", states.adam, operations.adam, _ADAM, allowed=_OF_ADAM),
    Optimizer("adamw", "torch.optim.AdamW", states.adam, operations.adam, _ADAM, _DECOUPLED, _OF_ADAM),
    Optimizer(
        "adafactor", "torch.optim.Adafactor", states.adafactor, operations.adafactor,
        {"loop": loops.adafactor, "foreach": lists.adafactor}, Settings(decoupled=True), ("weight_decay", "maximize"),
    ),
    _eight_bits("adam8bit", "Adam8bit", operations.adam, 2, Settings()),
    _eight_bits("adamw8bit", "AdamW8bit", operations.adam, 2, _DECOUPLED),
    Optimizer(
        "lion", "Lion of google/automl", states.lion, operations.lion, {"loop": loops.lion, "fused": _nothing},
        Settings(decoupled=True), ("weight_decay",),
    ),
    _eight_bits("lion8bit", "Lion8bit", operations.lion, 1, Settings(decoupled=True)),
    Optimizer(
        "rmsprop", "torch.optim.RMSprop", states.rmsprop, operations.rmsprop, {"loop": loops.rmsprop, "foreach": lists.keeping},
        allowed=("momentum", "centered", "weight_decay", "maximize"),
    ),
    Optimizer(
        "adagrad", "torch.optim.Adagrad", states.adagrad, operations.adagrad,
        {"loop": loops.adagrad, "foreach": lists.adagrad, "fused": _nothing}, allowed=("weight_decay", "maximize"), made_before=True,
    ),
    Optimizer(
        "nadam", "torch.optim.NAdam", states.nadam, operations.nadam, {"loop": loops.adam, "foreach": lists.keeping},
        allowed=("weight_decay", "maximize"),
    ),
    Optimizer(
        "muon", "torch.optim.Muon, and AdamW for what is no matrix", states.muon, operations.muon, {"loop": loops.muon},
        Settings(momentum=True, nesterov=True, weight_decay=True, decoupled=True), ("nesterov", "newton_schulz_steps"),
    ),
)  # fmt: skip

OPTIMIZERS: dict[str, Optimizer] = {optimizer.name: optimizer for optimizer in _ALL}
"""By the name that ``--optimizer`` takes."""
