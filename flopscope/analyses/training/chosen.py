"""The optimizer that a user names."""

from __future__ import annotations

import difflib

from flopscope.analyses.training.optimizers import OPTIMIZERS, Optimizer
from flopscope.analyses.training.optimizers import optimizer as named
from flopscope.errors import OptionError


def optimizer_of(optimizer: str | Optimizer) -> Optimizer:
    """The optimizer of a name, with settings behind a colon if need be: ``"sgd:momentum=0.9"``.

    Raises:
        OptionError: there is no such optimizer or setting.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if not isinstance(optimizer, str):
        kinds = "a name such as 'adamw' or an Optimizer of flopscope.analyses.training.optimizers"
        raise OptionError(f"the optimizer must be {kinds}, but is {optimizer!r}; one of torch.optim goes by its name")
    name, _, settings = optimizer.partition(":")
    if name.lower() not in OPTIMIZERS:
        near = difflib.get_close_matches(name.lower(), OPTIMIZERS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise OptionError(f"there is no optimizer {name!r}: {hint}choose one of {', '.join(OPTIMIZERS)}")
    return named(name.lower(), **dict(map(_setting, settings.split(",")))) if settings else named(name.lower())


def _setting(text: str) -> tuple[str, float | bool]:
    name, equals, value = text.partition("=")
    if not equals:
        return name.strip(), True
    if value.strip().lower() in ("true", "false"):
        return name.strip(), value.strip().lower() == "true"
    try:
        return name.strip(), float(value)
    except ValueError:
        raise OptionError(f"the setting {text!r} of an optimizer is no number: write it as in 'sgd:momentum=0.9'") from None
