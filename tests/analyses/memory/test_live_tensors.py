"""The timeline of random programs against a real run in which every storage is watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import flopscope

SIDE = 4
Step = tuple[str, int, int]


class Watch(TorchDispatchMode):
    """Notes the bytes of all storages that are alive at the end of each op of a real run."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, tuple[StorageWeakRef, int]] = {}
        self.live: list[int] = []

    def meet(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        ref = StorageWeakRef(storage)
        self.known[ref.cdata] = (ref, storage.nbytes())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.known = {key: (ref, size) for key, (ref, size) in self.known.items() if not ref.expired()}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.meet(leaf)
        self.live.append(sum(size for _, size in self.known.values()))
        return result


UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "relu_": torch.relu_,
    "softmax": lambda x: x.softmax(-1),
    "view": lambda x: x.reshape(-1),
    "turn": lambda x: x.t() if x.dim() == 2 else x,
    "half": lambda x: x[: max(1, x.shape[0] // 2)],
    "last": lambda x: x.chunk(2)[-1],
    "copy": lambda x: x.clone(),
    "double": lambda x: x.to(torch.float64).sin().float(),
    "square": lambda x: x.reshape(x.shape[0], -1) @ x.reshape(x.shape[0], -1).t(),
    "sum": lambda x: x.sum(0, keepdim=True),
}


def program(steps: list[Step]) -> Callable[[Tensor], list[Tensor]]:
    """A program that keeps its tensors in a list, and lets go of some."""

    def run(x: Tensor) -> list[Tensor]:
        held = [x, x.exp()]
        for name, a, b in steps:
            first, second = a % len(held), b % len(held)
            if name == "drop":
                if len(held) > 2:
                    del held[first if first else 1]
            elif name == "join":
                held.append(torch.cat([held[first].reshape(-1), held[second].reshape(-1)])[: SIDE * SIDE * 4])
            elif name == "replace":
                held[second] = held[first].cos()
            elif name == "add":
                held.append(held[first].reshape(-1)[:1] + held[second])
            else:
                held.append(UNARY[name](held[first]))
        return held[len(held) // 2 :]

    return run


STEP = st.tuples(st.sampled_from(["drop", "drop", "join", "replace", "add", *UNARY]), st.integers(0, 50), st.integers(0, 50))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.lists(STEP, max_size=14))
def test_the_timeline_is_that_of_a_real_run(steps: list[Step]) -> None:
    function = program(steps)
    graph = flopscope.analyze(function, f"{SIDE}x{SIDE}").graph
    found = flopscope.analyze(function, f"{SIDE}x{SIDE}").memory
    with torch.inference_mode():
        x = torch.rand(SIDE, SIDE)
        watch = Watch()
        watch.meet(x)
        with watch:
            function(x)
    # An alias op stands for no call: it says that memory was written under a view.
    ours = [count for count, op in zip(found.timeline.live_bytes, graph.ops, strict=True) if op.kind != "alias"]
    assert ours == watch.live
