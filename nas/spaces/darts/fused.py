"""A search cell, run with what its candidates have in common done once.

The mathematics is that of the plain cell. All edges from one state read the same tensor, so the state is rectified once, pooled once (the
pools have no weights, hence one result serves every edge), and depthwise separable convolutions of one kind run as a single grouped
convolution where tensors are small and calling kernels costs more than they do. The weight of a candidate is the scale of its last batch
normalisation, whose gradient the normalisation computes anyway; so no candidate's output is written, read or kept a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def run_fused(cell: SearchCell, states: list[Tensor], weights: Tensor) -> list[Tensor]:
    """The nodes of a cell.

    Args:
        cell: the cell.
        states: its two preprocessed inputs, of shape ``[B, C, H, W]``.
        weights: of the candidates, of shape ``[edges, operations]``.
    """
    weights = weights.to(states[0].dtype)
    sums: list[Tensor | None] = [None] * cell.nodes
    owned = [False] * cell.nodes  # a sum of two terms is nobody else's, and no backward needs its value
    for state in range(2 + cell.nodes - 1):
        source = states[state] if state < 2 else sums[state - 2]
        assert source is not None
        nodes = range(max(state - 1, 0), cell.nodes)
        numbers = [edge_between(state, node) for node in nodes]
        edges = [cell.edges[number] for number in numbers]
        rows = torch.stack([weights[number] for number in numbers])  # an index would make a GPU wait
        rectified = F.relu(source)
        for position, candidates in enumerate(zip(*(edge.candidates for edge in edges), strict=True)):
            found = _weighted(candidates, source, rectified, rows[:, position])
            for node, term in zip(nodes, found, strict=False):
                so_far = sums[node]
                if so_far is None:
                    sums[node] = term
                else:
                    sums[node] = so_far.add_(term) if owned[node] else so_far + term
                    owned[node] = True
    nodes_done = [total for total in sums if total is not None]
    assert len(nodes_done) == cell.nodes
    return nodes_done


def _weighted(candidates: Sequence[nn.Module], x: Tensor, rectified: Tensor, weights: Tensor) -> Iterable[Tensor]:
    """One candidate of each edge from a state, times its weight; nothing where it adds nothing."""
    first = candidates[0]
    if isinstance(first, Zero):
        return ()
    if isinstance(first, Skip):
        return (weight * x for weight in weights)
    if isinstance(first, Pool):
        return _pools(candidates, x, weights)  # type: ignore[arg-type]
    if isinstance(first, SeparableChain):
        if x.numel() <= SMALL or x.is_cuda:
            return _grouped_chains(candidates, rectified, weights)  # type: ignore[arg-type]
        return (_chain(candidate, rectified, weight) for candidate, weight in zip(candidates, weights, strict=True))
    if isinstance(first, FactorizedReduce):
        pairs = zip(candidates, weights, strict=True)
        return (_normalised([one.norm], one.reduced(rectified), weight[None]) for one, weight in pairs)  # type: ignore[list-item, operator]
    return (weight * candidate(x) for candidate, weight in zip(candidates, weights, strict=True))


def _pools(pools: Sequence[Pool], x: Tensor, weights: Tensor) -> Iterable[Tensor]:
    first, *others = (pool.norm for pool in pools)
    out = first(pools[0].pooled(x))
    if first.training and others:  # what normalising the same tensor again would leave behind
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            mine: Tensor = getattr(first, name)
            torch._foreach_copy_([getattr(norm, name) for norm in others], [mine] * len(others))
    return (weight * out for weight in weights)


def _chain(chain: nn.Module, rectified: Tensor, weight: Tensor) -> Tensor:
    """One chain of separable convolutions, times its weight."""
    return _grouped_chains([chain], rectified, weight[None])[0]  # type: ignore[list-item]


def _grouped_chains(chains: Sequence[SeparableChain], rectified: Tensor, weights: Tensor) -> Sequence[Tensor]:
    """Chains that read one state, times their weights, each step of all of them as one convolution."""
    count = len(chains)
    x = rectified.repeat(1, count, 1, 1) if count > 1 else rectified
    steps: list[tuple[Separable, ...]] = list(zip(*chains, strict=True))
    for index, blocks in enumerate(steps):
        depthwises, pointwises, norms = zip(*(block.parts for block in blocks), strict=True)
        like = depthwises[0]
        x = F.relu(x) if index else x
        x = F.conv2d(x, _side_by_side(depthwises), None, like.stride, like.padding, like.dilation, x.shape[1])
        x = F.conv2d(x, _side_by_side(pointwises), groups=count)
        x = _normalised(norms, x, weights if index == len(steps) - 1 else None)
    return x.chunk(count, dim=1) if count > 1 else [x]


def _side_by_side(layers: Sequence[nn.Conv2d]) -> Tensor:
    return torch.cat([layer.weight for layer in layers]) if len(layers) > 1 else layers[0].weight


def _normalised(norms: Sequence[nn.BatchNorm2d], x: Tensor, weights: Tensor | None) -> Tensor:
    """Batch normalisation of channels that belong to several layers side by side, scaled by one weight for each layer."""
    channels = x.shape[1] // len(norms)
    scale = None if weights is None else weights.repeat_interleave(channels)
    training, momentum, eps = norms[0].training, norms[0].momentum or 0.0, norms[0].eps
    means, variances = [norm.running_mean for norm in norms], [norm.running_var for norm in norms]
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
