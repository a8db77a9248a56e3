"""Models in wrappers that add nothing to the cost of one call: what is inside them is analysed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn


def unwrapped(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The model inside `torch.compile`, `DataParallel`, `DistributedDataParallel` or an exported program, with its inputs.

    An exported program brings example inputs, which are taken where none are given. Replicas of a model on several devices cost what
    the model costs on the whole batch, and no communication with other processes is begun.
    """
    while True:
        if type(model).__name__ == "OptimizedModule" and isinstance(model, nn.Module):
            model = model._orig_mod
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif type(model).__name__ == "ExportedProgram" and type(model).__module__.startswith("torch.export"):
            if not args and not kwargs and model.example_inputs:
                args, kwargs = model.example_inputs
            return model.module(), tuple(args), dict(kwargs)
        elif not isinstance(model, nn.Module) and hasattr(model, "_torchdynamo_orig_callable"):
            model = model._torchdynamo_orig_callable
        else:
            return model, tuple(args), dict(kwargs)
