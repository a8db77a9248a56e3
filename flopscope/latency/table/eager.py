"""Measuring the ops of a traced model as PyTorch runs them, one by one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from flopscope.errors import InputError
from flopscope.graph import Graph, Op
from flopscope.latency.table.calls import FREE, call_of
from flopscope.latency.table.keys import written
from flopscope.latency.table.rounds import Candidate, Clock

MODULE_CALL: Final = '{"target":"flopscope::module_call"}'
"""The key of what calling a module takes beside its ops: looking up its weights, and hooks that there might be."""
_WEIGHTS: Final = ("parameter", "buffer", "constant")
_CALLS: Final = 200
BATCH_BYTES: Final = 4 * 2**30


def keys_of(graph: Graph) -> dict[str, Op]:
    """The first op of each key, in the order of the graph. An op that no table can hold has no key."""
    found: dict[str, Op] = {}
    for op in graph.ops:
        if not op.target.startswith(FREE):
            key = key_of(op)
            if key is not None:
                found.setdefault(key, op)
    return found


def key_of(op: Op) -> str | None:
    """The key of an op; ``None`` where its signature is none."""
    try:
        return written(op.signature)
    except InputError:
        return None


def batches(graph: Graph, wanted: frozenset[str], failed: dict[str, str]) -> Iterator[list[Candidate]]:
    """The different ops of a graph as they can be run, in batches of at most `BATCH_BYTES`; those without a wanted op are left out.

    Args:
        graph: the model.
        wanted: keys.
        failed: gets what cannot be run, and why.
    """
    batch: list[tuple[str, Op]] = []
    size = 0
    for key, op in keys_of(graph).items():
        needed = sum(type.bytes(type.extent) for type in (*op.signature.inputs, *op.signature.outputs))
        if batch and size + needed > BATCH_BYTES:
            yield from _made(batch, wanted, failed)
            batch, size = [], 0
        batch.append((key, op))
        size += needed
    yield from _made(batch, wanted, failed)


def _made(batch: Sequence[tuple[str, Op]], wanted: frozenset[str], failed: dict[str, str]) -> Iterator[list[Candidate]]:
    if wanted.isdisjoint(key for key, _ in batch):
        return
    found: list[Candidate] = []
    for key, op in batch:
        weights = [index for index, value in enumerate(op.inputs) if value.role in _WEIGHTS]
        call = call_of(op.signature, weights)
        if call is not None:
            found.append(Candidate(key, call.write_inputs, call))
        elif key in wanted:
            failed[key] = f"{op.target} cannot be run from its signature"
    yield found


@contextmanager
def running(threads: int) -> Iterator[None]:
    """A context in which torch runs ops with so many threads, and keeps nothing for a backward pass."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


def module_call_runs(clock: Clock = time.perf_counter, repeats: int = 25) -> list[float]:
    """What calling a module takes beside its op, in seconds: the mean of a convolution, a norm, an activation and a linear layer."""
    import torch
    from torch.nn import functional as F

    x, flat = torch.zeros(1, 8, 2, 2), torch.zeros(1, 8)
    conv, norm, linear, relu = torch.nn.Conv2d(8, 8, 1), torch.nn.BatchNorm2d(8).eval(), torch.nn.Linear(8, 8), torch.nn.ReLU()
    weight, bias, kernel = conv.weight, conv.bias, linear.weight
    mean, variance, scale, shift = norm.running_mean, norm.running_var, norm.weight, norm.bias
    pairs: list[tuple[Any, Any]] = [
        (lambda: conv(x), lambda: torch.conv2d(x, weight, bias, (1, 1), (0, 0), (1, 1), 1)),
        (lambda: norm(x), lambda: torch.batch_norm(x, scale, shift, mean, variance, False, 0.1, 1e-5, True)),
        (lambda: relu(x), lambda: torch.relu(x)),
        (lambda: linear(flat), lambda: F.linear(flat, kernel, linear.bias)),
    ]
    return [statistics.fmean(_often(module, clock) - _often(op, clock) for module, op in pairs) for _ in range(repeats)]


def _often(run: Any, clock: Clock) -> float:
    start = clock()
    for _ in range(_CALLS):
        run()
    return (clock() - start) / _CALLS
