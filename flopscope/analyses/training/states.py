"""What each optimizer keeps of a parameter from one step to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flopscope.analyses.training.settings import Settings
from flopscope.graph import TensorType


@dataclass(frozen=True, slots=True)
class StateTensor:
    """One tensor of the state of an optimizer."""

    name: str
    """Its key in ``state_dict()``, where the optimizer has one."""
    type: TensorType
    scalar: bool = False
    """Whether it counts steps or the like; kept on the CPU unless the optimizer is fused."""


States = Callable[[TensorType, Settings], Iterator[StateTensor]]
_SCALAR = TensorType.of((), "float32")
_MAP = TensorType.of((256,), "float32")


def sgd(weight: TensorType, settings: Settings) -> Iterator[StateTensor]:
    """A buffer with momentum, nothing without."""
    if settings.momentum:
        yield _like("momentum_buffer", weight)


def adam(weight: TensorType, settings: Settings) -> Iterator[StateTensor]:
    """Two moments; a third with AMSGrad."""
    yield StateTensor("step", _SCALAR, scalar=True)
    yield _like("exp_avg", weight)
    yield _like("exp_avg_sq", weight)
    if settings.amsgrad:
        yield _like("max_exp_avg_sq", weight)


def nadam(weight: TensorType, _: Settings) -> Iterator[StateTensor]:
    """Adam's moments and the product of the momenta so far."""
    yield StateTensor("step", _SCALAR, scalar=True)
    yield StateTensor("mu_product", _SCALAR, scalar=True)
    yield _like("exp_avg", weight)
    yield _like("exp_avg_sq", weight)


def rmsprop(weight: TensorType, settings: Settings) -> Iterator[StateTensor]:
    """The mean of squares, and what momentum and centring need."""
    yield StateTensor("step", _SCALAR, scalar=True)
    yield _like("square_avg", weight)
    if settings.momentum:
        yield _like("momentum_buffer", weight)
    if settings.centered:
        yield _like("grad_avg", weight)


def adagrad(weight: TensorType, _: Settings) -> Iterator[StateTensor]:
    """The sum of squares."""
    yield StateTensor("step", _SCALAR, scalar=True)
    yield _like("sum", weight)


def adafactor(weight: TensorType, _: Settings) -> Iterator[StateTensor]:
    """A row and a column for the last two dimensions of a matrix, the whole second moment for a vector."""
    yield StateTensor("step", _SCALAR, scalar=True)
    if len(weight.shape) > 1:
        yield StateTensor("row_var", row_of(weight))
        yield StateTensor("col_var", column_of(weight))
    else:
        yield _like("variance", weight)


def lion(weight: TensorType, _: Settings) -> Iterator[StateTensor]:
    """One moment."""
    yield _like("exp_avg", weight)


def muon(weight: TensorType, settings: Settings) -> Iterator[StateTensor]:
    """A buffer for a matrix; what is no matrix is given to AdamW."""
    if len(weight.shape) == 2:
        yield _like("momentum_buffer", weight)
    else:
        yield from adam(weight, settings)


def eight_bits(moments: int) -> States:
    """Moments in blocks of bytes with a scale for each block, as bitsandbytes keeps them; of small parameters in float32.

    Dettmers et al. 2022, arXiv:2110.02861, section 2.
    """

    def states(weight: TensorType, settings: Settings) -> Iterator[StateTensor]:
        small = weight.elements < settings.min_8bit_size
        blocks = -(-weight.elements // settings.block_size)
        for number in range(1, moments + 1):
            yield StateTensor(f"state{number}", TensorType.of(weight.shape, "float32" if small else "uint8"))
            if not small:
                yield StateTensor(f"absmax{number}", TensorType.of((blocks,), "float32"))

    return states


def maps_of_eight_bits(weights: list[TensorType], settings: Settings) -> Iterator[StateTensor]:
    """What the bytes of 8-bit states stand for: two tables, shared by all parameters, that are made even where one is needed."""
    if any(weight.elements >= settings.min_8bit_size for weight in weights):
        yield StateTensor("qmap1", _MAP)
        yield StateTensor("qmap2", _MAP)


def row_of(weight: TensorType) -> TensorType:
    """A factored second moment: what is left when the last dimension is summed up."""
    return TensorType.of((*weight.shape[:-1], 1), weight.dtype)


def column_of(weight: TensorType) -> TensorType:
    """A factored second moment: what is left when the last dimension but one is summed up."""
    return TensorType.of((*weight.shape[:-2], 1, weight.shape[-1]), weight.dtype)


def _like(name: str, weight: TensorType) -> StateTensor:
    return StateTensor(name, TensorType.of(weight.shape, weight.dtype))
