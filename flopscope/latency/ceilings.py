"""How much of its peaks a device reaches: by default assumed, better calibrated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, Final

from flopscope.errors import OptionError
from flopscope.latency.device import HERE, Device, device_names
from flopscope.latency.device import device as find_device
from flopscope.latency.families import CONTRACTIONS, FAMILIES
from flopscope.latency.user_files import user_folder

COMPUTE: Final = {"conv": 0.6, "conv1x1": 0.6, "depthwise": 0.2, "grouped": 0.2, "matmul": 0.6, "attention": 0.4}
"""Assumed parts of the peak rate of arithmetic that contractions reach, by family."""
BANDWIDTH: Final = dict.fromkeys(FAMILIES, 0.7)
"""Assumed part of the bandwidth of memory that ops reach: what copies reach on most devices (McCalpin 1995, STREAM)."""
OVERLAP: Final = 1.0
CACHE_SPEEDUP: Final = 3.0
VECTOR: Final = 0.5
"""Assumed part of the rate of arithmetic outside matrix units."""
UNCALIBRATED: Final = {"gpu": 3.0, "cpu": 5.0, "phone": 5.0}
"""Assumed, by the kind of device: what a time may be off by without calibration, either way. With the numbers above, nine in ten of the
models of timm's tables are within 1.8 on an RTX 3090 and 4090 in large batches, and within 4.9 on an i9-10940X with one image.
"""
OP_FACTOR: Final = 2.0
"""Assumed: the logarithm of what a single op may be off by is so many times that of a whole model, whose ops even each other out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What a device achieves, as parts of what its datasheet says.

    A part may exceed 1: of arithmetic where an algorithm multiplies less than its definition (Winograd's convolutions) or the clock is
    higher than the one that the peak was stated for.
    """

    compute: Mapping[str, float]
    """Of the peak rate of arithmetic, by family of contractions. Depthwise convolutions run outside matrix units."""
    bandwidth: Mapping[str, float]
    """Of the bandwidth of memory, by family."""
    launch_seconds: float
    """From one kernel to the next."""
    overlap: float = OVERLAP
    """How much of the shorter one of arithmetic and movement hides behind the longer: 1 in the classical roofline, 0 where they add up."""
    cache_speedup: float = CACHE_SPEEDUP
    """How many times faster the cache is than memory."""
    factor: float = 5.0
    """Nine models in ten take from ``1 / factor`` to ``factor`` times what is said."""
    launch_factor: float = 5.0
    """The same for the overhead of launches alone, which large batches do not tell: then it is as wide as without calibration."""
    why: str = "not calibrated: assumed parts of the datasheet's peaks"
    """What all this rests on."""
    calibrated: bool = False

    @property
    def op_factor(self) -> float:
        """The same for a single op."""
        return float(self.factor**OP_FACTOR) if self.calibrated else self.factor

    def to_json(self) -> str:
        """The ceilings as JSON, which `read_ceilings` reads."""
        return json.dumps(asdict(self), indent=2) + "\n"


def assumed(device: Device) -> Ceilings:
    """The default ceilings of a device, which were not measured on it."""
    speedup = device.cache_bandwidth_bytes_per_second / device.bandwidth_bytes_per_second
    return Ceilings(
        compute=COMPUTE,
        bandwidth=BANDWIDTH,
        launch_seconds=device.launch_seconds,
        cache_speedup=speedup if speedup > 1 else CACHE_SPEEDUP,
        factor=UNCALIBRATED[device.kind],
        launch_factor=UNCALIBRATED[device.kind],
    )


def file_name(device_name: str, runtime: str, amp: str | None) -> str:
    """Where the ceilings of a device are kept, for one way to use it."""
    return f"{device_name}-{runtime}-{amp or 'float32'}.json"


def known(device: Device, runtime: str, amp: str | None) -> Ceilings:
    """The ceilings that flopscope has of a device that it knows, used in this way; where it has none, assumed ones."""
    if device.name == HERE:
        return _of_here(device, file_name(HERE, runtime, amp))
    if device != _own(device.name):
        return assumed(device)
    name = file_name(device.name, runtime, amp)
    entry = resources.files("flopscope.latency") / "calibrated" / name
    return parse_ceilings(json.loads(entry.read_text(encoding="utf-8")), name) if entry.is_file() else assumed(device)


def _of_here(device: Device, name: str) -> Ceilings:
    """Those of the last calibration, if it is of this description."""
    path = user_folder() / name
    if not path.is_file() or find_device(HERE) != device:
        return assumed(device)
    return read_ceilings(path)


def _own(name: str) -> Device | None:
    return find_device(name) if name in device_names() else None


def read_ceilings(path: Path) -> Ceilings:
    """The ceilings in a JSON file.

    Raises:
        OptionError: the file cannot be read, or holds no ceilings.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"the ceilings in {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return parse_ceilings(data, str(path))


_FACTORS: Final = ("factor", "launch_factor", "cache_speedup")


def parse_ceilings(data: Any, where: str) -> Ceilings:
    """The ceilings in plain data.

    Raises:
        OptionError: a number is missing, is not positive, or is of an unknown family.
    """
    names = {field.name for field in fields(Ceilings)}
    if not isinstance(data, dict) or not set(data) <= names or not {"compute", "bandwidth", "launch_seconds"} <= set(data):
        raise OptionError(f"{where} holds no ceilings: expected an object with compute, bandwidth, launch_seconds, and at most {names}")
    for key, wanted in (("compute", CONTRACTIONS), ("bandwidth", FAMILIES)):
        if not isinstance(data[key], dict) or set(data[key]) != set(wanted):
            raise OptionError(f"{where} holds no ceilings: {key} needs one part for each of {', '.join(wanted)}")
    numbers = [*data["compute"].values(), *data["bandwidth"].values(), *(data.get(key, 1.0) for key in _FACTORS)]
    zeros = [data["launch_seconds"], data.get("overlap", 0.0)]
    if not all(_is_number(value) and value > 0 for value in numbers) or not all(_is_number(value) and value >= 0 for value in zeros):
        raise OptionError(f"{where} holds no ceilings: every part must be a positive number, launch_seconds and overlap at least 0")
    if min(data.get(key, 1.0) for key in _FACTORS) < 1 or data.get("overlap", 0.0) > 1:
        raise OptionError(f"{where} holds no ceilings: {', '.join(_FACTORS)} are at least 1, and overlap is at most 1")
    return Ceilings(**data)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value < float("inf")
