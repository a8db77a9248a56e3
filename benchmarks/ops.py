"""How many of torch's ops are priced, free, or not counted: ``python -m benchmarks.ops [--list]``.

Prints a Markdown table, one row per namespace, in ops (overloads in parentheses), and writes ``benchmarks/results/ops.json``.
With ``--list`` it prints each op that is not counted, and why.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from flopscope.analyses.coverage import Group, Standing, standings

COLUMNS = {
    "priced": (Group.PRICED,),
    "free, with a reason": (Group.FREE, Group.VALUE),
    "opened": (Group.OPENED,),
    "not counted, with a reason": (Group.UNCOUNTED,),
    "in no group": (Group.UNKNOWN,),
}
OUTPUT = Path("benchmarks/results/ops.json")


def counts(found: Sequence[Standing]) -> dict[str, tuple[int, int]]:
    """Ops and overloads in each column."""
    by_op = Counter({standing.op: standing.group for standing in found}.values())
    by_overload = Counter(standing.group for standing in found)
    return {name: (sum(by_op[group] for group in groups), sum(by_overload[group] for group in groups)) for name, groups in COLUMNS.items()}


def namespaces(found: Sequence[Standing]) -> dict[str, list[Standing]]:
    """The standings of each namespace, the largest first."""
    result: dict[str, list[Standing]] = {}
    for standing in found:
        result.setdefault(standing.op.partition("::")[0], []).append(standing)
    return dict(sorted(result.items(), key=lambda item: -len(item[1])))


def main() -> None:
    """Print the table and write the result."""
    found = list(standings())
    if "--list" in sys.argv[1:]:
        reasons: dict[str, set[str]] = {}
        for standing in found:
            if standing.group in (Group.UNCOUNTED, Group.UNKNOWN):
                reasons.setdefault(standing.reason or "no rule and no reason", set()).add(standing.op)
        for reason, ops in sorted(reasons.items()):
            print(f"{reason}:\n  {', '.join(sorted(ops))}")
        return
    rows = {"all": counts(found)} | {name: counts(standings) for name, standings in namespaces(found).items()}
    table = [[name, *(f"{ops} ({overloads})" if ops else "" for ops, overloads in row.values())] for name, row in rows.items()]
    print(tabulate(table, [f"torch {torch.__version__}: ops (overloads)", *COLUMNS], tablefmt="github", disable_numparse=True))
    result: dict[str, Any] = {"torch": torch.__version__, "ops_and_overloads": rows}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
