"""What can be set of an optimizer that changes its memory or its operations."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from flopscope.errors import OptionError


@dataclass(frozen=True, slots=True)
class Settings:
    """Only whether a number is zero matters for most of them, so that ``momentum=0.9`` and ``momentum=True`` are the same."""

    momentum: bool = False
    dampening: bool = False
    nesterov: bool = False
    weight_decay: bool = False
    """Added to the gradient."""
    decoupled: bool = False
    """Taken from the parameter instead, as AdamW does."""
    amsgrad: bool = False
    centered: bool = False
    maximize: bool = False
    master_weights: bool = False
    """Keep a float32 copy of every parameter of fewer bits, and work on it."""
    block_size: int = 256
    """Elements that share one scale in an 8-bit state. bitsandbytes had 2048 before its version 0.45."""
    min_8bit_size: int = 4096
    """A parameter with fewer elements keeps states of 32 bits."""
    newton_schulz_steps: int = 5

    def changed(self, optimizer: str, allowed: tuple[str, ...], given: dict[str, Any]) -> Settings:
        """The same with other values.

        Raises:
            OptionError: the optimizer has no such setting, or the value is no number.
        """
        kinds = {field.name: field.type for field in fields(self)}
        for name, value in given.items():
            if name not in allowed:
                raise OptionError(
                    f"the optimizer {optimizer!r} has no setting {name!r} that its cost depends on; it has {', '.join(allowed)}"
                )
            if not isinstance(value, (bool, int, float)) or value < 0 or (kinds[name] == "int" and (value < 1 or value != int(value))):
                what = "a whole number above zero" if kinds[name] == "int" else "True, False or a number that is not negative"
                raise OptionError(f"{name} of the optimizer {optimizer!r} must be {what}, but is {value!r}")
        values: dict[str, Any] = {name: int(value) if kinds[name] == "int" else bool(value) for name, value in given.items()}
        return replace(self, **values)
