"""Published tables of latencies: what a block table says of published networks, and what a predictor learns from 500 networks.

It is the proof ``tables`` of `benchmarks.latency`. Times of networks are in milliseconds, as the papers and
the data give them. Nothing is measured here. ``floor_ms`` is what no predictor can be expected to beat: on NAS-Bench-201, by how much the
times of cells differ that run the same operations (their inner nodes exchanged), as the root mean square error of one; on FBNet, what a
sum over layers leaves over that was fitted to all networks.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from flopscope.latency.block import BOTTLENECK, Block
from flopscope.latency.blocks import NINE_IN_TEN, BlockTable
from flopscope.latency.configs import blocks_of_config, image_size_of
from flopscope.latency.predictor import NetworkPredictor, Predictor
from flopscope.latency.spaces import FBNET_OPERATIONS, cell_features, cell_of, choice_features, mirrored

Array = NDArray[np.float64]
PAPER = {"mobile": 78, "cpu": 116, "gpu": 124}
"""Milliseconds on a Pixel 1: Cai et al. 2019, arXiv:1812.00332, table 4."""
RESULTS = Path(__file__).parent / "results" / "latency_tables.json"
TRAINED_ON = 500
SEEDS = (0, 1, 2)
NEAR_ZERO = 0.05
"""Of the median: a cell that is faster ignores its input."""


def tables() -> dict[str, Any]:
    """Print everything, and keep it as JSON."""
    folder = os.environ.get("FLOPSCOPE_DATA")
    if not folder:
        raise SystemExit("FLOPSCOPE_DATA names no folder with published data")
    data = Path(folder) / "nas"
    start = time.perf_counter()
    found: dict[str, Any] = {"proxylessnas": proxylessnas(data), "ofa": once_for_all(data), "held_out_blocks": held_out_blocks(data)}
    for space, rows in (("nasbench201", _nasbench201(data)), ("fbnet", _fbnet(data))):
        found[space] = list(_devices(space, *rows))
    found["seconds"] = round(time.perf_counter() - start, 1)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


# -- block tables -------------------------------------------------------------------------------------------


def proxylessnas(data: Path) -> list[dict[str, Any]]:
    """The published networks through the Pixel 1 table; blocks that it lacks are predicted from those that it has."""
    table = BlockTable.load(data / "proxylessnas" / "mobile_trim.yaml")
    predictor = _learned(table)
    rows = []
    for name, paper in PAPER.items():
        blocks = blocks_of_config(data / "proxylessnas" / f"proxyless_{name}.config")
        known = table.total_of(blocks)
        times = [table.find(block) or predictor.estimate(block) for block in blocks]
        assert None not in times
        total = sum((time for time in times if time is not None), start=known * 0)
        shown = {"network": name, "paper_ms": paper, "blocks": len(blocks), "in_table": len(blocks) - known.unknown}
        milliseconds = {
            "table_ms": known.seconds * 1e3,
            "all_ms": total.seconds * 1e3,
            "low_ms": total.low * 1e3,
            "high_ms": total.high * 1e3,
        }
        macs = sum(block.cost.macs for block in blocks) / 1e6
        if name == "mobile":
            shown["table_ms_at_24"] = table.total_of(_narrowed(blocks)).seconds * 1e3
        rows.append({**shown, **milliseconds, "error": total.seconds * 1e3 / paper - 1, "ms_by_macs": 0.0, "mmacs": macs})
    pairs = [(block.cost.macs / 1e6, estimate.seconds * 1e3) for block, estimate in _entries(table)]
    rate = sum(ms for _, ms in pairs) / sum(macs for macs, _ in pairs)
    for row in rows:
        row["ms_by_macs"] = row["mmacs"] * rate
    _show("ProxylessNAS's networks through its Pixel 1 table (ms)", rows)
    return rows


def _narrowed(blocks: Sequence[Block]) -> list[Block]:
    """The same network with 24 channels in its second stage, as the search space of the table has, where the published one has 32."""

    def narrow(size: tuple[int, ...]) -> tuple[int, ...]:
        return (*size[:2], 24) if size == (56, 56, 32) else size

    return [replace(block, input=narrow(block.input), output=narrow(block.output)) for block in blocks]


def once_for_all(data: Path) -> list[dict[str, Any]]:
    """Networks of Once-for-All, none of whose blocks were seen, by what the Note 10 tables and the Pixel 1 table teach a predictor."""
    entries = [entry for path in sorted((data / "ofa").glob("note10_*.yaml")) for entry in _entries(BlockTable.load(path))]
    note10 = Predictor.fit([block for block, _ in entries], [estimate.seconds for _, estimate in entries], "learned from Note 10 tables")
    pixel1 = _learned(BlockTable.load(data / "proxylessnas" / "mobile_trim.yaml"))
    found = []
    for device, predictor in (("note10", note10), ("pixel1", pixel1)):
        for path in sorted((data / "ofa").glob(f"{device}_lat*.net.config")):
            size = image_size_of(path.with_name(path.name.replace(".net.", ".run.")))
            blocks = blocks_of_config(path, size, middle=True)
            total = predictor.total_of(blocks)
            measured = float(path.name.split("lat-")[1].split("ms")[0])
            row = {"network": path.name.split("_top1")[0], "image": size, "mmacs": sum(block.cost.macs for block in blocks) / 1e6}
            times = {"measured_ms": measured, "predicted_ms": total.seconds * 1e3, "low_ms": total.low * 1e3, "high_ms": total.high * 1e3}
            found.append({**row, **times, "error": total.seconds * 1e3 / measured - 1, "unknown_blocks": total.unknown})
    _show("Once-for-All's networks (ms)", found)
    return found


def held_out_blocks(data: Path) -> dict[str, Any]:
    """Ten folds over the inverted bottlenecks of the Pixel 1 table, and what that error is in networks of its search space."""
    table = BlockTable.load(data / "proxylessnas" / "mobile_trim.yaml")
    entries = [(block, estimate.seconds * 1e3) for block, estimate in _entries(table)]
    rng = np.random.default_rng(0)
    order = rng.permutation([position for position, (block, _) in enumerate(entries) if block.kind == BOTTLENECK])
    predicted = {}
    inside = []
    for fold in range(10):
        out = set(order[fold::10].tolist())
        seen = [entry for position, entry in enumerate(entries) if position not in out]
        predictor = Predictor.fit([block for block, _ in seen], [ms / 1e3 for _, ms in seen])
        for position in out:
            estimate = predictor.estimate(entries[position][0])
            assert estimate is not None
            predicted[position] = estimate.seconds * 1e3
            inside.append(estimate.low <= entries[position][1] / 1e3 <= estimate.high)
    measured = np.array([ms for _, ms in entries])
    error = np.array([predicted.get(position, ms) - ms for position, ms in enumerate(measured)])
    relative = np.abs(error[order] / measured[order])
    networks = _random_networks([block for block, _ in entries], rng)
    spread = np.array([(estimate.high - estimate.seconds) * 1e3 / NINE_IN_TEN for _, estimate in _entries(table)])
    sums = [(float(measured[chosen].sum()), float(error[chosen].sum())) for chosen in networks]
    found = {
        "blocks": len(order),
        "rmse_ms": float(np.sqrt((error[order] ** 2).mean())),
        "median_error": float(np.median(relative)),
        "inside_bar": float(np.mean(inside)),
        "networks": len(networks),
        "network_mean_ms": float(np.mean([total for total, _ in sums])),
        "network_spread_ms": float(np.std([total for total, _ in sums])),
        "network_noise_ms": float(np.sqrt(np.mean([(spread[chosen] ** 2).sum() for chosen in networks]))),
        "network_bias_ms": float(np.mean([off for _, off in sums])),
        "network_rmse_ms": float(np.sqrt(np.mean([off**2 for _, off in sums]))),
    }
    _show("Blocks of the Pixel 1 table that were held out (ten folds)", [found])
    return found


def _random_networks(blocks: Sequence[Block], rng: np.random.Generator, count: int = 1000) -> list[list[int]]:
    """Networks of ProxylessNAS's space, as indices: in each stage a first block, then up to three that keep the size."""
    by_size: dict[tuple[Any, ...], list[int]] = {}
    for position, block in enumerate(blocks):
        by_size.setdefault((block.kind, block.input, block.output, block.idskip), []).append(position)
    networks = []
    for _ in range(count):
        chosen = []
        for (_, _, _, skip), candidates in by_size.items():
            chosen += rng.choice(candidates, size=int(rng.integers(0, 4)) if skip else 1).tolist()
        networks.append(chosen)
    return networks


def _entries(table: BlockTable) -> list[tuple[Block, Any]]:
    return [(Block.parse(key), estimate) for key, estimate in table.times.items()]


def _learned(table: BlockTable) -> Predictor:
    entries = _entries(table)
    return Predictor.fit([block for block, _ in entries], [estimate.seconds for _, estimate in entries], f"learned from {table.name}")


# -- networks of search spaces ------------------------------------------------------------------------------

Measured = tuple[list[dict[str, float]], Array, dict[str, Array], list[tuple[int, int]]]
"""Features, MACs in millions, milliseconds by device, and pairs of networks that run the same operations."""


def _nasbench201(data: Path) -> Measured:
    with gzip.open(data / "nasbench201.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    cells = [cell_of(row["arch"]) for row in rows]
    devices = [name for name in rows[0] if name.startswith("lat_") or name.endswith("_ms")]
    macs = np.array([float(row["macs_c100"]) for row in rows]) / 1e6
    features = [{**cell_features(cell), "mmacs": float(macs[index])} for index, cell in enumerate(cells)]
    times = {name.removeprefix("lat_").removesuffix("_ms"): np.array([float(row[name]) for row in rows]) for name in devices}
    where = {cell: index for index, cell in enumerate(cells)}
    twins = [(index, where[twin]) for cell, index in where.items() if (twin := mirrored(cell)) is not None and index < where[twin]]
    return features, macs, times, twins


def _fbnet(data: Path) -> Measured:
    with gzip.open(data / "fbnet.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    macs = np.array([float(row["macs_in"]) for row in rows]) / 1e6
    features = [choice_features([int(value) for value in row["op_idx"].split()], FBNET_OPERATIONS) for row in rows]
    for row, found in zip(macs, features, strict=True):
        found["mmacs"] = float(row)
    times = {name: np.array([float(row[name]) for row in rows]) for name in rows[0] if not name.startswith(("op_idx", "params", "macs"))}
    return features, macs, times, []


def _devices(
    space: str, features: list[dict[str, float]], macs: Array, times: Mapping[str, Array], twins: list[tuple[int, int]]
) -> Iterator[dict[str, Any]]:
    rows = []
    for device, measured in times.items():
        kept = np.flatnonzero(measured > NEAR_ZERO * np.median(measured))
        scores = [_scores(features, macs, measured, kept, seed) for seed in SEEDS]
        row = {"device": device, "networks": len(kept), "spread_ms": float(measured[kept].std())}
        row |= {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
        if twins:
            pairs = np.array([pair for pair in twins if min(measured[list(pair)]) > NEAR_ZERO * np.median(measured)])
            apart = measured[pairs[:, 0]] - measured[pairs[:, 1]]
            row["floor_ms"] = float(np.sqrt((apart**2).mean() / 2))
        else:
            row["floor_ms"] = _beside_a_sum(features, measured)
        rows.append(row)
        yield row
    names = ("rho", "rho_flops", "rmse_ms", "rmse_flops_ms", "covered")
    _show(f"{space}: learned from {TRAINED_ON} networks, {len(SEEDS)} draws, the rest predicted", rows)
    print("median: " + ", ".join(f"{name} {np.median([row[name] for row in rows]):.3f}" for name in names) + "\n")


def _scores(features: list[dict[str, float]], macs: Array, measured: Array, kept: NDArray[np.int64], seed: int) -> dict[str, float]:
    order = np.random.default_rng(seed).permutation(kept)
    seen, rest = order[:TRAINED_ON], order[TRAINED_ON:]
    predictor = NetworkPredictor.fit([features[index] for index in seen], measured[seen] / 1e3)
    learned = predictor.seconds([features[index] for index in rest]) * 1e3
    slope, intercept = np.polyfit(macs[seen], measured[seen], 1)
    line = slope * macs[rest] + intercept
    bounds = predictor.regression
    error = measured[rest] / 1e3 - learned / 1e3
    return {
        "rho": _spearman(learned, measured[rest]),
        "rho_flops": _spearman(macs[rest], measured[rest]),
        "rmse_ms": _rmse(learned, measured[rest]),
        "rmse_flops_ms": _rmse(line, measured[rest]),
        "covered": float(((error >= bounds.below - 1e-12) & (error <= bounds.above + 1e-12)).mean()),
        "trust": bounds.trust,
    }


def _beside_a_sum(features: list[dict[str, float]], measured: Array) -> float:
    """What a sum over places leaves over that is fitted to all networks: noise, and what is no sum."""
    names = sorted({name for row in features for name in row if name[0].isdigit()})
    design = np.array([[1.0, *(row.get(name, 0.0) for name in names)] for row in features])
    found, _, rank, _ = np.linalg.lstsq(design, measured, rcond=None)
    return float(np.sqrt(((measured - design @ found) ** 2).sum() / (len(measured) - rank)))


def _rmse(given: Array, wanted: Array) -> float:
    return float(np.sqrt(((given - wanted) ** 2).mean()))


def _spearman(one: Array, other: Array) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


def _show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    print(f"{title}\n\n{tabulate([dict(row) for row in rows], headers='keys', tablefmt='github', floatfmt='.3f')}\n", flush=True)
