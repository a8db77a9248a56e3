"""What must hold while a model is traced, and is put back after: how torch runs, and the garbage collector."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.jit._fuser import optimized_execution


def compiler_is_loaded() -> bool:
    """Whether torch's compiler has been imported, as it is when a model first compiles something."""
    return "torch._dynamo" in sys.modules


@contextmanager
def as_written(has_scripts: bool) -> Iterator[None]:
    """Run compiled functions and scripted modules as they were written, not as a compiler would rearrange them."""
    with ExitStack() as stack:
        if compiler_is_loaded():
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if has_scripts:
            stack.enter_context(optimized_execution(False))
        yield


@contextmanager
def autograd(wanted: bool) -> Iterator[None]:
    """Trace with autograd where the forward itself takes gradients, and in inference mode, where ops arrive whole, otherwise."""
    if wanted:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    else:
        with torch.inference_mode():
            yield


@contextmanager
def without_collection() -> Iterator[None]:
    """Keep the garbage collector from walking all of torch in the middle of a few milliseconds of work."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
