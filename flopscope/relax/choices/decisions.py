"""Which choices are one decision, and which tensors their probabilities are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from flopscope.errors import SupernetError
from flopscope.frontends.torch.choices import ChoiceModule

TOLERANCE = 1e-3
"""By how much probabilities may miss a sum of one: half precision is this coarse."""


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
        SupernetError: they are no tensor of one floating-point number per candidate.
    """
    given = choice.probabilities()  # type: ignore[operator]
    if not isinstance(given, Tensor):
        raise SupernetError(f"probabilities() of the choice {path!r} must return a tensor, but returned a {type(given).__name__}")
    if tuple(given.shape) != (count,) or not given.is_floating_point():
        raise SupernetError(
            f"the choice {path!r} has {count} candidates, so probabilities() must return a floating-point tensor of the shape "
            f"[{count}], but it "
            f"returned {str(given.dtype).removeprefix('torch.')}{list(given.shape)}"
        )
    return given


def check_simplex(probabilities: Tensor, name: Any) -> None:
    """Check that rows of probabilities, of shape ``[..., K]``, are not negative and sum to one; ``name`` names a row by its indices.

    Raises:
        SupernetError: names the first row that does not.
    """
    sums = probabilities.detach().sum(-1)
    lowest = probabilities.detach().amin(-1)
    good = ((sums - 1).abs() <= TOLERANCE) & (lowest >= -TOLERANCE)  # false for NaN too
    if bool(good.all()):
        return
    first = tuple(int(index) for index in (~good).nonzero()[0])
    what = f"sum to {float(sums[first]):.6g}" if float(lowest[first]) >= -TOLERANCE else f"go down to {float(lowest[first]):.6g}"
    raise SupernetError(f"the probabilities of {name(first)} must be at least 0 and sum to 1, but {what}")


def source_of(choice: ChoiceModule) -> Source:
    """What the probabilities of a choice are made of.

    Two choices get the same key where their probabilities have equal values and equal, non-zero derivatives by the same tensors, under
    the same random numbers. Probabilities without a derivative belong to a decision of their own.
    """
    count = len(choice.candidates)
    with _seeded(), torch.enable_grad(), _Reads() as reads:
        given = probabilities_of(choice.module, choice.path, count)
    check_simplex(given, lambda _: f"the choice {choice.path!r}")
    tensors = tuple(reads.found.values()) if id(given) in reads.made else (*reads.found.values(), given)
    leaves = _leaves(given)
    own = Source(tensors, (id(choice.module),))
    if not leaves:
        return own
    probe = torch.arange(1, count + 1, dtype=given.dtype, device=given.device).sqrt()
    found = torch.autograd.grad((given * probe).sum(), leaves, allow_unused=True)
    gradients = [None if gradient is None else gradient.detach().cpu() for gradient in found]
    if not any(gradient is not None and gradient.any() for gradient in gradients):
        return own
    values = tuple(given.detach().tolist())
    derivatives = tuple(None if gradient is None else tuple(gradient.flatten().tolist()) for gradient in gradients)
    return Source(tensors, (count, values, tuple(map(id, leaves)), derivatives))


class _Reads(TorchDispatchMode):
    """Collects the tensors that ops read and that no op made."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, Tensor] = {}
        self.made: dict[int, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor) and id(leaf) not in self.made:
                self.found[id(leaf)] = leaf
        result = func(*args, **(kwargs or {}))
        self.made.update({id(leaf): leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor) and id(leaf) not in self.found})
        return result


def _leaves(tensor: Tensor) -> list[Tensor]:
    """The tensors that require a gradient at the ends of the autograd graph of a tensor, in the order in which they are met."""
    if not tensor.requires_grad:
        return []
    if tensor.grad_fn is None:
        return [tensor]
    found: dict[int, Tensor] = {}
    seen, stack = set(), [tensor.grad_fn]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        stack += [following for following, _ in node.next_functions if following is not None]
    return list(found.values())


@contextmanager
def _seeded() -> Iterator[None]:
    """The same random numbers each time, and those of the user as they were."""
    devices: Sequence[int] = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        yield


def names_of(candidates: Sequence[nn.Module]) -> tuple[str, ...]:
    """The class of each candidate; where a class occurs more than once, with the position too."""
    names = [type(candidate).__name__ for candidate in candidates]
    return tuple(f"{name} {position}" if names.count(name) > 1 else name for position, name in enumerate(names))
