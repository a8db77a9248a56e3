"""A built model made ready to be trained: in training mode, with what is frozen, and with labels where it makes its own loss of them."""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from flopscope.errors import OptionError, SpecError
from flopscope.frontends.sources.loaded import Loaded


def for_training(loaded: Loaded, frozen: Sequence[str] = ()) -> tuple[Loaded, nn.Module]:
    """The same model in training mode, on the same inputs.

    A language model of transformers gets its own inputs as labels, as it is trained.

    Args:
        loaded: the model of a SPEC.
        frozen: patterns such as ``"features.*"`` of the names of the parameters that are not trained.

    Raises:
        SpecError: the SPEC names a function, which has no parameters to train.
        OptionError: a pattern matches no parameter.
    """
    model = loaded.model
    if not isinstance(model, nn.Module):
        raise SpecError(f"{loaded.name} is no torch.nn.Module, so it has no parameters to train")
    model.train()
    named = dict(model.named_parameters())
    for pattern in frozen:
        matching = fnmatch.filter(named, pattern)
        if not matching:
            near = ", ".join(list(named)[:3])
            raise OptionError(f"no parameter of {loaded.name} matches {pattern!r}; they are called {near}, ...")
        for name in matching:
            named[name].requires_grad_(False)
    return _with_labels(loaded, model), model


def _with_labels(loaded: Loaded, model: nn.Module) -> Loaded:
    ids: Any = loaded.kwargs.get("input_ids")
    names = inspect.signature(model.forward).parameters
    makes_words = any(sign in type(model).__name__ for sign in ("ForCausalLM", "LMHeadModel", "ForMaskedLM", "ForConditionalGeneration"))
    if "labels" not in names or "labels" in loaded.kwargs or not makes_words or not isinstance(ids, Tensor) or ids.dtype is not torch.int64:
        return loaded
    note = "labels as long as the inputs were given, so that the model makes its own loss"
    more = {"use_cache": False} if "use_cache" in names else {}
    return replace(loaded, kwargs={**loaded.kwargs, "labels": ids, **more}, notes=(*loaded.notes, note))
