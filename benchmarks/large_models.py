"""The largest open models, each analysed in a fresh process: seconds from start to end, peak memory, and what was found.

``python -m benchmarks.large_models [--output FILE]`` prints a Markdown table. Nothing is downloaded: the models are built from the
published fields of their configs, without memory for weights.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tabulate import tabulate

LIMIT_SECONDS, LIMIT_BYTES = 60, 2 * 10**9

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "DeepSeek-V3 671B": ("hf:deepseek_v3", {}),
    "Llama-3.1 405B": (
        "hf:llama",
        {
            "vocab_size": 128256, "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126, "num_attention_heads": 128,
            "num_key_value_heads": 8, "max_position_embeddings": 131072,
        },
    ),
    "Qwen3 235B-A22B": (
        "hf:qwen3_moe",
        {
            "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288, "moe_intermediate_size": 1536, "num_hidden_layers": 94,
            "num_attention_heads": 64, "num_key_value_heads": 4, "head_dim": 128, "num_experts_per_tok": 8, "num_local_experts": 128,
            "max_position_embeddings": 40960,
        },
    ),
    "Mixtral 8x22B": (
        "hf:mixtral",
        {
            "vocab_size": 32768, "hidden_size": 6144, "intermediate_size": 16384, "num_hidden_layers": 56, "num_attention_heads": 48,
            "num_key_value_heads": 8, "max_position_embeddings": 65536,
        },
    ),
}  # fmt: skip
PHASES: dict[str, dict[str, Any]] = {"128 tokens": {}, "decode, 4096 in the cache": {"phase": "decode", "context": 4096}}


def measure_here(name: str, phase: str) -> dict[str, Any]:
    """Analyse one model in this process."""
    import resource

    import flopscope

    spec, settings = MODELS[name]
    loaded = flopscope.load(spec, settings, **PHASES[phase])
    report = flopscope.analyze(loaded.model, execute="never", **loaded.kwargs)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "params": report.total.params,
        "active_params": report.total.params if report.experts is None else report.experts.active_params,
        "macs": report.total.macs,
        "access_bytes": report.total.access_bytes,
        "complete": report.complete,
        "peak_bytes": kilobytes * 1024,
    }


def measure(name: str, phase: str) -> dict[str, Any]:
    """Analyse one model in a process of its own; the seconds hold its start and the imports."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.large_models", "--one", name, phase]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{name}, {phase}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"model": name, "phase": phase, "seconds": seconds, **found}


def table(rows: list[dict[str, Any]]) -> str:
    """The results in Markdown."""
    headers = ["model", "call", "params", "active", "MACs", "access", "seconds", "peak memory"]
    cells = [
        [
            row["model"], row["phase"], f"{row['params'] / 1e9:.1f} B", f"{row['active_params'] / 1e9:.1f} B",
            f"{row['macs'] / 1e9:,.1f} G",
            f"{row['access_bytes'] / 1e9:,.1f} GB", f"{row['seconds']:.1f}", f"{row['peak_bytes'] / 1e6:,.0f} MB",
        ]
        for row in rows
    ]  # fmt: skip
    return str(tabulate(cells, headers, tablefmt="github", disable_numparse=True, colalign=("left", "left", *["right"] * 6)))


def main() -> None:
    """Print the table; exit with 1 if a model took more than a minute or 2 GB."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "CALL"), help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_here(*options.one)))
        return
    rows = [measure(name, phase) for name in MODELS for phase in PHASES]
    if options.output:
        options.output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(table(rows))
    if any(row["seconds"] > LIMIT_SECONDS or row["peak_bytes"] > LIMIT_BYTES or not row["complete"] for row in rows):
        raise SystemExit("a model took more than 60 seconds or 2 GB, or was not counted in full")


if __name__ == "__main__":
    main()
