"""Writes ``docs/api.md`` from the docstrings: ``python docs/api_page.py``."""

from __future__ import annotations

import inspect
import re
import textwrap
from functools import cached_property
from pathlib import Path
from typing import Any

import flopscope

_HEAD = """# The API of flopscope

Written by `docs/api_page.py` from the docstrings, whose examples run in the tests. What is not here is not public.
"""


def page() -> str:
    """The whole page."""
    names = [name for name in flopscope.__all__ if name != "__version__"]
    verbs = [name for name in names if inspect.isroutine(getattr(flopscope, name))]
    others = [name for name in names if name not in verbs]
    parts = [_HEAD, "## Functions\n", *map(entry, verbs), "## Classes and modules\n", *map(entry, others)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip("\n") + "\n"


def entry(name: str) -> str:
    """One function, class or module; a class with its methods in one line each."""
    found = getattr(flopscope, name)
    lines = [f"### `flopscope.{name}`", ""]
    if inspect.isroutine(found):
        lines += ["```python", f"{name}{signature(found)}", "```", ""]
    lines.append(markdown(inspect.getdoc(found) or ""))
    if inspect.isclass(found) and not issubclass(found, Exception):
        members = [(member, value) for member, value in vars(found).items() if not member.startswith("_") and is_documented(value)]
        lines += [f"- `{member}{'()' if inspect.isfunction(value) else ''}`: {first_sentence(value)}" for member, value in members]
        lines.append("")
    return "\n".join(lines)


def signature(found: Any) -> str:
    """The parameters and the result of a function, as its source has them; written out here, because Python's own form changes."""
    parts: list[str] = []
    signature = inspect.signature(found)
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        parts.append(f"{star}{parameter.name}: {parameter.annotation}{default}")
    return f"({', '.join(parts)}) -> {signature.return_annotation}"


def is_documented(value: Any) -> bool:
    """Whether this is a method or a property; a field says what it is in the source."""
    return inspect.isfunction(value) or isinstance(value, (property, cached_property))


def first_sentence(value: Any) -> str:
    """What a docstring says in its first paragraph."""
    return " ".join(escape((inspect.getdoc(value) or "").split("\n\n")[0]).split())


def markdown(text: str) -> str:
    """A docstring as Markdown: its sections in bold, their entries as lists, its examples as code."""
    blocks: list[str] = []
    for section in re.split(r"\n(?=(?:Args|Returns|Raises|Examples):\n)", text):
        head, _, rest = section.partition("\n")
        body, after = indented(rest)
        if head == "Examples:":
            blocks.append(f"```python\n{body}\n```\n")
        elif head in ("Args:", "Raises:", "Returns:"):
            blocks.append(f"**{head[:-1]}**\n\n{entries(body)}\n")
        else:
            blocks.append(escape(section) + "\n")
            continue
        blocks.append(escape(after) + "\n")
    return "\n".join(blocks)


def indented(text: str) -> tuple[str, str]:
    """The lines of a section without their margin, and what stands after it."""
    lines = text.splitlines()
    end = next((i for i, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    return textwrap.dedent("\n".join(lines[:end])).strip("\n"), "\n".join(lines[end:])


def entries(text: str) -> str:
    """The entries of a section, each in one line."""
    joined = re.sub(r"\n(?: +)", " ", text)
    return escape("\n".join(f"- {line}" for line in joined.splitlines() if line))


def escape(text: str) -> str:
    """Double back-quotes as single ones, and asterisks of ``*args`` as such."""
    return re.sub(r"(?m)^(- )?(\*+)(\w+):", r"\1`\2\3`:", text.replace("``", "`"))


if __name__ == "__main__":
    Path(__file__).with_name("api.md").write_text(page(), encoding="utf-8")
