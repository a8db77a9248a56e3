"""Which choices are one decision, and which tensors their probabilities are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from flopscope.errors import SupernetError
from flopscope.frontends.torch.choices import ChoiceModule

_TOLERANCE = 1e-3


def tolerance_of(dtype: torch.dtype) -> float:
    """By how much probabilities of this dtype may miss a sum of one."""
    return max(_TOLERANCE, 4 * torch.finfo(dtype).eps)


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that an architecture decides: which candidate each of its choices takes.

    Several choices are one decision where their probabilities are the same function of the same parameters, such as those of
    an edge in cells that share their architecture parameters.
    """

    choices: tuple[str, ...]
    """The module paths of the choices."""
    candidates: tuple[str, ...]
    """The names of the candidates."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the probabilities of a choice come from."""

    tensors: tuple[Tensor, ...]
    """Everything that ``probabilities()`` reads and did not make itself."""
    key: tuple[Any, ...]
    """Equal for choices that are one decision."""


def probabilities_of(choice: nn.Module, path: str, count: int) -> Tensor:
    """The probabilities of a choice as it gives them now; that they sum to one is checked elsewhere, for all choices at once.

    Raises:
        SupernetError: the choice raised, or what it returned is no tensor of one floating-point number per candidate.
    """
    try:
        given = choice.probabilities()  # type: ignore[operator]
    except Exception as error:
        raise SupernetError(f"probabilities() of the choice {path!r} raised {type(error).__name__}: {error}") from error
    if not isinstance(given, Tensor):
        raise SupernetError(f"probabilities() of the choice {path!r} must return a tensor, but returned a {type(given).__name__}")
    if tuple(given.shape) != (count,) or not given.is_floating_point():
        raise SupernetError(
            f"the choice {path!r} has {count} candidates, so probabilities() must return a floating-point tensor of the shape [{count}], "
            f"but it returned {str(given.dtype).removeprefix('torch.')}{list(given.shape)}"
        )
    return given


def check_simplex(probabilities: Tensor, name: Any, tolerance: float | None = None) -> None:
    """Check that rows of probabilities, of shape ``[..., K]``, are not negative and sum to one; ``name`` names a row by its indices.

    Raises:
        SupernetError: names the first row that does not.
    """
    given = probabilities.detach()
    tolerance = tolerance_of(given.dtype) if tolerance is None else tolerance
    sums = given @ given.new_ones(given.shape[-1])  # several times faster than a sum over a short last dimension
    good = (sums - 1).abs() <= tolerance  # false for NaN too
    if not given.numel() or (bool(good.all()) and bool(given.min() >= -tolerance)):
        return
    lowest = given.amin(-1)
    good &= lowest >= -tolerance
    first = tuple(int(index) for index in (~good).nonzero()[0])
    what = f"sum to {float(sums[first]):.6g}" if float(lowest[first]) >= -tolerance else f"go down to {float(lowest[first]):.6g}"
    raise SupernetError(f"the probabilities of {name(first)} must be at least 0 and sum to 1, but {what}")


def source_of(choice: ChoiceModule) -> Source:
    """What the probabilities of a choice are made of.

    Two choices get the same key where ``probabilities()`` runs the same ops on the same tensors, whatever random numbers it draws.
    Probabilities that are made of no tensor, such as those of a uniform draw, belong to a decision of their own.
    """
    count = len(choice.candidates)
    devices: Sequence[int] = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices), _Recording() as recording:
        given = probabilities_of(choice.module, choice.path, count)
    what = recording.name_of(given)
    if given.device.type != "meta":
        check_simplex(given, lambda _: f"the choice {choice.path!r}")
    tensors = tuple(recording.read.values())
    return Source(tensors, (count, tuple(recording.log), what) if tensors else (id(choice.module),))


class _Recording(TorchDispatchMode):
    """Writes down which ops run on which tensors, in words that are equal for equal computations."""

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[int, Tensor] = {}
        """The tensors that no op made, by their ids."""
        self.log: list[tuple[Any, ...]] = []
        self._made: dict[int, tuple[int, Tensor]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the wrapper would import the compiler, which takes seconds, and nothing is compiled in here

    def name_of(self, value: Any) -> Any:
        """A tensor that an op made by its number, another one by the memory that it shows, and anything else as it is written."""
        if not isinstance(value, Tensor):
            return repr(value)
        if id(value) in self._made:
            return self._made[id(value)][0]
        self.read[id(value)] = value
        return storage_of(value), value.storage_offset(), tuple(value.shape), value.stride()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.log.append((func, *(self.name_of(leaf) for leaf in tree_leaves((args, kwargs)))))
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and id(leaf) not in self.read:
                self._made.setdefault(id(leaf), (len(self._made), leaf))
        return result


def storage_of(tensor: Tensor) -> int:
    """What tensors that share memory have in common."""
    return int(tensor.untyped_storage()._cdata)


def names_of(candidates: Sequence[nn.Module]) -> tuple[str, ...]:
    """The class of each candidate; where a class occurs more than once, with the position too."""
    names = [type(candidate).__name__ for candidate in candidates]
    return tuple(f"{name} {position}" if names.count(name) > 1 else name for position, name in enumerate(names))
