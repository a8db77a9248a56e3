"""What one of several devices holds and sends in data-parallel training, by formula.

``ddp``
    Everything on every device; gradients are summed in buckets (Li et al. 2020, arXiv:2006.15704, section 3.2).
``zero1``, ``zero2``
    The optimizer's state, then the gradients too, are flat vectors of which each device holds an equal part (Rajbhandari et al. 2020,
    arXiv:1910.02054, section 5).
``fsdp``
    Every parameter, its gradient and its state are cut along the first dimension, as ``torch.distributed.fsdp.fully_shard`` does. A
    unit, such as a block, is put together while it works (Zhao et al. 2023, arXiv:2304.11277, section 3).

The numbers are those of the first device, which no other exceeds. Activations are not here: each device has its own part of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from flopscope.analyses.training.optimizers import Optimizer
from flopscope.errors import OptionError
from flopscope.graph import Graph, TensorType, Weight

Strategy = Literal["ddp", "zero1", "zero2", "fsdp"]
STRATEGIES: tuple[Strategy, ...] = ("ddp", "zero1", "zero2", "fsdp")
MIB = 2**20
FIRST_BUCKET_BYTES, BUCKET_BYTES = MIB, 25 * MIB


@dataclass(frozen=True, slots=True)
class Share:
    """What one device holds, in bytes, and what it sends in one step."""

    strategy: Strategy
    shards: int
    parameter_bytes: int
    gradient_bytes: int
    state_bytes: int
    bucket_bytes: int
    """Copies of gradients that are held to be summed: all of them for ``ddp`` (unless ``gradient_as_bucket_view`` is set)."""
    gathered_bytes: int
    """Parameters that are put together at one time, beyond the shares: what belongs to no unit, and the two largest units in a row."""
    sent_bytes: int
    """What the device sends to others in one step, and receives as well."""

    @property
    def held_bytes(self) -> int:
        """All of it."""
        return self.parameter_bytes + self.gradient_bytes + self.state_bytes + self.bucket_bytes + self.gathered_bytes


def share(weights: Sequence[Weight], optimizer: Optimizer, shards: int, strategy: Strategy = "fsdp", units: Sequence[str] = ()) -> Share:
    """What one of several devices holds.

    Args:
        weights: the parameters of a model. Frozen ones have no gradients.
        optimizer: what is kept of those that are trained.
        shards: the number of devices.
        strategy: what is divided among them.
        units: for ``fsdp``, the paths of the modules that are put together one at a time, in order; see `units_of`.

    Raises:
        OptionError: there is no such strategy, or no device.
    """
    check_shards(shards, strategy)
    return _fsdp(weights, optimizer, shards, units) if strategy == "fsdp" else _replicated(weights, optimizer, shards, strategy)


def check_shards(shards: int, strategy: str) -> None:
    """Refuse what cannot be divided.

    Raises:
        OptionError: there is no such strategy, or no device.
    """
    if strategy not in STRATEGIES:
        raise OptionError(f"there is no way {strategy!r} to share a model; choose one of {', '.join(STRATEGIES)}")
    if not isinstance(shards, int) or shards < 1:
        raise OptionError(f"a model is shared by at least one device, a whole number of them, but by {shards!r} was asked for")


def _replicated(weights: Sequence[Weight], optimizer: Optimizer, shards: int, strategy: Strategy) -> Share:
    """Parameters on every device."""
    trained = [weight for weight in weights if weight.trainable]
    parts = _flat_parts(trained, shards)
    whole, part = _bytes(trained), _bytes(parts)
    padded = part * shards
    return Share(
        strategy,
        shards,
        parameter_bytes=_bytes(weights),
        gradient_bytes=part if strategy == "zero2" else whole,
        state_bytes=optimizer.state_bytes(trained if strategy == "ddp" else parts),
        bucket_bytes=whole if strategy == "ddp" and shards > 1 else 0,
        gathered_bytes=0,
        # Summing takes a reduce-scatter and an all-gather; the others gather parameters in place of gradients.
        sent_bytes=2 * _others(whole, shards) if strategy == "ddp" else 2 * _others(padded, shards),
    )


def _fsdp(weights: Sequence[Weight], optimizer: Optimizer, shards: int, units: Sequence[str]) -> Share:
    shares = [_resized(weight, part_of(weight.type, shards)) for weight in weights]
    trained = [weight for weight in shares if weight.trainable]
    grouped = _by_unit(shares, units)
    root, *rest = ([_bytes(group) * shards for group in grouped] if shards > 1 else [0]) or [0]
    pairs = [left + right for left, right in pairwise(rest)]
    gathered_twice = sum(rest)
    return Share(
        "fsdp",
        shards,
        parameter_bytes=_bytes(shares),
        gradient_bytes=_bytes(trained),
        state_bytes=optimizer.state_bytes(shares),
        bucket_bytes=0,
        gathered_bytes=root + max(pairs, default=sum(rest)),
        # Units are put together for the forward pass and again for the backward pass; what belongs to no unit stays together.
        sent_bytes=_others(root + 2 * gathered_twice, shards) + _others(_bytes(trained) * shards, shards),
    )


def part_of(type: TensorType, shards: int) -> TensorType:
    """The first of the equal parts that a parameter is cut into along its first dimension; the last one may be padded to it."""
    if not type.shape:
        return type
    return TensorType.of((-(-type.shape[0] // shards), *type.shape[1:]), type.dtype)


def buckets(weights: Sequence[Weight], *, first_bytes: int = FIRST_BUCKET_BYTES, other_bytes: int = BUCKET_BYTES) -> list[list[str]]:
    """The parameters whose gradients are summed together by ``DistributedDataParallel``: from the last to the first, by dtype.

    A bucket is full when it reaches its limit; the first is small so that summing begins early.
    """
    full: list[list[str]] = []
    open_buckets: dict[str, tuple[list[str], int]] = {}
    filled: dict[str, int] = {}
    for weight in reversed([weight for weight in weights if weight.trainable]):
        names, size = open_buckets.pop(weight.type.dtype, ([], 0))
        names, size = [*names, weight.name], size + _bytes([weight])
        count = filled.get(weight.type.dtype, 0)
        if size >= (other_bytes if count else first_bytes):
            full.append(names)
            filled[weight.type.dtype] = count + 1
        else:
            open_buckets[weight.type.dtype] = (names, size)
    return [*full, *(names for names, _ in open_buckets.values())]


def units_of(graph: Graph) -> list[str]:
    """The modules that are usually put together one at a time: the outermost members of lists and chains of modules, in order."""
    found: list[str] = []
    for module in graph.modules:
        inside = any(module.path.startswith(f"{unit}.") for unit in found)
        if module.path.rpartition(".")[2].isdigit() and not inside:
            found.append(module.path)
    return found


def largest_unit_bytes(weights: Sequence[Weight], units: Sequence[str]) -> int:
    """The bytes of the trained weights of the largest unit: its gradients before each device keeps its part."""
    return max((_bytes([weight for weight in group if weight.trainable]) for group in _by_unit(weights, units)), default=0)


def _by_unit(weights: Sequence[Weight], units: Sequence[str]) -> list[list[Weight]]:
    """What belongs to no unit, then the weights of each unit in turn."""
    groups: dict[str, list[Weight]] = {"": [], **{unit: [] for unit in units}}
    for weight in weights:
        owner = next((unit for unit in units if weight.scope == unit or weight.scope.startswith(f"{unit}.")), "")
        groups[owner].append(weight)
    return list(groups.values())


def _flat_parts(weights: Sequence[Weight], shards: int) -> list[Weight]:
    """One vector per dtype, cut into equal parts."""
    totals: dict[str, int] = {}
    for weight in weights:
        totals[weight.type.dtype] = totals.get(weight.type.dtype, 0) + weight.elements
    return [Weight(dtype, TensorType.of((-(-total // shards),), dtype), scope="") for dtype, total in totals.items()]


def _resized(weight: Weight, type: TensorType) -> Weight:
    return Weight(weight.name, type, weight.scope, weight.trainable)


def _bytes(weights: Sequence[Weight]) -> int:
    return sum(weight.type.bytes(weight.type.elements) for weight in weights)


def _others(whole: int, shards: int) -> int:
    """What a device sends in an all-gather or a reduce-scatter of so many bytes in all: ``(n - 1) / n`` of it, rounded up."""
    return -(-whole * (shards - 1) // shards)
