"""What a device can do at best, as data: peak rates, bandwidths, energies, each with its source."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

from flopscope.errors import OptionError
from flopscope.latency.user_files import user_folder

KINDS = ("gpu", "cpu", "phone")
HERE = "here"
"""The name of this machine, as a calibration describes it."""
_NUMBERS = ("bandwidth_bytes_per_second", "cache_bytes", "cache_bandwidth_bytes_per_second", "launch_seconds", "power_watts")
_REQUIRED = ("bandwidth_bytes_per_second",)
_BY_NAME = ("peak_flops", "vector_flops", "picojoules_per_mac", "picojoules_per_byte")
_TEXTS = ("title", "kind")
_DEFAULT_LAUNCH = {"gpu": 5e-6, "cpu": 5e-6, "phone": 5e-6}
_FORM = """Write it as
    title = "My accelerator"
    kind = "gpu"                                   # or "cpu", "phone"
    [bandwidth_bytes_per_second]
    value = 900e9
    source = "its datasheet"
    [peak_flops.float16]                           # per second, of matrix products; one table for each dtype
    value = 125e12
    source = "its datasheet\""""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a device can do at best. Rates are per second; ``sources`` says of each number where it comes from."""

    name: str
    title: str
    """The name that its maker gives it."""
    kind: str
    """``"gpu"``, ``"cpu"`` or ``"phone"``."""
    peak_flops: Mapping[str, float]
    """FLOPs per second of matrix products (two for a MAC), dense, by dtype of the operands."""
    bandwidth_bytes_per_second: float
    """Of its memory."""
    vector_flops: Mapping[str, float] = field(default_factory=dict)
    """FLOPs per second outside matrix units, by dtype."""
    cache_bytes: float = 0
    """The last cache before memory."""
    cache_bandwidth_bytes_per_second: float = 0
    """What that cache reads and writes; 0 where it is not known."""
    launch_seconds: float = 5e-6
    """From one op to the next, where an op has nothing to do."""
    power_watts: float = 0
    """What it may draw for long (TDP); 0 where it is not known."""
    picojoules_per_mac: Mapping[str, float] = field(default_factory=dict)
    """Energy of a multiply-accumulate alone, by dtype."""
    picojoules_per_byte: Mapping[str, float] = field(default_factory=dict)
    """Energy of moving a byte, by level: ``"memory"`` and ``"cache"``."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Of each number, such as ``"peak_flops.float16"``, who says so."""

    def peak(self, dtype: str) -> float:
        """FLOPs per second of matrix products in a dtype: its own rate, else that of the next wider type of its sort."""
        return _rate(self.peak_flops, dtype)

    def vector(self, dtype: str) -> float:
        """FLOPs per second of all other arithmetic in a dtype."""
        return _rate(self.vector_flops or self.peak_flops, dtype)

    def energy_per_mac(self, dtype: str) -> float:
        """Picojoules of one multiply-accumulate in a dtype; 0 where the device lists none."""
        return _rate(self.picojoules_per_mac, dtype) if self.picojoules_per_mac else 0.0


_WIDER = {
    "float8_e4m3fn": "float8", "float8_e5m2": "float8", "float8": "float16", "float16": "bfloat16", "bfloat16": "float16",
    "int4": "int8", "uint8": "int8", "int8": "int32", "bool": "int8", "int32": "float32", "int64": "float32", "int16": "int32",
    "float64": "float32", "complex64": "float32", "complex128": "float64",
}  # fmt: skip
"""Where a device lists no rate of its own for a dtype, the dtype whose units compute it."""


def _rate(rates: Mapping[str, float], dtype: str) -> float:
    """The rate of a dtype, or that of the types that stand in for it, float32 at last."""
    tried: list[str] = []
    while dtype not in rates and dtype not in tried:
        tried.append(dtype)
        dtype = _WIDER.get(dtype, "float32")
    return rates.get(dtype) or rates.get("float32") or max(rates.values())


def device_names() -> tuple[str, ...]:
    """The devices that flopscope knows."""
    found = (resources.files("flopscope.latency") / "devices").iterdir()
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in found if entry.name.endswith(".toml")))


@cache
def _known(name: str) -> Device:
    text = (resources.files("flopscope.latency") / "devices" / f"{name}.toml").read_text(encoding="utf-8")
    return parse_device(text, name, f"{name}.toml")


def device(name: str | Path | Device) -> Device:
    """The device of a name such as ``"rtx4090"``, of a TOML file such as ``"my.toml"``, or ``"here"``: this machine, once calibrated.

    Raises:
        OptionError: there is no such device, or the file cannot be read or describes none.

    Examples:
        >>> device("rtx4090").bandwidth_bytes_per_second
        1008000000000.0
    """
    if isinstance(name, Device):
        return name
    text = str(name)
    if text in device_names():
        return _known(text)
    if text == HERE:
        return _here()
    if not text.endswith(".toml"):
        near = difflib.get_close_matches(text.lower().replace("-", "").replace(" ", ""), device_names(), 1, 0.5)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise OptionError(
            f"there is no device {text!r}{hint}; known are {', '.join(device_names())} and {HERE}, or give a file such as my.toml"
        )
    path = Path(text)
    try:
        written = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"the device {text!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return parse_device(written, path.stem, text)


def _here() -> Device:
    path = user_folder() / f"{HERE}.toml"
    if not path.is_file():
        raise OptionError(
            f"the device {HERE!r} is this machine as flopscope calibrate measured it, but there is no {path}: calibrate first"
        )
    return device(path)


def parse_device(text: str, name: str, where: str) -> Device:
    """The device that a TOML text describes.

    Args:
        text: the TOML.
        name: what to call the device.
        where: what error messages call the text.

    Raises:
        OptionError: it is no TOML, lacks a number, has one that is not positive, without source, or of an unknown name.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{where} is no TOML: {error}. {_FORM}") from error
    return _Reader(data, where).device(name)


class _Reader:
    """Reads the tables of one file, and says what is wrong with which."""

    def __init__(self, data: dict[str, Any], where: str) -> None:
        self._data, self._where = data, where
        self._shared = data.get("sources", {})
        self._sources: dict[str, str] = {}

    def device(self, name: str) -> Device:
        known = (*_TEXTS, "sources", *_NUMBERS, *_BY_NAME)
        strange = [key for key in self._data if key not in known]
        if strange:
            self._refuse(f"has {strange[0]!r}, which is none of {', '.join(known)}")
        if not isinstance(self._shared, dict) or not all(isinstance(value, str) for value in self._shared.values()):
            self._refuse("has 'sources' that are no table of texts")
        kind = str(self._data.get("kind"))
        if kind not in KINDS:
            self._refuse(f"has the kind {kind!r}, where one of {', '.join(KINDS)} is needed")
        title = self._data.get("title", name)
        if not isinstance(title, str):
            self._refuse(f"has the title {title!r}, where a text is needed")
        numbers = {key: self._number(self._data[key], key) for key in _NUMBERS if key in self._data}
        by_name = {key: self._numbers(key) for key in _BY_NAME if key in self._data}
        missing = [key for key in (*_REQUIRED, "peak_flops") if key not in numbers and not by_name.get(key)]
        if missing:
            self._refuse(f"lacks {missing[0]}")
        if "launch_seconds" not in numbers:
            numbers["launch_seconds"] = _DEFAULT_LAUNCH[kind]
            self._sources["launch_seconds"] = "assumed: the file gives none"
        return Device(name=name, title=title, kind=kind, sources=self._sources, **numbers, **by_name)  # type: ignore[arg-type]

    def _numbers(self, key: str) -> dict[str, float]:
        table = self._data[key]
        if not isinstance(table, dict) or "value" in table:
            self._refuse(f"has {key!r} without a table for each {'level' if key.endswith('byte') else 'dtype'}")
        levels = ("memory", "cache")
        if key == "picojoules_per_byte" and not set(table) <= set(levels):
            self._refuse(f"has the level {min(set(table) - set(levels))!r} in {key}, where {' or '.join(levels)} is needed")
        return {name: self._number(entry, f"{key}.{name}") for name, entry in table.items()}

    def _number(self, entry: Any, key: str) -> float:
        if not isinstance(entry, dict) or set(entry) != {"value", "source"}:
            self._refuse(f"has {key} = {entry!r}, where a table with a value and a source is needed")
        value, source = entry["value"], entry["source"]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            self._refuse(f"has {key} = {value!r}, where a positive number is needed")
        if not isinstance(source, str) or not source:
            self._refuse(f"has no source for {key}: say where {value:g} comes from, if only 'a guess'")
        self._sources[key] = self._shared.get(source, source)
        return float(value)

    def _refuse(self, what: str) -> NoReturn:
        raise OptionError(f"{self._where} describes no device: it {what}. {_FORM}")
