"""``--set KEY=VALUE``: values as Python or JSON would write them, anything else as text."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any

from flopscope.errors import OptionError


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """The settings by key.

    Raises:
        OptionError: a text is not ``KEY=VALUE``, or names a key twice.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier():
            raise OptionError(f"--set {text!r} is not KEY=VALUE, as in --set num_hidden_layers=80")
        if key in settings:
            raise OptionError(f"--set gives {key!r} twice")
        settings[key] = value_of(value.strip())
    return settings


def value_of(text: str) -> Any:
    """A value as Python or JSON would write it, or else the text itself."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text
