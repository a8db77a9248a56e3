"""What a measured time depends on beside the op: the machine, what runs the op, its version, and how many threads."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from flopscope.errors import MissingPackageError, OptionError

TableRuntime = Literal["eager", "compile", "onnxruntime"]
_PACKAGES = {"eager": "torch", "compile": "torch", "onnxruntime": "onnxruntime"}
_VECTORS = ("avx512f", "avx2", "avx", "sve", "asimd")


@dataclass(frozen=True, slots=True)
class Setting:
    """Times of two settings have nothing to do with each other."""

    machine: str
    """Such as ``"AMD EPYC 7763, 8 cores, avx2, x86_64"``."""
    runtime: str
    """``"eager"`` and ``"compile"`` are PyTorch's, ``"onnxruntime"`` is ONNX Runtime with all its optimisations."""
    version: str
    """Of the package that runs the ops."""
    threads: int

    @classmethod
    def here(cls, runtime: str, threads: int) -> Setting:
        """This machine.

        Raises:
            OptionError: there is no such runtime, or no such number of threads.
            MissingPackageError: it is not installed.
        """
        if runtime not in get_args(TableRuntime):
            raise OptionError(f"times are measured with {', '.join(get_args(TableRuntime))}, but the runtime {runtime!r} was asked for")
        most = os.cpu_count() or 1
        if not 1 <= threads <= most:
            raise OptionError(f"this machine has {most} cores, but {threads} threads were asked for")
        return cls(machine_name(), runtime, _version(_PACKAGES[runtime]), threads)

    def __str__(self) -> str:
        return f"{self.runtime} {self.version} with {self.threads} thread{'s' if self.threads > 1 else ''} on {self.machine}"


@cache
def machine_name() -> str:
    """What this machine is called in tables: its processor, its cores and its widest vectors."""
    facts = _processor_facts()
    name = facts.get("model name") or platform.processor() or platform.machine()
    family = f" (family {facts['cpu family']}, model {facts['model']})" if {"cpu family", "model"} <= set(facts) else ""
    flags = facts.get("flags", facts.get("Features", "")).split()
    vectors = next((flag for flag in _VECTORS if flag in flags), "")
    cores = f"{os.cpu_count() or 1} cores"
    return ", ".join(filter(None, (f"{name}{family}", cores, vectors, platform.machine())))


def _processor_facts() -> dict[str, str]:
    """The lines of the first processor in Linux's list, where there is one."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    lines = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError as error:
        raise MissingPackageError(f"measuring needs {package}, which is not installed: pip install {package}") from error
