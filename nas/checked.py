"""Plain data out of files, which anyone may have edited, cut short or overwritten: seen to be what they should be."""

from __future__ import annotations

import reprlib
from typing import Any

from torch import Tensor

from nas.errors import RunError

ADVICE = "Restore the file, or start anew in another folder."
_WORDS = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "a table", Tensor: "a tensor",
}  # fmt: skip


def checked(data: Any, where: str, **wanted: type) -> dict[str, Any]:
    """A table with these keys, each of its type (a whole number is a number too).

    Raises:
        RunError: it is none.
    """
    if not isinstance(data, dict):
        raise RunError(f"{where} must be a table, but is {reprlib.repr(data)}. {ADVICE}")
    for key, kind in wanted.items():
        value = data.get(key)
        if type(value) is not kind and not (kind is float and type(value) is int):
            found = f"is {reprlib.repr(value)}" if key in data else "is missing"
            raise RunError(f"in {where} {key!r} {found}, and must be {_WORDS[kind]}. {ADVICE}")
    return data


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).splitlines()), type(error).__name__)
