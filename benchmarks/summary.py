"""The table of the README from a result file: ``python -m benchmarks.summary [benchmarks/results/analyzer.json]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

BASELINE = "FlopCounterMode"


def rows(models: dict[str, Any]) -> list[list[str]]:
    """A row per counter: its time as a share of the baseline's, its memory, and on how many models it counts as published."""
    counters = list(next(iter(models.values()))["counters"])
    table = []
    for name in counters:
        found = [(model, model["counters"][name]) for model in models.values() if name in model["counters"]]
        shares = [row["median_seconds"] / model["counters"][BASELINE]["median_seconds"] for model, row in found if row["median_seconds"]]
        if not shares:
            table.append([name, found[0][1]["failure"], "", ""])
            continue
        right = sum(round((row["macs"] or 0) / 1e9, 3) == model["published_gmacs"] for model, row in found)
        peaks = [row["peak_bytes"] / 2**20 for _, row in found if row["peak_bytes"] is not None]
        memory = f"{median(peaks):.0f}" if peaks else ""
        counts = "" if name.startswith("bare") else f"{right} of {len(models)}"
        table.append([name, f"{median(shares):.3f} ({min(shares):.3f} to {max(shares):.3f})", memory, counts])
    return table


def main() -> None:
    """Print the table as Markdown."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/results/analyzer.json")
    models = json.loads(path.read_text())["models"]
    headers = ["counter", f"time / {BASELINE}, median of {len(models)} models (range)", "peak MB, median", "counts as published"]
    print(tabulate(rows(models), headers, tablefmt="github", disable_numparse=True, colalign=("left", "right", "right", "right")))


if __name__ == "__main__":
    main()
