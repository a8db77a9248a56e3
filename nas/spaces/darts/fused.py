"""A search cell, run with what its candidates have in common done once.

The mathematics is that of the plain cell. All edges from one state read the same tensor, so the state is rectified once, pooled once (the
pools have no weights, hence one result serves every edge), and depthwise separable convolutions of one kind run as a single grouped
convolution where tensors are small and calling kernels costs more than they do. The weight of a candidate is the scale of its last batch
normalisation, whose gradient the normalisation computes anyway; so no candidate's output is written, read or kept a second time.

A convolution of dilation 2 never mixes even and odd pixels. On a CPU, whose kernels for dilated convolutions are slow backwards, it is run
as a plain convolution on the four images that the parities of row and column make of one (`fold`), or, with stride 2, on the even pixels
alone. What follows it does not look at where pixels are, so a node's dilated terms are added up folded and unfolded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.spaces.darts.edges import edge_between
from nas.spaces.darts.operations import FactorizedReduce, Pool, Separable, SeparableChain, Skip, Zero

if TYPE_CHECKING:
    from nas.spaces.darts.supernet import SearchCell

SMALL = 2**17
"""Elements of a state (batch included) up to which grouping the convolutions of several edges is taken to pay on a CPU."""


class State:
    """A state of a cell, of shape ``[B, C, H, W]``, and what its edges make of it before they differ, made when first asked for."""

    def __init__(self, value: Tensor) -> None:
        self.value = value

    @cached_property
    def rectified(self) -> Tensor:
        """Its positive part."""
        return F.relu(self.value)

    @cached_property
    def even(self) -> Tensor:
        """The rectified pixels of even row and column, of shape ``[B, C, ceil(H/2), ceil(W/2)]``."""
        return self.rectified[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)

    @cached_property
    def folded(self) -> Tensor:
        """The rectified state, folded."""
        return fold(self.rectified)

    def parities(self, stride: int) -> Tensor | None:
        """The pixels that a convolution of dilation 2 is run on without it; nothing where it is better run as it stands."""
        if self.value.is_cuda:
            return None
        if stride == 2:
            return self.even
        height, width = self.value.shape[-2:]
        return None if height % 2 or width % 2 else self.folded


class Node:
    """The sum of what arrives at a node, as it grows."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._folded: Tensor | None = None
        self._owned = False  # a sum of two terms is nobody else's, and no backward needs its value

    def add(self, term: Tensor) -> None:
        """Add a term of shape ``[B, C, H, W]``."""
        if self._sum is None:
            self._sum = term
        else:
            self._sum = self._sum.add_(term) if self._owned else self._sum + term
            self._owned = True

    def add_folded(self, term: Tensor) -> None:
        """Add a folded term, of shape ``[4B, C, H/2, W/2]``."""
        self._folded = term if self._folded is None else self._folded + term

    def total(self) -> Tensor:
        """The sum."""
        if self._folded is not None:
            self.add(unfold(self._folded))
            self._folded = None
        assert self._sum is not None
        return self._sum


def fold(x: Tensor) -> Tensor:
    """The four images that the parities of row and column make of each, of shape ``[4B, C, H/2, W/2]``, from ``[B, C, H, W]``."""
    batch, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(batch, height // 2, 2, width // 2, 2, channels)
    return pixels.permute(0, 2, 4, 1, 3, 5).reshape(4 * batch, height // 2, width // 2, channels).permute(0, 3, 1, 2)


def unfold(x: Tensor) -> Tensor:
    """The inverse of `fold`."""
    batch, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(batch // 4, 2, 2, height, width, channels)
    return pixels.permute(0, 3, 1, 4, 2, 5).reshape(batch // 4, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)


def run_fused(cell: SearchCell, states: list[Tensor], weights: Tensor) -> list[Tensor]:
    """The nodes of a cell.

    Args:
        cell: the cell.
        states: its two preprocessed inputs, of shape ``[B, C, H, W]``.
        weights: of the candidates, of shape ``[edges, operations]``.
    """
    weights = weights.to(states[0].dtype)
    nodes = [Node() for _ in range(cell.nodes)]
    for number in range(2 + cell.nodes - 1):
        state = State(states[number] if number < 2 else nodes[number - 2].total())
        targets = range(max(number - 1, 0), cell.nodes)
        edges = [edge_between(number, node) for node in targets]
        rows = torch.stack([weights[edge] for edge in edges])  # an index would make a GPU wait
        for position, candidates in enumerate(zip(*(cell.edges[edge].candidates for edge in edges), strict=True)):
            _add_weighted(candidates, state, rows[:, position], [nodes[target] for target in targets])
    return [node.total() for node in nodes]


def _add_weighted(candidates: Sequence[nn.Module], state: State, weights: Tensor, nodes: Sequence[Node]) -> None:
    """Add one candidate of each edge from a state, times its weight, to the node where the edge ends."""
    first = candidates[0]
    if isinstance(first, SeparableChain) and first.dilation == 2:
        parities = state.parities(first.stride)
        if parities is not None:
            for node, term in zip(nodes, _chains(candidates, parities, weights, dense=True), strict=True):  # type: ignore[arg-type]
                (node.add if first.stride == 2 else node.add_folded)(term)
            return
    for node, term in zip(nodes, _weighted(candidates, state, weights), strict=False):
        node.add(term)


def _weighted(candidates: Sequence[nn.Module], state: State, weights: Tensor) -> Iterable[Tensor]:
    """One candidate of each edge from a state, times its weight; nothing where it adds nothing."""
    first, x = candidates[0], state.value
    if isinstance(first, Zero):
        return ()
    if isinstance(first, Skip):
        return (weight * x for weight in weights)
    if isinstance(first, Pool):
        return _pools(candidates, x, weights)  # type: ignore[arg-type]
    if isinstance(first, SeparableChain):
        return _chains(candidates, state.rectified, weights)  # type: ignore[arg-type]
    if isinstance(first, FactorizedReduce):
        pairs = zip(candidates, weights, strict=True)
        return (_normalised([one.norm], one.reduced(state.rectified), weight[None]) for one, weight in pairs)  # type: ignore[list-item, operator]
    return (weight * candidate(x) for candidate, weight in zip(candidates, weights, strict=True))


def _pools(pools: Sequence[Pool], x: Tensor, weights: Tensor) -> Iterable[Tensor]:
    first, *others = (pool.norm for pool in pools)
    out = first(pools[0].pooled(x))
    if first.training and others:  # what normalising the same tensor again would leave behind
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            mine: Tensor = getattr(first, name)
            torch._foreach_copy_([getattr(norm, name) for norm in others], [mine] * len(others))
    return (weight * out for weight in weights)


def _chains(chains: Sequence[SeparableChain], x: Tensor, weights: Tensor, *, dense: bool = False) -> Iterable[Tensor]:
    """Chains of separable convolutions of one tensor, each times its weight.

    Args:
        chains: all alike.
        x: the rectified state, or with ``dense`` the parities of its pixels that they see.
        weights: one for each chain.
        dense: whether to leave stride and dilation out, as ``x`` has them in it.
    """
    if x.numel() <= SMALL or x.is_cuda:
        return _grouped_chains(chains, x, weights, dense)
    return (_grouped_chains([chain], x, weight[None], dense)[0] for chain, weight in zip(chains, weights, strict=True))


def _grouped_chains(chains: Sequence[SeparableChain], x: Tensor, weights: Tensor, dense: bool) -> Sequence[Tensor]:
    """Chains that read one tensor, times their weights, each step of all of them as one convolution."""
    count = len(chains)
    x = x.repeat(1, count, 1, 1) if count > 1 else x
    steps: list[tuple[Separable, ...]] = list(zip(*chains, strict=True))
    for index, blocks in enumerate(steps):
        depthwises, pointwises, norms = zip(*(block.parts for block in blocks), strict=True)
        x = F.relu(x) if index else x
        x = _depthwise(depthwises, x, dense)
        x = F.conv2d(x, _side_by_side(pointwises), groups=count)
        x = _normalised(norms, x, weights if index == len(steps) - 1 else None)
    return x.chunk(count, dim=1) if count > 1 else [x]


def _depthwise(layers: Sequence[nn.Conv2d], x: Tensor, dense: bool) -> Tensor:
    like, kernel = layers[0], _side_by_side(layers)
    if dense:
        return F.conv2d(x, kernel, None, 1, like.kernel_size[0] // 2, 1, x.shape[1])
    return F.conv2d(x, kernel, None, like.stride, like.padding, like.dilation, x.shape[1])


def _side_by_side(layers: Sequence[nn.Conv2d]) -> Tensor:
    return torch.cat([layer.weight for layer in layers]) if len(layers) > 1 else layers[0].weight


def _normalised(norms: Sequence[nn.BatchNorm2d], x: Tensor, weights: Tensor | None) -> Tensor:
    """Batch normalisation of channels that belong to several layers side by side, scaled by one weight for each layer."""
    channels = x.shape[1] // len(norms)
    training, momentum, eps = norms[0].training, norms[0].momentum or 0.0, norms[0].eps
    means, variances = [norm.running_mean for norm in norms], [norm.running_var for norm in norms]
    scale = None if weights is None else weights.repeat_interleave(channels).to(means[0].dtype)  # type: ignore[union-attr]  # as autocast does
    if len(norms) == 1:
        out = F.batch_norm(x, means[0], variances[0], scale, None, training, momentum, eps)
    else:
        mean, variance = torch.cat(means), torch.cat(variances)  # type: ignore[arg-type]
        out = F.batch_norm(x, mean, variance, scale, None, training, momentum, eps)
        if training:
            torch._foreach_copy_([*means, *variances], [*mean.split(channels), *variance.split(channels)])  # type: ignore[list-item]
    if training:
        torch._foreach_add_([norm.num_batches_tracked for norm in norms], 1)  # type: ignore[misc]
    return out
