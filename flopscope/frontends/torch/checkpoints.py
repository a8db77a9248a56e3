"""Activation checkpointing: chosen modules keep only their inputs, and run again in the backward pass."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from flopscope.errors import OptionError

AUTO = "auto"


def chosen(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """The paths of the modules that match the patterns, none of which lies inside another. ``"auto"`` stands for the repeated blocks.

    Raises:
        OptionError: a pattern matches nothing.
    """
    paths = [path for path, _ in model.named_modules() if path]
    found: list[str] = []
    for pattern in patterns:
        matching = repeated_blocks(model) if pattern == AUTO else fnmatch.filter(paths, pattern)
        if not matching:
            what = "no block that is repeated" if pattern == AUTO else f"no module whose path matches {pattern!r}"
            raise OptionError(f"there is {what} to checkpoint; name modules, such as {', '.join(map(repr, paths[:3])) or 'none'}")
        found += matching
    return [path for path in dict.fromkeys(found) if not any(path.startswith(f"{other}.") for other in found)]


def repeated_blocks(model: nn.Module) -> list[str]:
    """The paths of the blocks that a network repeats: the members of one class in a list or sequence of at least two, the outermost."""
    found: list[str] = []
    for path, module in model.named_modules():
        if isinstance(module, (nn.ModuleList, nn.Sequential)) and not any(f"{path}.".startswith(f"{other}.") for other in found):
            classes = Counter(type(child) for child in module)
            kept = [name for name, child in module.named_children() if classes[type(child)] > 1 and any(True for _ in child.children())]
            found += [f"{path}.{name}" if path else name for name in kept]
    return found


@contextmanager
def checkpointing(model: nn.Module, paths: Sequence[str]) -> Iterator[None]:
    """Let the modules of these paths run under checkpoints. `guard.untouched`, which must be outside, takes the wrappers off again."""
    for path in paths:
        module: Any = model.get_submodule(path)
        module.__dict__["forward"] = partial(_again, module.forward)
    yield


def _again(forward: Any, *args: Any, **kwargs: Any) -> Any:
    # There is no randomness to repeat on tensors without data.
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)
