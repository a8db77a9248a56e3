"""Every model type of the installed transformers, built from its default config and analysed on its default inputs.

``python -m benchmarks.transformers_types FOUND.jsonl [--table FILE.md]`` appends one line of JSON per type to a file, so that a
run that was cut short goes on where it stopped, and writes a Markdown table: what works on shapes alone, and what the others need. Models
that read values are run for real only with ``--execute``, which takes minutes for some.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from tabulate import tabulate


def look(name: str, execute: bool) -> dict[str, Any]:
    """Build and analyse one type."""
    import flopscope

    row: dict[str, Any] = {"type": name}
    try:
        loaded = flopscope.load(f"hf:{name}")
        row |= {"built": type(loaded.model).__name__, "inputs": loaded.input_note}
        report = flopscope.analyze(loaded.model, execute="auto" if execute else "never", **loaded.kwargs)
    except flopscope.FlopscopeError as error:
        return row | {"status": "fail", "err": f"{type(error).__name__}: {error}"}
    own = sum(parameter.numel() for parameter in loaded.model.parameters())
    uncounted = sorted({op.op for op in report.uncounted})
    return row | {"status": "ok", "macs": report.total.macs, "params": report.total.params, "np": own, "uncounted": uncounted}


def table(rows: list[dict[str, Any]], version: str) -> str:
    """The Markdown page."""
    good = [row for row in rows if row["status"] == "ok"]
    counts = Counter(_need(row) for row in rows if row["status"] != "ok")
    kinds = ", ".join(f"{count} {need}" for need, count in counts.most_common())
    intro = (
        f"# Model types of transformers {version}\n\nMade by `python -m benchmarks.transformers_types`: every type, built from its default "
        f"config and analysed on its default inputs, on shapes alone. Of {len(rows)} types {len(good)} work so; of the others: {kinds}.\n"
    )
    works = [[row["type"], row["built"], _inputs(row), f"{row['params'] / 1e6:,.1f} M", _macs(row)] for row in good]
    rest = [[row["type"], _need(row), _clean(row.get("err", ""))] for row in rows if row["status"] != "ok"]
    first = tabulate(works, ["type", "class", "inputs", "params", "MACs"], tablefmt="github", disable_numparse=True)
    second = tabulate(rest, ["type", "what it is", "message"], tablefmt="github", disable_numparse=True)
    return f"{intro}\n{first}\n\n## The others\n\n{second}\n"


def _need(row: dict[str, Any]) -> str:
    error = row.get("err", "")
    if "NeedsDataError" in error:
        return "read values and are run for real (`execute='auto'`)"
    if "is a part of another model" in error:
        return "are parts of another type"
    if "requires the" in error:
        return "need a package that is not installed"
    if "SpecError" in error:
        return "have a default config that cannot be built (`--set`, or a published config.json)"
    if error:
        return "need inputs or fields of their own (`--input`, `--set`)"
    return "took too long"


def _macs(row: dict[str, Any]) -> str:
    return f"{'at least ' if row['uncounted'] else ''}{row['macs'] / 1e9:,.3f} G"


def _inputs(row: dict[str, Any]) -> str:
    return str(row["inputs"]).removeprefix("inputs: ").removesuffix(" (change with --input NAME=SHAPE)")


def _clean(text: str) -> str:
    first = text.partition("Check that the shapes")[0].partition(": ")[2].strip().splitlines()
    return (first[0] if first else "")[:160].replace("|", "/")


def main() -> None:
    """Look at every type that the file has not got yet, then write the table."""
    import transformers

    from flopscope.frontends.sources import hf

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("found", type=Path, help="a file of JSON lines")
    parser.add_argument("--table", type=Path, help="where to write the Markdown")
    parser.add_argument("--execute", action="store_true", help="run models that read values for real")
    parser.add_argument("--only-table", action="store_true", help="look at no further type")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    rows = [json.loads(line) for line in options.found.read_text().splitlines()] if options.found.exists() else []
    with options.found.open("a", encoding="utf-8") as file:
        for name in [] if options.only_table else [name for name in hf.names() if name not in {row["type"] for row in rows}]:
            rows.append(look(name, options.execute))
            print(name, rows[-1]["status"], flush=True)
            file.write(json.dumps(rows[-1]) + "\n")
            file.flush()
    rows.sort(key=lambda row: row["type"].lower())
    if options.table:
        options.table.write_text(table(rows, transformers.__version__), encoding="utf-8")


if __name__ == "__main__":
    main()
