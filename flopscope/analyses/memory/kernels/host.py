"""What scratch memory depends on beside the op: the machine."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Host:
    """A CPU as its kernels see it."""

    lanes: int = 16
    """How many 32-bit numbers a vector register holds: 16 with AVX-512, 8 with AVX2. oneDNN blocks channels by it."""
    threads: int = 1
    """How many threads an op runs on: each has buffers of its own."""


def this_host() -> Host:
    """This machine as torch uses it, where torch is loaded; else one thread of AVX-512."""
    torch = sys.modules.get("torch")
    if torch is None:
        return Host()
    wide = "512" in torch.backends.cpu.get_cpu_capability() or "AMX" in torch.backends.cpu.get_cpu_capability()
    return Host(16 if wide else 8, torch.get_num_threads())
