"""Published tables of the latencies of blocks, as sources of times.

Three formats are read: the YAML tables of ProxylessNAS (milliseconds with a count and a variance of each block on a Pixel 1) and of
Once-for-All (the same with a standard deviation, on a Note 10), and the JSON table of FBNet's blocks by layer.
"""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flopscope.errors import FlopscopeError, MissingPackageError, OptionError
from flopscope.graph import Graph, Op
from flopscope.latency.block import Block
from flopscope.latency.estimate import Estimate, combined
from flopscope.latency.matching import blocks_of

NINE_IN_TEN = 1.6448536269514722
"""Standard deviations on either side of the mean that hold nine of ten draws of a normal distribution."""
MILLISECONDS_PER_SECOND = 1000
LARGEST_FILE = 2**26
"""Bytes. Published tables have a few kilobytes."""


@dataclass(frozen=True)
class BlockTable:
    """Measured times of blocks by key. A time that the table lacks is not guessed.

    As a `LatencySource` it finds the blocks of a graph (`flopscope.latency.matching`); an op by itself is no block, so its time is unknown.
    """

    name: str
    times: Mapping[str, Estimate]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BlockTable:
        """Read a YAML table of ProxylessNAS or Once-for-All. Tags that would make objects are refused.

        Raises:
            OptionError: the file cannot be read, or is no such table.
            MissingPackageError: PyYAML is not installed.
        """
        content = _yaml(path)
        if not isinstance(content, dict) or not content:
            raise OptionError(f"{path} is no table of blocks: it must map keys such as 'Conv-input:224x224x3-output:112x112x32' to times")
        times = {}
        for key, entry in content.items():
            try:
                block = Block.parse(key)
            except (FlopscopeError, AttributeError) as error:
                raise OptionError(f"{path} is no table of blocks: {error}") from error
            times[block.key] = _measured(path, block.key, entry)
        return cls(Path(path).stem, times)

    def of(self, block: Block | str) -> Estimate:
        """The time of a block.

        Raises:
            OptionError: the table does not have it; the message names the nearest that it has.
        """
        key = block.key if isinstance(block, Block) else block.rstrip(":")
        found = self.times.get(key)
        if found is None:
            near = difflib.get_close_matches(key, self.times, n=1, cutoff=0.6)
            instead = f"; the nearest that it has is {near[0]!r}" if near else ""
            raise OptionError(f"the table {self.name} has no time for the block {key!r}{instead}. It has {len(self.times)} blocks.")
        return found

    def find(self, block: Block | str) -> Estimate | None:
        """The time of a block; ``None`` where the table does not have it."""
        return self.times.get(block.key if isinstance(block, Block) else block.rstrip(":"))

    def total_of(self, blocks: Iterable[Block | str]) -> Estimate:
        """The time of blocks that run one after the other: a lower bound, that says so, where the table lacks some."""
        listed = list(blocks)
        times = [self.find(block) for block in listed]
        missing = [str(block) for block, time in zip(listed, times, strict=True) if time is None]
        return combined(times, why=f"the table {self.name}" + (f" without {_listed(missing)}" if missing else ""))

    def estimate(self, op: Op) -> Estimate | None:  # noqa: ARG002 - what every source of times has
        """Unknown: a table of blocks does not know what an op takes by itself."""
        return None

    def total(self, graph: Graph) -> Estimate:
        """The time of the blocks of a graph. Contractions that belong to no block, and blocks that are not in the table, are unknown."""
        blocks, others = blocks_of(graph)
        found = self.total_of(blocks)
        return found if not others else combined((found, *[None] * len(others)), why=f"{found.why}; {len(others)} ops belong to no block")


def _listed(keys: list[str], most: int = 3) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def _measured(path: Any, key: str, entry: Any) -> Estimate:
    """One entry: ``count`` measurements with a ``mean`` in milliseconds, and a ``var`` or ``std`` of one."""
    try:
        mean, count = entry["mean"], entry["count"]
        deviation = entry["std"] if "std" in entry else _root(entry["var"])
        for value in (mean, count, deviation):
            if type(value) not in (int, float) or not 0 <= value <= 1e9:
                raise ValueError(f"{value!r} is no number from 0 to 1e9")
    except (KeyError, TypeError, ValueError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise OptionError(f"{path} is no table of blocks: {key!r} needs a mean, a count, and a std or var, in ms, but {why}") from error
    half = NINE_IN_TEN * deviation
    seconds, low, high = (value / MILLISECONDS_PER_SECOND for value in (mean, max(0.0, mean - half), mean + half))
    return Estimate(seconds, low, high, f"mean of {count}")


def _root(variance: Any) -> float:
    if type(variance) not in (int, float) or not variance >= 0:
        raise ValueError(f"{variance!r} is no variance")
    return math.sqrt(variance)


def _yaml(path: str | os.PathLike[str]) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingPackageError("tables in YAML need PyYAML, which is not installed: pip install 'flopscope[latency]'") from error
    text = _text(path)
    try:
        return yaml.load(text, Loader=_loader())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OptionError(f"{path} is no table of blocks in YAML that can be read safely: {first}") from error


def _loader() -> Any:
    """PyYAML's safe loader, which makes plain data only, without aliases (which can make a small file huge) and repeated keys."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise yaml.YAMLError("aliases are not allowed")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = [key.value for key, _ in node.value]
            for name in {str(name) for name in names if names.count(name) > 1}:
                raise yaml.YAMLError(f"the key {name!r} is there twice")
            return super().construct_mapping(node, deep)

    return Loader


def _text(path: str | os.PathLike[str]) -> str:
    try:
        if Path(path).stat().st_size > LARGEST_FILE:
            raise OptionError(f"{path} has more than {LARGEST_FILE} bytes, which is no table of blocks")
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot read a table of blocks from {path}: {getattr(error, 'strerror', None) or error}") from error


def fbnet_key(layer: int, op: str) -> str:
    """How a table of FBNet's blocks names one: by its place among the 22 layers, and the name of the op, such as ``"k5_e6"``."""
    return f"layer:{layer}-op:{op}"


FBNET_REST = "rest"
"""The key of everything in an FBNet outside its blocks, and of the cheapest op of each layer."""


def fbnet_tables(path: str | os.PathLike[str]) -> dict[str, BlockTable]:
    """The tables by device of a file such as ``fbnet_lut.json``.

    Its rows were recovered from sums over networks, so each is known only up to a constant, and some times are negative. Only the sum over
    all 22 layers and the rest is a time. Here each row is shifted so that its cheapest op takes zero, and the rest takes up the difference.

    Raises:
        OptionError: the file cannot be read, or is no such table.
    """
    try:
        content = json.loads(_text(path))
        ops, devices = [str(op) for op in content["ops"]], content["luts"]
        return {str(device): BlockTable(f"{device} (FBNet)", dict(_fbnet_times(ops, lut))) for device, lut in devices.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OptionError(f"{path} is no table of FBNet's blocks: {type(error).__name__}: {error}") from error


def _fbnet_times(ops: list[str], lut: Mapping[str, Any]) -> Iterator[tuple[str, Estimate]]:
    rest = _finite(lut["const"])
    for layer, row in enumerate(lut["table"]):
        if len(row) != len(ops):
            raise ValueError(f"layer {layer} has {len(row)} times for {len(ops)} ops")
        values = [_finite(value) for value in row]
        rest += min(values)
        for op, value in zip(ops, values, strict=True):
            seconds = (value - min(values)) / MILLISECONDS_PER_SECOND
            yield fbnet_key(layer, op), Estimate(seconds, seconds, seconds, "more than the cheapest op of the layer")
    if rest < 0:
        raise ValueError(f"the cheapest network would take {rest} ms")
    seconds = rest / MILLISECONDS_PER_SECOND
    yield FBNET_REST, Estimate(seconds, seconds, seconds, "the cheapest network")


def _finite(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no time")
    return float(value)
