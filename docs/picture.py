"""Draws the picture in the README from what the command prints: ``python docs/picture.py``."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

import flopscope

COMMAND = "flopscope analyze torchvision:mobilenet_v2 --depth 2"


def main() -> None:
    """Write ``docs/analyze.svg``."""
    loaded = flopscope.load("torchvision:mobilenet_v2")
    text = loaded.noted(flopscope.analyze(loaded.model, *loaded.args)).to_text(depth=2)
    lines = text.splitlines()
    shown = [*lines[:8], *("│  ⋮" for _ in range(1)), *lines[19:]]  # the middle of the network looks like its ends
    console = Console(record=True, width=max(map(len, shown)) + 2, file=Path("/dev/null").open("w"))
    console.print(Text.assemble(("$ ", "green"), (COMMAND, "bold")))
    for number, line in enumerate(shown):
        styled = Text(line, style="bold" if number < 2 else "")
        styled.highlight_regex(r"[│├└─]+", "bright_black")
        styled.highlight_regex(r"^(MACs|FLOPs|params|access|inputs)\b", "cyan")
        console.print(styled)
    svg = console.export_svg(title="flopscope", theme=MONOKAI, unique_id="flopscope")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # no request to a font server
    Path(__file__).with_name("analyze.svg").write_text(svg.replace("Fira Code", "ui-monospace, SFMono-Regular, Menlo, Consolas"), encoding="utf-8")


if __name__ == "__main__":
    main()
