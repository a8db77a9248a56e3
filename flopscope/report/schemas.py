"""The published schemas of what is written as JSON, by name and version.

What is written says which it is: ``"schema": "flopscope.report/1"``. The number grows when a key is removed or changes its meaning.
"""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

from flopscope.errors import OptionError

Written = Literal["report", "diff", "check"]
_VERSIONS: dict[str, int] = {"report": 1, "diff": 1, "check": 1}


def identifier(what: Written) -> str:
    """What the key ``schema`` holds.

    Examples:
        >>> identifier("report")
        'flopscope.report/1'
    """
    return f"flopscope.{what}/{_VERSIONS[what]}"


def schema_text(what: Written) -> str:
    """The JSON Schema (draft 2020-12) of a report, a diff or a check.

    Raises:
        OptionError: there is no such schema.
    """
    from importlib.resources import files

    if what not in get_args(Written):
        raise OptionError(f"there is no schema of {what!r}; choose one of {', '.join(get_args(Written))}")
    return (files("flopscope.report") / "schema" / f"{what}-{_VERSIONS[what]}.json").read_text(encoding="utf-8")


def schema(what: Written) -> dict[str, Any]:
    """The same as plain data.

    Raises:
        OptionError: there is no such schema.

    Examples:
        >>> schema("report")["properties"]["schema"]
        {'const': 'flopscope.report/1'}
    """
    found: dict[str, Any] = json.loads(schema_text(what))
    return found
